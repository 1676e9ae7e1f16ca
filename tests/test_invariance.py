"""What must not change a run, asked through the command line: each test changes one thing and compares the steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from polyspan.cli.main import run
from polyspan.encoding.windows import Batch, Windows, build_batch
from polyspan.experiments.run import read_metrics
from polyspan.training.batches import EpochBatches
from tiny_models import tiny_unigram
from tiny_runs import digest, recipe, together

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 2e-4
"""Relative, of losses in fp32: sums are taken in another order and batches are padded otherwise."""
LOSSES = ("loss", "ce", "kl", "coefficient")
Train = Callable[..., Path]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe in fp32 with short windows, all layers trained; JSON is YAML."""
    folder = tmp_path_factory.mktemp("recipe")
    made = recipe(
        tiny_unigram(folder / "tiny"),
        folder / "run",
        data={"max_length": 128, "overlap": 16, "target_languages": 1},
        training={"precision": "fp32", "batch_tokens": 1024, "frozen_layers": 0, "save_steps": 100, "epochs": 1},
    )
    path = folder / "recipe.yaml"
    path.write_text(made.model_dump_json(), encoding="utf-8")
    return path


def polyspan(*arguments: object) -> None:
    """The command in this process, as importing everything anew takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["polyspan", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            run()
    assert not left.value.code


@pytest.fixture
def train(file: Path, tmp_path: Path) -> Train:
    """``polyspan train`` with settings, into a run folder of this name."""

    def trained(name: str, *settings: str) -> Path:
        polyspan("train", file, *arguments(tmp_path / name, settings))
        return tmp_path / name

    return trained


@pytest.fixture(scope="module")
def plain(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the others are compared with: one process, one batch a step."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    polyspan("train", file, *arguments(folder))
    return folder


def arguments(run_dir: Path, settings: Sequence[str] = ()) -> list[str]:
    return [part for setting in (f"run_dir={run_dir}", *settings) for part in ("--set", setting)]


def assert_same_steps(one: Path, two: Path, names: Sequence[str] = LOSSES) -> None:
    rows, others = read_metrics(one), read_metrics(two)
    assert len(rows) == len(others) > 4
    assert rows[0]["ce"] != rows[1]["ce"]
    for row, other in zip(rows, others, strict=True):
        for name in names:
            assert other[name] == pytest.approx(row[name], rel=TOLERANCE, abs=2e-6), (row["step"], name)


def test_batch_1_accumulated_8_times_is_batch_8(train: Train, plain: Path) -> None:
    assert_same_steps(plain, train("ones", "training.batch_tokens=128", "training.accumulate=8"))


def test_without_weight_on_the_divergence_it_is_cross_entropy(train: Train) -> None:
    dropout = "training.dropout=0.1"
    ce = train("ce", dropout, "objective={}")
    none = train("none", dropout, "objective.alpha_kl=0")
    assert digest(ce) == digest(none)
    assert read_metrics(ce) == read_metrics(none)
    # A teacher that weighs nothing draws no random numbers and leaves the student's gradient alone.
    watched = train("watched", dropout, "objective.alpha_kl=1e-12")
    assert_same_steps(ce, watched, ["loss", "ce"])
    assert max(row["kl"] for row in read_metrics(watched)) > 1e-6


@pytest.mark.parametrize("update", ["ema", "steps"])
def test_a_teacher_that_is_the_student_has_no_divergence(train: Train, plain: Path, update: str) -> None:
    same = train("same", f"objective.teacher={update}", "objective.teacher_decay=0", "objective.teacher_every=1")
    assert [row["kl"] for row in read_metrics(same)] == pytest.approx([0.0] * len(read_metrics(same)), abs=1e-6)
    assert max(row["kl"] for row in read_metrics(plain)) > 1e-5


def test_order_of_batches_inside_an_epoch(train: Train) -> None:
    """While nothing is learnt, every epoch has the same losses in an order of its own."""
    rows = read_metrics(train("still", "training.learning_rate=1e-30", "training.epochs=2"))
    half = len(rows) // 2
    first, second = ([tuple(row[name] for name in LOSSES) for row in part] for part in (rows[:half], rows[half:]))
    assert len(set(first)) == half > 4
    assert first != second
    assert sorted(first) == sorted(second)


def test_order_of_windows_inside_a_step(train: Train, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = EpochBatches.__iter__

    def reversed_batches(self: EpochBatches) -> Iterator[list[int]]:
        for batch in original(self):
            yield batch[::-1]

    monkeypatch.setattr(EpochBatches, "__iter__", reversed_batches)
    assert_same_steps(plain, train("reversed"))


def padded_batch(windows: Windows, indices: Sequence[int]) -> Batch:
    return build_batch(windows, indices, multiple=192)


def test_amount_of_padding(train: Train, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyspan.training.batches.build_batch", padded_batch)
    assert_same_steps(plain, train("padded"))
    monkeypatch.undo()
    ask = ("evaluate", "--model", plain / "model", "--data", "commons/dev", "--languages", "en,de", "--limit", 3)
    polyspan(*ask, "--output", tmp_path / "narrow")
    monkeypatch.setattr("polyspan.encoding.predict.build_batch", padded_batch)
    polyspan(*ask, "--output", tmp_path / "wide")
    assert_same_answers(tmp_path / "narrow", tmp_path / "wide")


def assert_same_answers(one: Path, two: Path) -> None:
    rows, others = (
        [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
        for folder in (one, two)
    )
    assert len(rows) == len(others) > 0
    for row, other in zip(rows, others, strict=True):
        assert {**row, "answers": None, "no_answer": None} == {**other, "answers": None, "no_answer": None}
        assert row["answers"][0]["score"] == pytest.approx(other["answers"][0]["score"], rel=0.05)


def test_number_of_processes(file: Path, plain: Path, tmp_path: Path) -> None:
    halves = arguments(tmp_path / "two", ["training.batch_tokens=512"])
    assert together(partial(polyspan, "train", file, *halves)) == ["", ""]
    assert_same_steps(plain, tmp_path / "two")


def test_hash_seed(file: Path, tmp_path: Path) -> None:
    for seed in "12":
        command = [sys.executable, "-m", "polyspan", "train", str(file), *arguments(tmp_path / seed)]
        environment: dict[str, Any] = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(tmp_path / seed / "model")
    assert digest(tmp_path / "1") == digest(tmp_path / "2")
    assert (tmp_path / "1/metrics.jsonl").read_bytes() == (tmp_path / "2/metrics.jsonl").read_bytes()
