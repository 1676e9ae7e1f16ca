"""What goes wrong with models."""

from __future__ import annotations

from polyspan.errors import PolyspanError


class ModelError(PolyspanError):
    """A model that cannot be loaded or written; names it and says what to do."""
