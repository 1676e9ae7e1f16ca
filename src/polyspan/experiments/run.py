"""A recipe to a run folder: everything a person sees of a run can be made again from it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from polyspan.errors import Difference, PolyspanError, first_difference
from polyspan.experiments.environment import describe_environment
from polyspan.experiments.evaluate import SCORES, evaluate_model, is_evaluated, read_scores
from polyspan.experiments.keys import dotted
from polyspan.experiments.leakage import check_training
from polyspan.experiments.model_card import CARD, write_model_card
from polyspan.experiments.prepare import Prepared, prepare
from polyspan.experiments.recipe import MODEL_FOLDER, RECIPE_FILE, Recipe, dump_recipe, load_recipe
from polyspan.experiments.set_up import CHECKPOINTS, DATA_FILE, RunError, make_trainer, training_attention
from polyspan.files import remove_leftovers, write_text
from polyspan.processes import from_main, is_main_process, join_group, wait_for_all

if TYPE_CHECKING:
    from rich.console import Console

    from polyspan.evaluation.matrix import ScoreMatrix
    from polyspan.models import LoadedModel
    from polyspan.training.progress import TrainingClock


class RunStopped(PolyspanError):
    """A run that was asked to stop and kept what it had."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


@dataclass(frozen=True)
class RunResult:
    """Where the model is and how it scores, when the recipe asks for scores."""

    model: Path
    matrix: ScoreMatrix | None


@dataclass(frozen=True)
class _Start:
    """All that a training needs beside its folder."""

    clock: TrainingClock
    loaded: LoadedModel
    prepared: Prepared


def run_recipe(recipe: Recipe, console: Console | None = None, leakage: str = "warn") -> RunResult:
    """Train, save, and evaluate if the recipe says so.

    A run folder that holds a finished model of the same recipe is not trained again, and what was
    asked of it is not asked again; one that was stopped goes on from its newest checkpoint; one that
    another process is at is waited for. Several processes, started by ``torchrun`` or ``accelerate
    launch``, divide the steps and the questions; the first of them speaks and writes.

    Args:
        recipe: what to do.
        console: where progress goes; the terminal when None.
        leakage: what to do where training data and evaluation share something: "fail", "warn" or
            "ignore"; found is written to ``leakage.json``.

    Raises:
        LeakageError: there is leakage and it was not to be.
        RunError: the run folder belongs to another recipe, was made from other data, or cannot be written.
        CheckpointError: the run to go on with had other data, precision or number of processes.
        RunStopped: Ctrl-C or SIGTERM came; a checkpoint was written.
    """
    from rich.console import Console

    from polyspan.models import load_model

    console = console or Console()
    join_group()
    console.quiet = console.quiet or not is_main_process()
    folder = recipe.run_dir
    model_folder = folder / MODEL_FOLDER
    if is_main_process():
        _refuse_other(folder, recipe)
    wait_for_all()
    start = None if model_folder.is_dir() else _begin(recipe, console, leakage)
    with _alone(folder, console):
        if is_main_process():
            _refuse_other(folder, recipe)
            remove_leftovers(model_folder)
        wait_for_all()
        is_trained = model_folder.is_dir()
        if is_trained:
            _refuse_other_data(recipe)
            console.print(f"{model_folder} is there already; it is not trained again")
        else:
            _train(recipe, start or _begin(recipe, console, leakage), console)
        if is_main_process():
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        matrix = None
        is_known = is_trained and (model_folder / CARD).is_file()
        if recipe.evaluation is not None and is_trained and is_evaluated(folder, None, recipe.evaluation):
            console.print(f"{folder / SCORES} is there already; it is not evaluated again")
            matrix = read_scores(folder)
        elif recipe.evaluation is not None:
            is_known = False
            loaded = load_model(str(model_folder))
            matrix = evaluate_model(
                loaded.model, loaded.tokenizer, recipe.evaluation, folder, console, str(model_folder.resolve())
            )
        if is_main_process() and not is_known:  # a card that is there may have been edited since
            write_model_card(folder)
    return RunResult(model_folder, matrix)


def _begin(recipe: Recipe, console: Console, leakage: str) -> _Start:
    from polyspan.models import load_model
    from polyspan.training.progress import TrainingClock

    clock = TrainingClock()
    loaded = load_model(
        recipe.model,
        attn_implementation=training_attention(recipe.training.dropout),
        dropout=recipe.training.dropout,
        seed=recipe.seed,
    )
    if loaded.fresh_head and recipe.objective.alpha_kl:
        console.print(
            f"{recipe.model} cannot answer questions yet: its first teacher is one drawn at random. Train it on"
            " English questions first, such as by recipes/base/xlm-r-base-phase1.yaml, and start from that",
            markup=False,
            soft_wrap=True,
        )
    prepared = prepare(recipe.data, recipe.seed)
    check_training(recipe, prepared.corpus, leakage, console)
    return _Start(clock, loaded, prepared)


def _train(recipe: Recipe, start: _Start, console: Console) -> None:
    from polyspan.models import save_model
    from polyspan.training.checkpoints import newest_checkpoint

    folder = recipe.run_dir
    trainer = make_trainer(recipe, start.loaded.model, start.loaded.tokenizer, start.prepared, console)
    _claim(folder, recipe)  # not before: what cannot begin leaves no run behind that the next try would differ from
    trainer.kept.append(start.clock)
    checkpoint, skipped = from_main(lambda: newest_checkpoint(folder / CHECKPOINTS))
    for reason in skipped:
        console.print(f"skipped: {reason}", markup=False, soft_wrap=True)
    if checkpoint is not None:
        console.print(f"going on from {checkpoint}", markup=False, soft_wrap=True)
    _take_steps(trainer, checkpoint, folder)
    if is_main_process():
        with _write_errors(folder):
            start.clock.save_to(folder)
            save_model(trainer.model, start.loaded.tokenizer, folder / MODEL_FOLDER)
    wait_for_all()


def _take_steps(trainer: Any, checkpoint: Path | None, folder: Path) -> None:
    from polyspan.training.stopping import StopOnSignal

    with StopOnSignal() as stop, _write_errors(folder):
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.received is not None:
        step, steps = trainer.state.global_step, trainer.state.max_steps
        raise RunStopped(
            f"stopped by {stop.received.name} after step {step} of {steps}; the same command goes on from there",
            stop.received.value,
        )


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Each of the libraries that write has an error of its own for a disk that is full."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder}: cannot be written ({error}); make room, then run the same command") from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error):
            raise
        raise RunError(f"{folder}: cannot be written, is the disk full? ({error})") from error


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """What a run recorded, one mapping a step.

    Raises:
        RunError: the folder holds no such record, or a line of it is broken.
    """
    from polyspan.training.progress import METRICS_FILE

    path = run_dir / METRICS_FILE
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise RunError(f"{path}: not one JSON object a line ({error})") from error


@contextmanager
def _alone(folder: Path, console: Console) -> Iterator[None]:
    """While it lasts no other process of this disk works in the run folder; who comes second waits."""
    if not is_main_process():
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.print(f"another process works in {folder}; waiting for it", markup=False, soft_wrap=True)
            lock.acquire()
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


def _refuse_other(folder: Path, recipe: Recipe) -> None:
    """Before anything is loaded: another recipe's run, or a place where none can be written."""
    file = folder / RECIPE_FILE
    try:
        other = _first_difference(load_recipe(file), recipe) if file.is_file() else None
    except OSError as error:
        raise RunError(f"{folder}: cannot be read ({error.strerror})") from error
    if other:
        raise RunError(f"{folder}: holds a run of another recipe ({other}); use another run_dir or delete the folder")
    if not file.is_file() and (folder / MODEL_FOLDER).is_dir():
        raise RunError(f"{folder}: holds a model, and no {RECIPE_FILE} says how it was made; use another run_dir")
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        reason = os.strerror(errno.EACCES if there.is_dir() else errno.ENOTDIR)
        raise RunError(f"{folder}: cannot be written ({reason})")


def _refuse_other_data(recipe: Recipe) -> None:
    """A model that is there already was made from the data as they were."""
    if not is_main_process():
        return
    file = recipe.run_dir / DATA_FILE
    try:
        before = json.loads(file.read_text(encoding="utf-8")).get("digest")
        now = prepare(recipe.data, recipe.seed).digest()
    except (OSError, ValueError, PolyspanError):  # one of them is gone: nothing to compare
        return
    if before is not None and before != now:
        raise RunError(
            f"{recipe.run_dir}: holds a model of other data than {recipe.data.path} has now; use another run_dir,"
            " delete the folder, or restore the data"
        )


def _claim(folder: Path, recipe: Recipe) -> None:
    if not is_main_process():
        return
    try:
        write_text(folder / RECIPE_FILE, dump_recipe(recipe))
        write_text(folder / "environment.json", json.dumps(describe_environment(), indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from error


def _first_difference(there: Recipe, here: Recipe) -> Difference | None:
    """Where a run folder was moved to does not matter."""
    old, new = (dotted(recipe.model_dump(mode="json", exclude={"run_dir"})) for recipe in (there, here))
    return first_difference(old, new)
