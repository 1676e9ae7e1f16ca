"""An encoder's layers, whatever its kind calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a ``transformers`` encoder, lowest first; none where they do not stand in a list."""
    body: Any = model.base_model
    within = getattr(body, "encoder", None) or getattr(body, "transformer", None) or body
    return list(getattr(within, "layer", None) or getattr(within, "layers", None) or ())
