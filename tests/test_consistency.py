"""Two readings with different dropout (R-Drop), against a plain computation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from polyspan.experiments.run import read_metrics, run_recipe
from polyspan.objectives import Weights, combined_loss, consistency_loss, read_twice
from polyspan.training.trainer import SpanTrainer
from tiny_models import tiny_bert, tiny_unigram
from tiny_runs import digest, quiet, recipe

TWICE = {"objective": {"consistency": 2.0}, "training": {"dropout": 0.1, "epochs": 1, "precision": "fp32"}}


@pytest.fixture(scope="module", params=[tiny_bert, tiny_unigram], ids=["wordpiece", "unigram"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = request.param(tmp_path_factory.mktemp("model") / "tiny")
    return folder


def probabilities(logits: Sequence[float], mask: Sequence[bool]) -> list[float]:
    powers = [math.exp(logit) if kept else 0.0 for logit, kept in zip(logits, mask, strict=True)]
    return [power / sum(powers) for power in powers]


def divergence(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def both_ways(one: torch.Tensor, other: torch.Tensor, mask: torch.Tensor) -> list[float]:
    found = []
    for a, b, kept in zip(one.tolist(), other.tolist(), mask.tolist(), strict=True):
        p, q = probabilities(a, kept), probabilities(b, kept)
        found.append((divergence(p, q) + divergence(q, p)) / 2)
    return found


def test_the_divergence_is_that_of_the_paper_both_ways() -> None:
    torch.manual_seed(1)
    one, other = torch.randn(3, 7, requires_grad=True), torch.randn(3, 7, requires_grad=True)
    mask = torch.rand(3, 7) > 0.3
    mask[:, 0] = True
    found = consistency_loss(one, other, mask)
    assert found.tolist() == pytest.approx(both_ways(one.detach(), other.detach(), mask), abs=1e-6)
    assert consistency_loss(other, one, mask).tolist() == pytest.approx(found.tolist(), abs=1e-6)
    assert consistency_loss(one, one, mask).abs().max() == 0
    found.sum().backward()
    for learnt in (one, other):
        assert learnt.grad is not None
        assert learnt.grad[mask].abs().min() > 0, "one of the readings does not learn"
        assert learnt.grad[~mask].abs().sum() == 0


def test_two_readings_weigh_what_one_weighs() -> None:
    torch.manual_seed(2)
    readings = [(torch.randn(4, 9), torch.randn(4, 9)) for _ in range(2)]
    teacher = torch.randn(4, 9), torch.randn(4, 9)
    gold = torch.tensor([1, 2, 3, 4]), torch.tensor([2, 2, 5, 8])
    mask = torch.ones(4, 9, dtype=torch.bool)
    weights = Weights(alpha_kl=3.0, consistency=0.7)
    single = [combined_loss(reading, teacher, gold, gold[0] > 0, weights, mask, mask) for reading in readings]
    found = read_twice(readings[0], readings[1], (single[0], single[1]), weights, mask)
    apart = [both_ways(a, b, mask) for a, b in zip(*readings, strict=True)]
    mean = sum(map(sum, apart)) / 8
    assert float(found.consistency) == pytest.approx(mean, abs=1e-6)
    assert float(found.total) == pytest.approx(float(single[0].total + single[1].total) / 2 + 0.7 * mean, abs=1e-5)
    same = read_twice(readings[0], readings[0], (single[0], single[0]), weights, mask)
    assert float(same.total) == pytest.approx(float(single[0].total), abs=1e-6)


def test_a_run_reads_twice_and_goes_on_from_a_kill(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: dict[str, Any] = {"training": {**TWICE["training"], "save_steps": 2}, "objective": TWICE["objective"]}
    run_recipe(recipe(model, tmp_path / "a", **saves), quiet())
    rows = read_metrics(tmp_path / "a")
    for row in rows:
        assert row["consistency"] > 0, "both readings had the same dropout"
        assert row["loss"] == pytest.approx(
            row["ce"] + row["coefficient"] * row["kl"] + 2 * row["consistency"], rel=1e-4
        )
    done: list[int] = []
    compute = SpanTrainer.compute_loss

    def dies(self: SpanTrainer, *args: Any, **kwargs: Any) -> Any:
        done.append(self.state.global_step)
        if len(done) == 4:
            raise KeyboardInterrupt
        return compute(self, *args, **kwargs)

    monkeypatch.setattr(SpanTrainer, "compute_loss", dies)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(model, tmp_path / "b", **saves), quiet())
    run_recipe(recipe(model, tmp_path / "b", **saves), quiet())
    assert done[4] == 2, "it did not go on from its checkpoint"
    assert digest(tmp_path / "b") == digest(tmp_path / "a")


def test_without_dropout_there_is_nothing_to_agree_on(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="consistency needs it"):
        recipe(tmp_path, tmp_path, objective={"consistency": 1.0})
