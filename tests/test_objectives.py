"""The worked examples, and every formula against a plain-Python version."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyspan.errors import PolyspanError
from polyspan.objectives import Weights, coefficient, combined_loss, distillation_loss, span_loss

WORKED = {
    "A start": (20, [50, 21, 19, 60, 25, 15, 70, 24, 80, 22], 0.5, 0.3658),
    "A end": (23, [23, 24, 22, 61, 90, 21, 25, 28, 17, 99], 1.0, 0.5131),
    "B start": (100, [5, 300, 301, 302, 7, 8, 9, 303, 304, 305], 0.0, 0.0),
    "B end": (103, [400, 399, 398, 397, 396, 395, 394, 393, 392, 101], 0.1, 0.01),
}
STUDENT = (
    torch.tensor([[0.0, 2, 1, 0, -1, 0], [1, 0, 0, 3, 0, 0]]),
    torch.tensor([[0.0, 0, 1, 2, 0, -1], [0, 1, 0, 0, 2, 0]]),
)
TEACHER = (
    torch.tensor([[0.0, 1, 3, 0, -1, 0], [2, 0, 0, 1, 1, 0]]),
    torch.tensor([[0.0, 0, 0, 3, 1, -1], [3, 0, 0, 0, 1, 0]]),
)
GOLD = (torch.tensor([1, 3]), torch.tensor([3, 4]))


def ranked_logits(positions: list[int], tokens: int = 420) -> torch.Tensor:
    logits = torch.zeros(1, tokens)
    for rank, position in enumerate(positions):
        logits[0, position] = 100.0 - rank
    return logits


@pytest.mark.parametrize("case", WORKED)
def test_worked_coefficients(case: str) -> None:
    gold, positions, first_hit, eq5 = WORKED[case]
    logits = ranked_logits(positions)
    assert coefficient(logits, torch.tensor([gold]), "first_hit").item() == pytest.approx(first_hit)
    assert coefficient(logits, torch.tensor([gold]), "eq5").item() == pytest.approx(eq5, abs=5e-5)


def test_worked_batch_means() -> None:
    for kind, expected in (("first_hit", 0.40), ("eq5", 0.2222)):
        values = [coefficient(ranked_logits(p), torch.tensor([g]), kind).item() for g, p, *_ in WORKED.values()]
        assert sum(values) / 4 == pytest.approx(expected, abs=5e-5)


def test_worked_losses() -> None:
    kl = [distillation_loss(s, t).mean().item() for s, t in zip(STUDENT, TEACHER, strict=True)]
    ce = [span_loss(s, g).mean().item() for s, g in zip(STUDENT, GOLD, strict=True)]
    assert kl == pytest.approx([0.7034, 0.8105], abs=5e-5)
    assert ce == pytest.approx([0.4447, 0.6238], abs=5e-5)
    answerable = torch.tensor([True, True])
    for alpha_kl, total in ((0.4, 0.8370), (1.0, 1.2912)):
        weights = Weights(alpha_kl=alpha_kl, coefficient="constant")
        assert combined_loss(STUDENT, TEACHER, GOLD, answerable, weights).total.item() == pytest.approx(total, abs=5e-5)


def plain_coefficient(logits: list[float], gold: int, kind: str, k: int, delta: int, mask: list[bool]) -> float:
    order = [i for i in sorted(range(len(logits)), key=lambda i: (-logits[i], i)) if mask[i]][:k]
    last = gold + delta - (kind == "first_hit")
    inside = [i for i in range(len(logits)) if mask[i] and gold - delta <= i <= last]
    if kind == "first_hit":
        return max((1 / (rank + 1) for rank, i in enumerate(order) if i in inside), default=0.0)
    total, hits = 0.0, 0
    for rank, position in enumerate(order, start=1):
        if position in inside:
            hits += 1
            total += hits / rank
    return total / (2 * delta) if kind == "eq5" else total / max(1, min(k, len(inside)))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tokens=st.integers(1, 40),
    k=st.integers(1, 14),
    delta=st.integers(1, 6),
    kind=st.sampled_from(["first_hit", "eq5", "ap"]),
)
def test_coefficient_equals_plain_python(seed: int, tokens: int, k: int, delta: int, kind: str) -> None:
    generator = random.Random(seed)
    logits = [float(generator.randint(-6, 6)) for _ in range(tokens)]
    mask = [generator.random() < 0.8 for _ in range(tokens)]
    gold = generator.randrange(tokens)
    value = coefficient(torch.tensor([logits]), torch.tensor([gold]), kind, k, delta, torch.tensor([mask])).item()
    assert value == pytest.approx(plain_coefficient(logits, gold, kind, k, delta, mask), abs=1e-6)
    if kind == "ap":
        assert 0 <= value <= 1


def test_eq5_can_exceed_one_and_ap_cannot() -> None:
    logits = ranked_logits(list(range(95, 106)))
    gold = torch.tensor([100])
    assert coefficient(logits, gold, "eq5", k=11).item() == pytest.approx(1.1)
    assert coefficient(logits, gold, "ap", k=11).item() == pytest.approx(1.0)


def test_distillation_with_mask_equals_plain_python() -> None:
    mask = torch.tensor([[False, True, True, True, False, True]])
    student, teacher = [0.3, -2.0, 1.5, 0.2, 9.0, 0.1], [4.0, 1.0, 0.0, -1.0, 3.0, 0.5]
    keep, temperature = [1, 2, 3, 5], 3.0

    def softened(values: list[float]) -> list[float]:
        exps = [math.exp(values[i] / temperature) for i in keep]
        return [value / sum(exps) for value in exps]

    p, q = softened(teacher), softened(student)
    expected = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    for scaled, factor in ((False, 1.0), (True, 9.0)):
        value = distillation_loss(torch.tensor([student]), torch.tensor([teacher]), temperature, mask, scaled)
        assert value.item() == pytest.approx(expected * factor, rel=1e-5)


def test_logits_are_softened_in_fp32() -> None:
    """A third of a number is rounded in bf16 before it is softened, unless it is made wider first."""
    student, teacher = (torch.randn(4, 50, generator=torch.Generator().manual_seed(seed)).bfloat16() for seed in (1, 2))
    wide = distillation_loss(student.float(), teacher.float(), temperature=3.0)
    torch.testing.assert_close(distillation_loss(student, teacher, temperature=3.0), wide, rtol=0, atol=0)


def test_teacher_equal_to_student_gives_no_divergence() -> None:
    assert distillation_loss(STUDENT[0], STUDENT[0]).abs().max().item() < 1e-6


def test_gradient_is_finite_under_a_mask_and_spares_the_teacher() -> None:
    student = STUDENT[0].clone().requires_grad_()
    teacher = TEACHER[0].clone().requires_grad_()
    mask = torch.tensor([[True, True, False, False, False, False]] * 2)
    distillation_loss(student, teacher, 2.0, mask).sum().backward()
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None
    assert student.grad[:, 2:].abs().max().item() == 0


def test_levels_differ_and_windows_without_an_answer_weigh_nothing() -> None:
    tokens = 420
    teacher = (
        torch.cat([ranked_logits(WORKED["A start"][1]), ranked_logits(WORKED["B start"][1])]),
        torch.cat([ranked_logits(WORKED["A end"][1]), ranked_logits(WORKED["B end"][1])]),
    )
    torch.manual_seed(0)
    student = (torch.randn(2, tokens), torch.randn(2, tokens))
    gold = (torch.tensor([20, 100]), torch.tensor([23, 103]))
    kl = torch.stack([distillation_loss(s, t) for s, t in zip(student, teacher, strict=True)], dim=1)
    both = torch.tensor([True, True])
    expected = {
        "batch": 0.40 * kl.mean(),
        "example": (torch.tensor([[0.75], [0.05]]) * kl).mean(),
        "head": (torch.tensor([[0.5, 1.0], [0.0, 0.1]]) * kl).mean(),
    }
    for level, value in expected.items():
        losses = combined_loss(student, teacher, gold, both, Weights(alpha_ce=0.0, level=level))
        assert losses.total.item() == pytest.approx(value.item(), rel=1e-5)
        assert losses.coefficient.item() == pytest.approx(0.40)
    only_a = combined_loss(student, teacher, gold, torch.tensor([True, False]), Weights(alpha_ce=0.0, level="head"))
    assert only_a.coefficient.item() == pytest.approx(0.75)
    assert only_a.total.item() == pytest.approx((torch.tensor([[0.5, 1.0], [0.0, 0.0]]) * kl).mean().item(), rel=1e-5)


def test_unknown_coefficient_is_named() -> None:
    with pytest.raises(PolyspanError, match="first_hit"):
        coefficient(STUDENT[0], GOLD[0], "map")  # type: ignore[arg-type]


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), tokens=st.integers(1, 40))
def test_certainty_equals_plain_python_and_needs_no_gold(seed: int, tokens: int) -> None:
    generator = random.Random(seed)
    logits = [generator.uniform(-6, 6) for _ in range(tokens)]
    mask = [generator.random() < 0.8 for _ in range(tokens)]
    seen = [value for value, valid in zip(logits, mask, strict=True) if valid]
    values = [
        coefficient(torch.tensor([logits]), torch.tensor([gold]), "entropy", mask=torch.tensor([mask])).item()
        for gold in (0, tokens - 1)
    ]
    assert values[0] == values[1]
    if len(seen) > 1:
        total = sum(math.exp(value) for value in seen)
        shares = [math.exp(value) / total for value in seen]
        entropy = -sum(share * math.log(share) for share in shares)
        assert values[0] == pytest.approx(1 - entropy / math.log(len(seen)), abs=1e-5)


def test_certainty_counts_windows_without_an_answer_too() -> None:
    weights = Weights(coefficient="entropy", level="example")
    losses = [
        combined_loss(STUDENT, TEACHER, GOLD, torch.tensor(answerable), weights).total.item()
        for answerable in ([True, True], [True, False])
    ]
    assert losses[0] == losses[1]


def test_certainty_takes_no_gradient_and_knows_nothing_of_no_tokens() -> None:
    teacher = torch.randn(2, 5, requires_grad=True)
    gold, mask = torch.tensor([1, 2]), torch.tensor([[True] * 5, [False] * 5])
    found = coefficient(teacher, gold, "entropy", mask=mask)
    assert not found.requires_grad
    assert found[0] > 0
    assert found[1] == 0


@pytest.mark.parametrize(
    ("setting", "message"), [({"level": "token"}, "batch, example, head"), ({"temperature": 0}, "above 0")]
)
def test_weights_that_mean_nothing_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Weights(**setting)
