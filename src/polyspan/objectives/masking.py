"""Keep positions out of a softmax with a finite number: -inf turns a KL of two masks into NaN."""

from __future__ import annotations

import torch
from torch import Tensor

EXCLUDED = -1e4


def masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Logits in fp32 with the positions outside ``mask`` pushed out of any softmax.

    Args:
        logits: (batch, tokens).
        mask: (batch, tokens), True where a span may begin or end; None keeps all.
    """
    logits = logits.to(torch.float32)
    return logits if mask is None else logits.masked_fill(~mask, EXCLUDED)
