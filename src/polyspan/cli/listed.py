"""Lists as options give them."""

from __future__ import annotations


def listed(text: str | None) -> list[str] | None:
    """``en, de`` or ``en,de`` as a list; None where nothing is given."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None
