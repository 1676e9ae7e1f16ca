"""Where models are unpacked to."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from polyspan.models.errors import ModelError


def cache_folder() -> Path:
    """``POLYSPAN_CACHE`` if it is set, else the user's cache folder of this system.

    Raises:
        ModelError: neither is known, as of a user without a home.
    """
    try:
        return _cache_folder()
    except RuntimeError as error:  # of pathlib, where there is no home
        raise ModelError("no folder to unpack models to: this user has no home; set POLYSPAN_CACHE to one") from error


def _cache_folder() -> Path:
    if setting := os.environ.get("POLYSPAN_CACHE"):
        return Path(setting).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "polyspan"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification of that variable has an empty or relative one ignored.
    return (named if named.is_absolute() else Path("~/.cache").expanduser()) / "polyspan"
