"""Frozen lowest layers: read once for teacher and student, and nothing learnt differs for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from polyspan.experiments.run import run_recipe
from polyspan.experiments.set_up import freeze
from polyspan.models import load_model
from polyspan.models.layers import layers_of
from polyspan.training import teacher as teacher_module
from polyspan.training.prefix import shared_prefix
from tiny_encoders import ENCODERS
from tiny_models import tiny_bert
from tiny_runs import digest, quiet, recipe

pytestmark = pytest.mark.usefixtures("one_thread")

SHARED = {
    "bert": True,
    "distil-bert": True,
    "xlm-roberta": True,
    "modern-bert": True,
    "deberta-v2": False,
    "rem-bert": False,
    "mp-net": False,
    "jina-v3": True,
    "ultra-bert": True,
    "mt5": True,
}
"""DeBERTa's and MPNet's layers all read relative positions, RemBERT's a projection of embeddings, which are trained."""


def frozen(folder: Path, embeddings: bool = True, layers: int = 1, dropout: float | None = 0.0) -> Any:
    model = load_model(str(folder), dropout=dropout).model
    freeze(model, embeddings, layers)
    return model


@pytest.mark.parametrize("kind", ENCODERS)
def test_shared_or_not_the_same_is_learnt(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ENCODERS[kind](tmp_path)
    found = []
    monkeypatch.setattr(
        teacher_module, "shared_prefix", lambda student: found.append(shared_prefix(student)) or found[-1]
    )
    run_recipe(recipe(model, tmp_path / "shared"), quiet())
    assert [prefix is not None for prefix in found] == [SHARED[kind]]
    monkeypatch.setattr(teacher_module, "shared_prefix", lambda student: None)
    run_recipe(recipe(model, tmp_path / "apart"), quiet())
    assert digest(tmp_path / "shared") == digest(tmp_path / "apart")
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("shared", "apart")]
    assert metrics[0] == metrics[1]


def test_a_step_reads_the_frozen_layers_once(tmp_path: Path) -> None:
    student = frozen(tiny_bert(tmp_path / "tiny"))
    calls = {"frozen": 0, "trained": 0}
    for name, layer in zip(calls, layers_of(student), strict=True):
        layer.attention.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    teacher = teacher_module.Teacher(student)
    calls.update(frozen=0, trained=0)
    inputs = {"input_ids": torch.arange(6)[None], "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    teacher.logits(inputs)
    assert teacher.prefix is not None
    recorded = teacher.prefix.take()
    assert calls["frozen"] == 1
    with teacher.prefix.replay(recorded):
        replayed = student(**inputs).start_logits
    assert calls["frozen"] == 1
    assert torch.equal(student(**inputs).start_logits, replayed)
    assert calls["frozen"] == 2
    assert teacher.prefix.take() is None


def test_several_frozen_layers_and_other_batches(tmp_path: Path) -> None:
    student = frozen(tiny_bert(tmp_path / "tiny"), layers=2)
    prefix = shared_prefix(student)
    assert prefix is not None
    assert len(prefix.layers) == 2
    kept = []
    for length in (5, 9):  # two batches of a step: both are recorded before the first is replayed
        inputs = {"input_ids": torch.arange(length)[None], "attention_mask": torch.ones(1, length, dtype=torch.long)}
        with prefix.record():
            logits = student(**inputs).start_logits
        kept.append((inputs, prefix.take(), logits))
    for inputs, recorded, logits in kept:
        with prefix.replay(recorded):
            assert torch.equal(student(**inputs).start_logits, logits)


@pytest.mark.parametrize("settings", [{"embeddings": False}, {"layers": 0}, {"dropout": 0.1}])
def test_what_differs_between_teacher_and_student_is_not_shared(settings: dict[str, Any], tmp_path: Path) -> None:
    assert shared_prefix(frozen(tiny_bert(tmp_path / "tiny"), **settings)) is None


def test_dropout_of_attention_alone_is_seen(tmp_path: Path) -> None:
    student = frozen(ENCODERS["modern-bert"](tmp_path))
    student.config.attention_dropout = 0.1
    assert shared_prefix(student) is None
