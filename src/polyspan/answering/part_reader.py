"""What readers of other runtimes than PyTorch have in common: batches are read in parts, on the processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedConfig
    from transformers.modeling_outputs import QuestionAnsweringModelOutput

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]

PART_TOKENS = 512
"""Larger batches are read in parts of so many tokens: what a part needs then stays in the processor's cache."""


class Part(NamedTuple):
    """Some windows of a batch, as long as the longest of them.

    Attributes:
        inputs: by name, each (windows, tokens).
        start, end: where their logits go, each (windows, tokens).
    """

    inputs: dict[str, Integers]
    start: Floats
    end: Floats


class PartReader(nn.Module):
    """Start and end logits in the call shape of a ``transformers`` model.

    It runs on the CPU, wherever it is told to go.

    Args:
        inputs: names of what it reads.
        config: of the model.
    """

    def __init__(self, inputs: Sequence[str], config: PreTrainedConfig) -> None:
        super().__init__()
        self.inputs, self.config = list(inputs), config
        # Callers ask a model's parameters where it runs.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return self

    def read(self, parts: Sequence[Part]) -> None:
        """Write the logits of each part where they go."""
        raise NotImplementedError

    def forward(self, **inputs: Tensor) -> QuestionAnsweringModelOutput:
        """Logits of a batch.

        Args:
            inputs: ``input_ids``, ``attention_mask`` and, if the model has them, ``token_type_ids``,
                each (batch, tokens), int64, padded on the right.

        Returns:
            ``start_logits`` and ``end_logits``, each (batch, tokens), fp32; 0 on some of the padding.
        """
        from transformers.modeling_outputs import QuestionAnsweringModelOutput

        feed = {name: inputs[name].numpy() for name in self.inputs}
        rows, tokens = feed["input_ids"].shape
        start, end = np.zeros((2, rows, tokens), np.float32)
        step = max(1, PART_TOKENS // tokens)
        parts = []
        for first in range(0, rows, step):
            part = slice(first, first + step)
            longest = int(feed["attention_mask"][part].sum(axis=1).max())
            cut = {name: values[part, :longest] for name, values in feed.items()}
            parts.append(Part(cut, start[part, :longest], end[part, :longest]))
        self.read(parts)
        return QuestionAnsweringModelOutput(start_logits=torch.from_numpy(start), end_logits=torch.from_numpy(end))
