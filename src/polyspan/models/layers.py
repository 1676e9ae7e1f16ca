"""An encoder's parts, whatever its kind calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def embeddings_of(model: nn.Module) -> nn.Module:
    """What turns token ids into the lowest layer's input, as far as it is one module."""
    body: Any = model.base_model
    found: nn.Module = getattr(body, "embeddings", None) or body.get_input_embeddings()
    return found


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a ``transformers`` encoder, lowest first; none where they do not stand in a list.

    Of an encoder with a decoder (mT5) those of the encoder.
    """
    body: Any = model.base_model
    within = getattr(body, "encoder", None) or getattr(body, "transformer", None) or body
    names = ("layer", "layers", "block")
    return next((list(found) for name in names if (found := getattr(within, name, None))), [])
