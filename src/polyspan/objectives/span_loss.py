"""Cross-entropy of start and end positions (Carrino et al. 2023, Eq. 4, first term)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from polyspan.objectives.masking import masked


def span_loss(logits: Tensor, gold: Tensor, mask: Tensor | None = None) -> Tensor:
    """Cross-entropy of one head against its gold positions, in fp32.

    Args:
        logits: (batch, tokens), of starts or of ends.
        gold: (batch,), the gold position of each window.
        mask: (batch, tokens), True where a span may begin or end. The gold must be inside.

    Returns:
        (batch,), nats.
    """
    return cross_entropy(masked(logits, mask), gold, reduction="none")
