"""Several processes train and evaluate as one: the same losses, everything written once, nothing lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from polyspan.experiments.prepare import prepare
from polyspan.experiments.run import read_metrics, run_recipe
from polyspan.experiments.set_up import make_trainer
from polyspan.models import load_model
from polyspan.processes import join_shares, share
from polyspan.training.batches import EpochBatches, divide
from polyspan.training.checkpoints import newest_checkpoint
from tiny_runs import digest, quiet, recipe, run_together

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 2e-4
"""Relative, of losses in fp32: sums are taken in another order and batches are padded otherwise."""
DATA = {"path": "commons/train", "target_languages": 1, "seeds": 3, "max_length": 128, "overlap": 16}
EVALUATION = {"path": "commons/dev", "languages": ["en", "de"], "limit": 3}


def made(model: Path, run_dir: Path, batch_tokens: int, accumulate: int = 1, **objective: Any) -> Any:
    training = {"batch_tokens": batch_tokens, "accumulate": accumulate, "precision": "fp32"}
    return recipe(model, run_dir, data=DATA, objective=objective, training=training, evaluation=EVALUATION)


def assert_same_steps(one: Path, two: Path) -> None:
    rows, others = read_metrics(one), read_metrics(two)
    assert [row["step"] for row in rows] == [row["step"] for row in others] == list(range(1, len(rows) + 1))
    for row, other in zip(rows, others, strict=True):
        for name in ("loss", "ce", "kl", "coefficient", "learning_rate"):
            assert other[name] == pytest.approx(row[name], rel=TOLERANCE, abs=2e-6), (row["step"], name)


@pytest.mark.parametrize("level", ["batch", pytest.param("example", marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_learns(model: Path, tmp_path: Path, level: str) -> None:
    run_recipe(made(model, tmp_path / "one", 2048, level=level), quiet())
    assert run_together(made(model, tmp_path / "two", 1024, level=level)) == ["", ""]
    assert_same_steps(tmp_path / "one", tmp_path / "two")
    start, one, two = (
        load_file(folder / "model.safetensors") for folder in (model, tmp_path / "one/model", tmp_path / "two/model")
    )
    # Of single weights with hardly a gradient, rounding alone decides the direction.
    moved, apart = (sum(float((one[name] - other[name]).norm()) ** 2 for name in one) ** 0.5 for other in (start, two))
    assert apart < 0.02 * moved
    asked, twice = (
        [json.loads(line) for line in (tmp_path / name / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("one", "two")
    )
    who = [(row["id"], row["question_language"], row["context_language"]) for row in asked]
    assert who == [(row["id"], row["question_language"], row["context_language"]) for row in twice]
    assert len(set(who)) == len(who) == 2 * 2 * 3


def test_windows_are_dealt_out_once_and_in_equal_numbers(model: Path, tmp_path: Path) -> None:
    chosen = made(model, tmp_path, 512)
    loaded = load_model(str(model))
    windows = make_trainer(chosen, loaded.model, loaded.tokenizer, prepare(chosen.data, 3), quiet()).windows
    lengths = windows.lengths()
    whole = list(EpochBatches(windows, 4096, 3))
    for processes, accumulate in ((2, 1), (4, 2), (8, 1), (1, 8)):
        batches = 4096 // processes // accumulate
        dealt = [EpochBatches(windows, batches, 3, accumulate, processes, process) for process in range(processes)]
        shares = [list(part) for part in dealt]
        assert [len(part) for part in shares] == [len(part) for part in dealt] == [len(whole) * accumulate] * processes
        assert sorted(index for part in shares for batch in part for index in batch) == list(range(len(windows)))
        for step, group in enumerate(whole):
            mine = [part[step * accumulate : (step + 1) * accumulate] for part in shares]
            assert sorted(index for part in mine for batch in part for index in batch) == sorted(group)
        for batch in (batch for part in shares for batch in part if len(batch) > 1):
            assert (len(batch) - 1) * max(lengths[batch]) <= batches
    assert divide([5, 6, 7], 5) == [[5], [6], [7], [], []]
    assert divide(list(range(7)), 3) == [[0, 1, 2], [3, 4], [5, 6]]


def test_more_parts_than_windows_in_a_step(model: Path, tmp_path: Path) -> None:
    """Some parts of a step are empty: a stand-in goes through the model and weighs nothing."""
    few = {"data": {**DATA, "seeds": 1}, "objective": {"coefficient": "first_hit"}}
    for name, tokens, accumulate in (("one", 256, 1), ("parts", 32, 8), ("two", 128, 1)):
        training = {"batch_tokens": tokens, "accumulate": accumulate, "precision": "fp32", "epochs": 1}
        chosen = recipe(model, tmp_path / name, **few, training={**training, "save_steps": 100})
        if name == "two":
            assert run_together(chosen) == ["", ""]
        else:
            run_recipe(chosen, quiet())
    assert_same_steps(tmp_path / "one", tmp_path / "parts")
    assert_same_steps(tmp_path / "one", tmp_path / "two")


def test_a_checkpoint_is_for_as_many_processes_as_wrote_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
    assert run_together(made(model, tmp_path / "two", 1024)) == ["", ""]
    monkeypatch.undo()
    checkpoint, skipped = newest_checkpoint(tmp_path / "two/checkpoints")
    assert checkpoint is not None
    assert skipped == []
    assert {"rng_state_0.pth", "rng_state_1.pth"} < {path.name for path in checkpoint.iterdir()}
    (tmp_path / "two/model").rename(tmp_path / "before")
    with pytest.raises(ValueError, match=r"a run of 2 processes, this is one of 1 process; go on with as many"):
        run_recipe(made(model, tmp_path / "two", 1024), quiet())
    assert run_together(made(model, tmp_path / "two", 1024)) == ["", ""]
    assert digest(tmp_path / "two") == digest(tmp_path, "before")
    refused = run_together(made(model, tmp_path / "two", 512))
    assert refused[1].startswith("RunError") or refused[0].startswith("RunError")


def test_shares_are_joined_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(range(11))
    parts = []
    for rank in range(3):
        monkeypatch.setenv("WORLD_SIZE", "3")
        monkeypatch.setenv("RANK", str(rank))
        parts.append(share(items))
    assert sorted(item for part in parts for item in part) == items
    monkeypatch.setattr("accelerate.utils.gather_object", lambda mine: parts)
    assert join_shares(parts[2], len(items)) == items
    parts[1].pop()
    with pytest.raises(ValueError, match="extended slice"):
        join_shares(parts[2], len(items))


def torchrun(*arguments: str, **settings: Any) -> Any:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, "-m", "polyspan", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@pytest.mark.slow
def test_under_torchrun_a_signal_saves_once_and_the_same_command_goes_on(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    chosen = made(model, tmp_path / "whole", 1024).model_copy(update={"evaluation": None})
    file.write_text(chosen.model_dump_json(), encoding="utf-8")  # JSON is YAML
    said, _ = torchrun("train", str(file)).communicate()
    assert said == f"{tmp_path / 'whole/model'}\n"
    run_dir = tmp_path / "run"
    command = ("train", str(file), "--set", f"run_dir={run_dir}")
    launched = torchrun(*command)
    while not (run_dir / "metrics.jsonl").is_file() or len(read_metrics(run_dir)) < 3:
        time.sleep(0.05)
    launched.send_signal(signal.SIGTERM)
    _, said = launched.communicate()
    assert sum(line.startswith("error: stopped by SIGTERM after step") for line in said.splitlines()) == 1
    checkpoint, skipped = newest_checkpoint(run_dir / "checkpoints")
    assert checkpoint is not None
    assert skipped == []
    assert int(checkpoint.name.rpartition("-")[2]) == len(read_metrics(run_dir))
    _, said = torchrun(*command).communicate()
    assert said.count("going on from") == 1
    assert digest(run_dir) == digest(tmp_path / "whole")
    assert read_metrics(run_dir) == read_metrics(tmp_path / "whole")
    printed, _ = torchrun(
        "evaluate", "--model", str(run_dir / "model"), "--data", "commons/dev", "--limit", "2", "--json"
    ).communicate()
    assert json.loads(printed)["averages"]
