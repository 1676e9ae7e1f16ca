"""Agreement of two readings of the same windows with different dropout (R-Drop; Liang et al. 2021, Eq. 2 to 4)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from polyspan.objectives.masking import masked


def consistency_loss(one: Tensor, other: Tensor, mask: Tensor | None = None) -> Tensor:
    """1/2 (KL(one || other) + KL(other || one)) of one head, in fp32; both learn.

    Args:
        one: logits (batch, tokens), of starts or of ends.
        other: the same of the second reading.
        mask: (batch, tokens), True where a span may begin or end.

    Returns:
        (batch,), nats.
    """
    first, second = (log_softmax(masked(logits, mask), dim=-1) for logits in (one, other))
    there = kl_div(second, first, reduction="none", log_target=True)
    back = kl_div(first, second, reduction="none", log_target=True)
    return (there + back).sum(dim=-1) / 2
