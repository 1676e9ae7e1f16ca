"""The whole objective of a batch: cross-entropy plus weighted self-distillation (Eq. 4 and 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from polyspan.objectives.coefficients import GOLDLESS, CoefficientKind, coefficient
from polyspan.objectives.consistency import consistency_loss
from polyspan.objectives.distillation import distillation_loss
from polyspan.objectives.span_loss import span_loss

CoefficientLevel = Literal["batch", "example", "head"]


@dataclass(frozen=True)
class Weights:
    """The numbers of the objective ``alpha_ce * CE + alpha_kl * coefficient * KL``.

    With ``consistency`` above 0 every window is read twice, see `read_twice`.

    Raises:
        ValueError: no such level, or a temperature that is not above 0.
    """

    alpha_ce: float = 1.0
    alpha_kl: float = 1.0
    temperature: float = 2.0
    scale_by_temperature: bool = True
    coefficient: CoefficientKind = "first_hit"
    level: CoefficientLevel = "batch"
    k: int = 10
    delta: int = 5
    consistency: float = 0.0

    def __post_init__(self) -> None:
        if self.level not in get_args(CoefficientLevel):
            raise ValueError(f"level {self.level!r}: must be one of {', '.join(get_args(CoefficientLevel))}")
        if not self.temperature > 0:
            raise ValueError(f"temperature {self.temperature}: must be above 0")


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch; only ``total`` carries a gradient."""

    total: Tensor
    ce: Tensor
    kl: Tensor
    coefficient: Tensor
    consistency: Tensor


def combined_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor] | None,
    gold: tuple[Tensor, Tensor],
    answerable: Tensor,
    weights: Weights,
    ce_mask: Tensor | None = None,
    kl_mask: Tensor | None = None,
    mean_trust: Tensor | None = None,
) -> Losses:
    """Mean over windows and over the two heads of the weighted terms.

    The coefficient is taken per head (one number a window and head), per example (the mean of its
    heads) or per batch (one number, the mean of all). Windows without an answer have no gold
    position to hit: where the coefficient needs one they are left out of the batch mean, and weigh
    nothing per example and head.

    Args:
        student: start and end logits, each (batch, tokens).
        teacher: the same of the teacher; None leaves the distillation out.
        gold: start and end positions, each (batch,).
        answerable: (batch,), True where the window holds the answer.
        weights: see `Weights`.
        ce_mask: (batch, tokens) for the cross-entropy; None keeps all positions.
        kl_mask: (batch, tokens) for the distillation and the coefficient.
        mean_trust: scalar, the coefficient of the batch where these windows are a part of it (see
            `trust_sum`); their own mean by default.
    """
    ce = _heads(span_loss(logits, gold_, ce_mask) for logits, gold_ in zip(student, gold, strict=True)).mean()
    if teacher is None:
        zero = torch.zeros((), device=ce.device)
        return Losses(weights.alpha_ce * ce, ce.detach(), zero, zero, zero)
    kl = _heads(
        distillation_loss(s, t, weights.temperature, kl_mask, weights.scale_by_temperature)
        for s, t in zip(student, teacher, strict=True)
    )
    trust = _trust(teacher, gold, weights, kl_mask)
    trust, mean_trust = _levelled(trust, answerable, weights, mean_trust)
    total = weights.alpha_ce * ce + weights.alpha_kl * (trust * kl).mean()
    return Losses(total, ce.detach(), kl.detach().mean(), mean_trust, torch.zeros_like(mean_trust))


def read_twice(
    one: tuple[Tensor, Tensor],
    other: tuple[Tensor, Tensor],
    losses: tuple[Losses, Losses],
    weights: Weights,
    mask: Tensor | None = None,
) -> Losses:
    """The mean of the objectives of two readings, and ``consistency`` times how far the two are apart.

    R-Drop (Liang et al. 2021, Eq. 4) divided by two, so that cross-entropy and distillation weigh what they weigh
    without it: its alpha is twice ``consistency``.

    Args:
        one: start and end logits of the first reading, each (batch, tokens).
        other: of the second.
        losses: of the two readings, each by `combined_loss`.
        weights: see `Weights`.
        mask: (batch, tokens), where the readings shall agree; None keeps all positions.
    """
    apart = _heads(consistency_loss(*heads, mask) for heads in zip(one, other, strict=True)).mean()
    total, ce, kl = ((getattr(losses[0], name) + getattr(losses[1], name)) / 2 for name in ("total", "ce", "kl"))
    return Losses(total + weights.consistency * apart, ce, kl, losses[0].coefficient, apart.detach())


def trust_sum(
    teacher: tuple[Tensor, Tensor],
    gold: tuple[Tensor, Tensor],
    answerable: Tensor,
    weights: Weights,
    mask: Tensor | None = None,
) -> Tensor:
    """(2,): the sum of the coefficient over windows and heads, and of how many it is the sum.

    The pairs of the parts of a batch add up to the pair of the batch; its quotient is the
    coefficient of the whole, however the batch was divided.
    """
    trust = _trust(teacher, gold, weights, mask)
    counted = _counted(trust, answerable, weights)
    return torch.stack([(trust * counted).sum(), counted.sum()])


def _trust(
    teacher: tuple[Tensor, Tensor], gold: tuple[Tensor, Tensor], weights: Weights, mask: Tensor | None
) -> Tensor:
    return _heads(
        coefficient(logits, gold_, weights.coefficient, weights.k, weights.delta, mask)
        for logits, gold_ in zip(teacher, gold, strict=True)
    )


def _counted(trust: Tensor, answerable: Tensor, weights: Weights) -> Tensor:
    if weights.coefficient in GOLDLESS:
        return torch.ones_like(trust)
    return answerable.to(trust.dtype)[:, None].expand_as(trust)


def _heads(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values), dim=1)


def _levelled(trust: Tensor, answerable: Tensor, weights: Weights, mean: Tensor | None) -> tuple[Tensor, Tensor]:
    counted = _counted(trust, answerable, weights)
    if mean is None:
        mean = (trust * counted).sum() / counted.sum().clamp(min=1)
    if weights.coefficient == "constant":
        return trust, mean
    if weights.level == "batch":
        return mean.expand_as(trust), mean
    if weights.level == "example":
        trust = trust.mean(dim=1, keepdim=True).expand_as(trust)
    return trust * counted, mean
