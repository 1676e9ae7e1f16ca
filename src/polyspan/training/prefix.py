"""The frozen lowest layers, which say the same to teacher and student: read once for both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from polyspan.models.layers import layers_of

_PROBE = 8
"""Tokens of the probing pass; every vocabulary has so many."""


class FrozenPrefix:
    """Layers that a teacher's pass records and a student's pass of the same batch replays.

    With ``f`` of ``n`` layers frozen, a step of self-distillation reads ``n`` layers for the teacher
    and ``n - f`` for the student, in place of ``2 n``; what is computed is the same to the bit.

    Args:
        layers: the lowest ones, at least one, the same modules in the student and in the teacher.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self.layers = list(layers)
        self._recording = False
        self._recorded: Any = None
        self._replayed: Any = None
        for layer in self.layers:
            layer.forward = self._wrapped(layer, layer.forward)

    def _wrapped(self, layer: nn.Module, forward: Any) -> Any:
        last = layer is self.layers[-1]

        def shared(*args: Any, **kwargs: Any) -> Any:
            # What a lower layer returns is not looked at: the one above returns what was recorded.
            if self._replayed is not None:
                return self._replayed
            output = forward(*args, **kwargs)
            if last and self._recording:
                self._recorded = output
            return output

        return shared

    @contextmanager
    def record(self) -> Iterator[None]:
        """Within it a pass is recorded; `take` gives what the last of the layers returned."""
        self._recording = True
        try:
            yield
        finally:
            self._recording = False

    def take(self) -> Any:
        """What was recorded, once: a tensor (batch, tokens, hidden), or a tuple that begins with it."""
        taken, self._recorded = self._recorded, None
        return taken

    @contextmanager
    def replay(self, recorded: Any) -> Iterator[None]:
        """Within it the layers return what was recorded, without reading anything; None changes nothing."""
        self._replayed = recorded
        try:
            yield
        finally:
            self._replayed = None


def shared_prefix(student: nn.Module) -> FrozenPrefix | None:
    """The lowest layers whose output nothing trained and no dropout takes part in, if there are any."""
    layers = layers_of(student)
    frozen = 0
    while frozen < len(layers) and not any(p.requires_grad for p in layers[frozen].parameters()):
        frozen += 1
    if not frozen or _drops(student) or _depends_on_training(student, layers[frozen - 1]):
        return None
    return FrozenPrefix(layers[:frozen])


def _drops(model: nn.Module) -> bool:
    config: Any = model.config
    return bool(getattr(config, "attention_dropout", 0)) or any(
        module.p > 0 for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)
    )


def _depends_on_training(model: nn.Module, layer: nn.Module) -> bool:
    """Whether gradients would flow below this layer's output: embeddings, or positions that all layers share."""
    found = []

    def look(module: nn.Module, args: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output).requires_grad)

    hook = layer.register_forward_hook(look)
    ids = torch.arange(_PROBE, device=next(model.parameters()).device)[None]
    try:
        with torch.enable_grad():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        hook.remove()
    return found != [False]
