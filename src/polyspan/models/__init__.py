"""Load, pack and save readers: the embedded encoder, shipped names, folders, hub ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polyspan.models.errors import ModelError

if TYPE_CHECKING:
    from polyspan.models.load import LoadedModel, load_model, load_reader, pack_model, save_model

__all__ = ["LoadedModel", "ModelError", "load_model", "load_reader", "pack_model", "save_model"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from polyspan.models import load

    return getattr(load, name)
