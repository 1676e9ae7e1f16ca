"""Distillation of the teacher's soft labels (Carrino et al. 2023, Eq. 4 and 6, second term)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from polyspan.objectives.masking import masked


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float = 2.0,
    mask: Tensor | None = None,
    scale_by_temperature: bool = True,
) -> Tensor:
    """KL(teacher || student) of one head, both softened by the temperature, in fp32.

    Args:
        student_logits: (batch, tokens), of starts or of ends.
        teacher_logits: (batch, tokens), the same head of the teacher; no gradient flows into it.
        temperature: T, above 0; 2 in the paper.
        mask: (batch, tokens), True where a span may begin or end.
        scale_by_temperature: multiply by T squared, as the authors' code does, so that gradients
            keep their size when T changes (Hinton et al. 2015, section 2).

    Returns:
        (batch,), nats.
    """
    student = log_softmax(masked(student_logits.float() / temperature, mask), dim=-1)
    teacher = log_softmax(masked(teacher_logits.detach().float() / temperature, mask), dim=-1)
    divergence = kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    return divergence * temperature**2 if scale_by_temperature else divergence
