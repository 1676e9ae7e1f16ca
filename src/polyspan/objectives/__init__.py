"""Pure functions of tensors: span loss, distillation, coefficients."""

from polyspan.objectives.coefficients import CoefficientKind, coefficient
from polyspan.objectives.combined import CoefficientLevel, Losses, Weights, combined_loss, read_twice, trust_sum
from polyspan.objectives.consistency import consistency_loss
from polyspan.objectives.distillation import distillation_loss
from polyspan.objectives.span_loss import span_loss

__all__ = [
    "CoefficientKind",
    "CoefficientLevel",
    "Losses",
    "Weights",
    "coefficient",
    "combined_loss",
    "consistency_loss",
    "distillation_loss",
    "read_twice",
    "span_loss",
    "trust_sum",
]
