"""The mAP@k coefficient: how much a teacher is trusted, by where its best positions lie.

The paper's Eq. 5 and its authors' code differ; both are here under their own names, and a third
that is an average precision in the usual sense.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from polyspan.errors import PolyspanError
from polyspan.objectives.masking import masked

CoefficientKind = Literal["constant", "first_hit", "eq5", "ap", "entropy"]
GOLDLESS: tuple[CoefficientKind, ...] = ("constant", "entropy")
"""Kinds that need no gold position, and so count windows without an answer too."""


def coefficient(
    teacher_logits: Tensor,
    gold: Tensor,
    kind: CoefficientKind,
    k: int = 10,
    delta: int = 5,
    mask: Tensor | None = None,
) -> Tensor:
    """How well the teacher's top ``k`` positions of one head hit an interval around the gold.

    ``constant``
        1 for every window.
    ``first_hit``
        1 / rank of the first of the top k in {gold - delta, ..., gold + delta - 1}, 0 if none is:
        what the authors' code computes and the published curves show.
    ``eq5``
        Carrino et al. 2023, Eq. 5: the sum over ranks j of precision@j where prediction j lies in
        [gold - delta, gold + delta], divided by 2 delta. Exceeds 1 when k > 2 delta and all hit.
    ``ap``
        the same sum divided by min(k, positions of the closed interval that exist): average
        precision, always in [0, 1].
    ``entropy`` (ours)
        1 - H(p) / log(positions) of the teacher's distribution p: 1 where it is sure of one
        position, 0 where it knows nothing. Needs no gold position.

    Args:
        teacher_logits: (batch, tokens), of starts or of ends.
        gold: (batch,), gold positions.
        kind: which of the five.
        k: how many of the teacher's best positions are looked at, 1 or more.
        delta: half width of the interval in tokens, 1 or more.
        mask: (batch, tokens), True where a span may begin or end; other positions are neither
            predictions nor part of the interval.

    Returns:
        (batch,), fp32. Ties in the logits go to the lower position.

    Raises:
        PolyspanError: an unknown kind, or ``k`` or ``delta`` below 1.
    """
    if kind not in get_args(CoefficientKind):
        raise PolyspanError(f"unknown coefficient {kind!r}; use one of {', '.join(get_args(CoefficientKind))}")
    if k < 1 or delta < 1:
        raise PolyspanError(f"k and delta must be 1 or more, not {k} and {delta}")
    if kind == "constant":
        return torch.ones(len(gold), dtype=torch.float32, device=gold.device)
    valid = torch.ones_like(teacher_logits, dtype=torch.bool) if mask is None else mask
    if kind == "entropy":
        return _certainty(teacher_logits, valid)

    tokens = teacher_logits.shape[1]
    positions = torch.arange(tokens, device=gold.device)
    distance = positions[None, :] - gold[:, None]
    last = delta - 1 if kind == "first_hit" else delta
    interval = (distance >= -delta) & (distance <= last) & valid

    # A stable sort rather than topk: ties must fall the same way on every device.
    best = torch.sort(masked(teacher_logits, valid), dim=1, descending=True, stable=True).indices
    hits = interval.gather(1, best[:, :k]).to(torch.float32)
    ranks = torch.arange(1, hits.shape[1] + 1, device=gold.device, dtype=torch.float32)
    if kind == "first_hit":
        return (hits / ranks).amax(dim=1)
    precision_sum = (hits.cumsum(dim=1) / ranks * hits).sum(dim=1)
    if kind == "eq5":
        return precision_sum / (2 * delta)
    return precision_sum / interval.sum(dim=1).clamp(min=1, max=k)


def _certainty(logits: Tensor, valid: Tensor) -> Tensor:
    log_p = torch.log_softmax(masked(logits.detach(), valid), dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1)
    most = valid.sum(dim=1).to(torch.float32).log()
    certainty = 1 - torch.where(most > 0, entropy / most.clamp(min=1e-6), 0.0).clamp(0, 1)
    return torch.where(valid.any(dim=1), certainty, 0.0)  # where nothing may be said, nothing is known
