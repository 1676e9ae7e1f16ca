"""An encoder's parts, whatever its kind calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def embeddings_of(model: nn.Module) -> nn.Module | None:
    """What turns token ids into the lowest layer's input; None where it is no module of its own."""
    body: Any = model.base_model
    found: nn.Module | None = getattr(body, "embeddings", None)
    return found


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a ``transformers`` encoder, lowest first; none where they do not stand in a list."""
    body: Any = model.base_model
    within = getattr(body, "encoder", None) or getattr(body, "transformer", None) or body
    return list(getattr(within, "layer", None) or getattr(within, "layers", None) or ())
