"""Nothing lost: stopped, killed and damaged runs end in the bytes of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import TrainerState

from polyspan.experiments.run import RunError, RunStopped, read_metrics, run_recipe
from polyspan.files import what_is_broken
from polyspan.training.checkpoints import newest_checkpoint
from polyspan.training.progress import MetricsLog
from tiny_models import tiny_unigram
from tiny_runs import digest, quiet, recipe


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_unigram(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A tiny model gains nothing from a second thread and waits for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("teacher", "stop"), [("epoch", 3), ("epoch", 7), ("steps", 5), ("ema", 5)])
def test_a_broken_off_run_goes_on_to_the_same_weights(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: str, stop: int
) -> None:
    objective = {"teacher": teacher, "teacher_every": 3, "teacher_decay": 0.9}
    run_recipe(recipe(model, tmp_path / "whole", objective=objective), quiet())
    steps = read_metrics(tmp_path / "whole")
    assert len(steps) > stop + 1
    broken = recipe(model, tmp_path / "broken", objective=objective)
    log = MetricsLog.on_step_end

    def power_cut(self: MetricsLog, args: Any, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        log(self, args, state, *rest, **kwargs)
        if state.global_step == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(MetricsLog, "on_step_end", power_cut)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(broken, quiet())
    monkeypatch.undo()
    assert not (tmp_path / "broken/model").exists()
    half = tmp_path / "broken/checkpoints/checkpoint-99"
    half.mkdir()
    (half / "trainer_state.json").write_text("{", encoding="utf-8")
    checkpoint, skipped = newest_checkpoint(tmp_path / "broken/checkpoints")
    assert skipped == [f"{half}: its writing was not finished"]
    assert checkpoint is not None
    assert checkpoint.name == f"checkpoint-{stop - 1}"
    assert (checkpoint / "teacher.safetensors").is_file()

    said = StringIO()
    run_recipe(broken, Console(file=said, width=200))
    assert f"skipped: {half}: its writing was not finished" in said.getvalue()
    assert f"going on from {checkpoint}" in said.getvalue()
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")
    assert read_metrics(tmp_path / "broken") == steps


def test_a_damaged_checkpoint_is_passed_over(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
    run_recipe(recipe(model, tmp_path), quiet())
    newest, skipped = newest_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    assert skipped == []
    assert what_is_broken(newest) is None
    weights = newest / "model.safetensors"
    content = weights.read_bytes()

    def broken() -> str:
        older, skipped = newest_checkpoint(tmp_path / "checkpoints")
        assert older != newest
        return skipped[0]

    weights.write_bytes(content[:-1])
    assert broken() == f"{newest}: model.safetensors has {len(content) - 1} bytes, not {len(content)}"
    flipped = bytearray(content)
    flipped[-5] ^= 1
    weights.write_bytes(flipped)
    assert broken() == f"{newest}: model.safetensors is damaged"
    weights.unlink()
    assert broken() == f"{newest}: model.safetensors is missing"
    (newest / "manifest.json").write_text("{", encoding="utf-8")
    assert "manifest cannot be read" in broken()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    run_recipe(recipe(model, tmp_path / "whole"), quiet())
    log = MetricsLog.on_step_end

    def signalled(self: MetricsLog, args: Any, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        log(self, args, state, *rest, **kwargs)
        if state.global_step == 5:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    monkeypatch.setattr(MetricsLog, "on_step_end", signalled)
    with pytest.raises(RunStopped, match=f"stopped by {number.name} after step 5 of ") as stopped:
        run_recipe(recipe(model, tmp_path / "run"), quiet())
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    monkeypatch.undo()
    checkpoint, _ = newest_checkpoint(tmp_path / "run/checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-5"
    run_recipe(recipe(model, tmp_path / "run"), quiet())
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_killed_at_25_random_moments_a_run_ends_in_the_same_bytes(model: Path, tmp_path: Path) -> None:
    """SIGKILL, which nothing can catch: between steps, inside a save, after the teacher changed."""
    settings = {"training": {"save_steps": 1, "epochs": 4}, "objective": {"teacher": "epoch"}}
    began = time.monotonic()
    run_recipe(recipe(model, tmp_path / "whole", **settings), quiet())
    seconds = time.monotonic() - began
    generator, context = random.Random(1), multiprocessing.get_context("fork")
    kills, runs = 0, 0
    while kills < 25:
        made = recipe(model, tmp_path / f"run-{runs}", **settings)
        while not (made.run_dir / "model").is_dir():
            child = context.Process(target=run_recipe, args=(made, quiet()))
            child.start()
            child.join(generator.uniform(0.02, 0.6) * seconds if kills < 25 else None)
            if child.is_alive():
                child.kill()
                kills += 1
            child.join()
            assert child.exitcode in {0, -signal.SIGKILL}
        assert digest(made.run_dir) == digest(tmp_path / "whole")
        assert read_metrics(made.run_dir) == read_metrics(tmp_path / "whole")
        runs += 1


def test_a_full_disk_and_a_place_that_is_no_folder_are_one_clear_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(RunError, match=r"cannot be written .*No space left on device.* the same command"):
        run_recipe(recipe(model, tmp_path / "full"), quiet())
    monkeypatch.undo()
    assert not (tmp_path / "full/model").exists()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be written"):
        run_recipe(recipe(model, tmp_path / "file/run"), quiet())
    run_recipe(recipe(model, tmp_path / "full"), quiet())
    run_recipe(recipe(model, tmp_path / "whole"), quiet())
    assert digest(tmp_path / "full") == digest(tmp_path / "whole")
