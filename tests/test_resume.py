"""Nothing lost: stopped, killed and damaged runs end in the bytes of an undisturbed one."""

from __future__ import annotations

import itertools
import json
import os
import pkgutil
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from rich.console import Console
from transformers import TrainerState

from polyspan.cli.main import run as command_line
from polyspan.corpus.model import CorpusError
from polyspan.experiments.run import RunStopped, read_metrics, run_recipe
from polyspan.experiments.set_up import RunError
from polyspan.files import what_is_broken
from polyspan.training.checkpoints import SAVING, CheckpointError, newest_checkpoint, publish
from polyspan.training.progress import MetricsLog
from tiny_encoders import xlm_roberta
from tiny_runs import digest, quiet, recipe, start

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    run_recipe(recipe(model, folder), quiet())
    return folder


@pytest.mark.parametrize(
    ("teacher", "stop"), [("epoch", 13), ("steps", 5), pytest.param("ema", 5, marks=pytest.mark.slow)]
)
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

    seconds = json.loads((checkpoint / "timing.json").read_text(encoding="utf-8"))["training_seconds"]
    assert seconds > 0
    said = StringIO()
    run_recipe(broken, Console(file=said, width=200))
    timing = json.loads((tmp_path / "broken/timing.json").read_text(encoding="utf-8"))
    assert timing["training_seconds"] > seconds
    assert f"skipped: {half}: its writing was not finished" in said.getvalue()
    assert f"going on from {checkpoint}" in said.getvalue()
    assert digest(tmp_path / "broken") == digest(tmp_path / "whole")
    assert read_metrics(tmp_path / "broken") == steps


def test_a_damaged_checkpoint_is_passed_over(
    model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)
    run_recipe(recipe(model, tmp_path), quiet())
    monkeypatch.undo()
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
    (newest / "manifest.json").unlink()
    assert broken() == f"{newest}: its writing was not finished"
    shutil.rmtree(tmp_path / "model")
    said = StringIO()
    run_recipe(recipe(model, tmp_path), Console(file=said, width=200))
    assert f"skipped: {newest}: its writing was not finished" in said.getvalue()
    assert "going on from" in said.getvalue()
    assert digest(tmp_path) == digest(whole)
    assert read_metrics(tmp_path) == read_metrics(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(
    model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    stop_after(monkeypatch, 5, number)
    with pytest.raises(RunStopped, match=f"stopped by {number.name} after step 5 of ") as stopped:
        run_recipe(recipe(model, tmp_path / "run"), quiet())
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    monkeypatch.undo()
    checkpoint, _ = newest_checkpoint(tmp_path / "run/checkpoints")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-5"
    run_recipe(recipe(model, tmp_path / "run"), quiet())
    assert digest(tmp_path / "run") == digest(whole)


KILLED_AT = {
    "the new teacher has taught two steps": ("polyspan.training.trainer.SpanTrainer.compute_loss", 13),
    "the weights are written": ("transformers.modeling_utils.PreTrainedModel.save_pretrained", 3),
    "the optimiser is half written": ("torch.save", 5),
    "the teacher is written": ("polyspan.training.teacher.Teacher.save", 6),
    "the manifest is written": ("polyspan.training.checkpoints.write_manifest", 7),
    "an older one is deleted": ("polyspan.training.checkpoints.what_is_broken", 8),
    "the model is written": ("polyspan.models.load._save_tokenizer", 1),
}
"""Which function, and which of its calls, the process is killed in; an epoch has ten steps."""


@pytest.mark.parametrize("moment", KILLED_AT)
def test_killed_at_the_worst_moments_a_run_ends_in_the_same_bytes(
    model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """SIGKILL, which nothing can catch, after the function has done its work and before it returns."""
    name, count = KILLED_AT[moment]
    made = recipe(model, tmp_path / "run")

    def killed() -> None:
        owner, _, attribute = name.rpartition(".")
        place = pkgutil.resolve_name(owner)
        function, calls = getattr(place, attribute), itertools.count(1)

        def fatal(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if next(calls) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        monkeypatch.setattr(place, attribute, fatal)
        run_recipe(made, quiet())

    child = start(killed)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not (made.run_dir / "model").exists()
    said = StringIO()
    run_recipe(made, Console(file=said, width=200))
    assert "going on from" in said.getvalue()
    finished = {"the new teacher has taught two steps", "an older one is deleted", "the model is written"}
    unfinished = moment not in finished
    assert ("its writing was not finished" in said.getvalue()) == unfinished
    assert digest(made.run_dir) == digest(whole)
    assert read_metrics(made.run_dir) == read_metrics(whole)
    assert {path.name for path in made.run_dir.rglob(".*")} <= {".lock"}


@pytest.mark.slow
def test_killed_at_25_random_moments_a_run_ends_in_the_same_bytes(model: Path, tmp_path: Path) -> None:
    """Between steps, inside a save, after the teacher changed, and in the runs that went on."""
    settings = {"training": {"save_steps": 1, "epochs": 4}, "objective": {"teacher": "epoch"}}
    began = time.monotonic()
    run_recipe(recipe(model, tmp_path / "whole", **settings), quiet())
    seconds = time.monotonic() - began
    generator = random.Random(1)
    kills, runs = 0, 0
    saving, later_generation = 0, 0
    while kills < 25:
        made = recipe(model, tmp_path / f"run-{runs}", **settings)
        while not (made.run_dir / "model").is_dir():
            child = start(run_recipe, made, quiet())
            child.join(generator.uniform(0.02, 0.6) * seconds if kills < 25 else None)
            if child.is_alive():
                child.kill()
                child.join()
                kills += 1
                saving += (made.run_dir / "checkpoints" / SAVING).is_dir()
                later_generation += has_changed_teacher(made.run_dir)
            child.join()
            assert child.exitcode in {0, -signal.SIGKILL}
        assert digest(made.run_dir) == digest(tmp_path / "whole")
        assert read_metrics(made.run_dir) == read_metrics(tmp_path / "whole")
        runs += 1
    assert saving >= 1
    assert later_generation >= 1


def has_changed_teacher(run_dir: Path) -> bool:
    """Whether the steps so far end inside an epoch after the first."""
    file = run_dir / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    epoch = json.loads(lines[-1])["epoch"] if lines else 0.0
    return epoch > 1 and not float(epoch).is_integer()


@pytest.mark.parametrize("room", [20_000, 160_000])
def test_a_full_disk_is_one_clear_line_and_the_same_command_goes_on(
    model: Path, tmp_path: Path, whole: Path, room: int
) -> None:
    """No file may grow beyond the room: the weights do not fit, or the optimiser's state does not."""
    made = recipe(model, tmp_path / "run")
    said = tmp_path / "said"

    def filled() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            run_recipe(made, quiet())
        except RunError as error:
            said.write_text(str(error), encoding="utf-8")

    start(filled).join()
    assert said.read_text(encoding="utf-8").startswith(f"{made.run_dir}: cannot be written")
    assert newest_checkpoint(made.run_dir / "checkpoints") == (None, [])
    assert not (made.run_dir / "model").exists()
    run_recipe(made, quiet())
    assert digest(made.run_dir) == digest(whole)


def test_a_folder_that_cannot_be_written_is_one_clear_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match=r"run: cannot be written \(Not a directory\)"):
        run_recipe(recipe(model, tmp_path / "file/run"), quiet())
    with tempfile.TemporaryDirectory() as folder:
        said = tmp_path / "said"
        tmp_path.chmod(0o777)
        Path(folder).chmod(0o555)

        def read_only() -> None:
            with said.open("w", encoding="utf-8") as file:
                if os.geteuid() == 0:  # who may write everywhere
                    os.setuid(65534)
                try:
                    run_recipe(recipe(model, Path(folder) / "run"), quiet())
                except RunError as error:
                    file.write(str(error))

        start(read_only).join()
        assert said.read_text(encoding="utf-8") == f"{folder}/run: cannot be written (Permission denied)"


def test_other_data_under_the_same_recipe_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(str(resources.files("polyspan.corpus"))) / "commons/train/commons.en.json"
    data = tmp_path / "en.json"
    shutil.copy(source, data)
    made = recipe(model, tmp_path / "run", data={"path": str(data), "languages": ["en"], "target_languages": 0})
    stop_after(monkeypatch, 3)
    with pytest.raises(RunStopped):
        run_recipe(made, quiet())
    monkeypatch.undo()
    content = json.loads(data.read_text(encoding="utf-8"))
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["context"] = paragraph["context"] + " And more."
    data.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="on other data than the recipe gives now; restore the data"):
        run_recipe(made, quiet())
    shutil.copy(source, data)
    run_recipe(made, quiet())
    assert (made.run_dir / "model").is_dir()
    data.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=r"holds a model of other data than .*en\.json has now; use another run_dir"):
        run_recipe(made, quiet())
    data.unlink()  # then there is nothing to compare
    run_recipe(made, quiet())


def test_a_run_does_not_go_on_in_another_precision(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe(model, tmp_path, training={"precision": "auto"})
    monkeypatch.setattr("polyspan.training.trainer.faster_in_bf16", lambda device: True)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(RunStopped):
            run_recipe(made, quiet())
    monkeypatch.setattr("polyspan.training.trainer.faster_in_bf16", lambda device: False)
    with pytest.raises(CheckpointError, match="by a run in bf16, and on this machine it is one in fp32; go on where"):
        run_recipe(made, quiet())


def test_of_two_at_once_the_second_waits(model: Path, tmp_path: Path, whole: Path) -> None:
    lock = FileLock(tmp_path / "run/.lock")
    (tmp_path / "run").mkdir()
    lock.acquire()
    said = []

    class Freeing(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            said.extend(map(str, objects))
            lock.release()

    run_recipe(recipe(model, tmp_path / "run"), Freeing(file=StringIO()))
    assert said[0] == f"another process works in {tmp_path / 'run'}; waiting for it"
    assert digest(tmp_path / "run") == digest(whole)


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Send the process a signal after this step."""
    log = MetricsLog.on_step_end

    def signalled(self: MetricsLog, args: Any, state: TrainerState, *rest: Any, **kwargs: Any) -> None:
        log(self, args, state, *rest, **kwargs)
        if state.global_step == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(MetricsLog, "on_step_end", signalled)


@pytest.mark.parametrize("stop", [10, 20])
def test_stopped_at_the_end_of_an_epoch_or_of_the_run(
    model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    assert len(read_metrics(whole)) == 20
    stop_after(monkeypatch, stop)
    with pytest.raises(RunStopped):
        run_recipe(recipe(model, tmp_path / "run"), quiet())
    monkeypatch.undo()
    run_recipe(recipe(model, tmp_path / "run"), quiet())
    assert digest(tmp_path / "run") == digest(whole)
    assert read_metrics(tmp_path / "run") == read_metrics(whole)


def test_dropout_goes_on_with_the_same_random_numbers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"training": {"dropout": 0.1, "epochs": 1, "accumulate": 2, "batch_tokens": 1024}}
    run_recipe(recipe(model, tmp_path / "whole", **settings), quiet())
    stop_after(monkeypatch, 5)
    with pytest.raises(RunStopped):
        run_recipe(recipe(model, tmp_path / "run", **settings), quiet())
    monkeypatch.undo()
    run_recipe(recipe(model, tmp_path / "run", **settings), quiet())
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")


def test_train_resume_goes_on_with_what_was_begun(
    model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``polyspan train --resume`` with the recipe, with the run's folder, and where there is nothing to go on with."""
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe(model, tmp_path / "run").model_dump_json(), encoding="utf-8")  # JSON is YAML

    def train(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["polyspan", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            command_line()
        return left.value.code, *capsys.readouterr()

    begun_nothing = f"error: {tmp_path / 'run'}: no run was begun here; leave out --resume to begin it\n"
    assert train(file, "--resume") == (1, "", begun_nothing)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        code, _, said = train(file)
    assert code == 128 + signal.SIGTERM
    assert said.splitlines()[-1] == (
        "error: stopped by SIGTERM after step 5 of 20; the same command goes on from there"
    )
    code, _, said = train(file, "--resume", "--set", "training.learning_rate=2e-3")
    assert code == 1
    assert "holds a run of another recipe (training.learning_rate" in said
    with monkeypatch.context() as patch:
        stop_after(patch, 12, signal.SIGINT)
        code, _, said = train(tmp_path / "run", "--resume")
    assert code == 128 + signal.SIGINT
    assert "going on from" in said
    code, printed, said = train(file)
    assert (code, printed) == (0, f"{tmp_path / 'run/model'}\n")
    assert "checkpoint-12" in said
    assert digest(tmp_path / "run") == digest(whole)
    assert read_metrics(tmp_path / "run") == read_metrics(whole)


def test_two_checkpoints_are_kept_and_those_that_are_not_whole_do_not_count(tmp_path: Path) -> None:
    for step in (2, 4, 6, 9, 8):
        aside = tmp_path / SAVING / f"checkpoint-{step}"
        aside.mkdir(parents=True)
        (aside / "weights").write_text("abc", encoding="utf-8")
        if step == 8:
            (tmp_path / "checkpoint-6/weights").unlink()
        publish(tmp_path, aside.name, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-8"]


def test_what_could_not_begin_may_be_mended(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file"):
        run_recipe(recipe(model, tmp_path / "run", data={"path": str(tmp_path / "oops.csv")}), quiet())
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    assert run_recipe(recipe(model, tmp_path / "run", training={"epochs": 1}), quiet()).model.is_dir()


def test_a_teacher_that_cannot_answer_yet_is_told_of(tmp_path: Path) -> None:
    said = StringIO()
    made = recipe(xlm_roberta(tmp_path / "encoder"), tmp_path / "run", training={"epochs": 1})
    run_recipe(made, Console(file=said, width=400))
    assert "its first teacher is one drawn at random" in said.getvalue()
    said = StringIO()
    after = recipe(tmp_path / "run" / "model", tmp_path / "after", training={"epochs": 1})
    run_recipe(after, Console(file=said, width=400))
    assert "drawn at random" not in said.getvalue()
