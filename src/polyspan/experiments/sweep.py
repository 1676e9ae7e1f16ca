"""One worker of a sweep: take a trial that nobody has, run it, report its score, until all are done."""

from __future__ import annotations

import json
import platform
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import TrialState

from polyspan.errors import PolyspanError
from polyspan.evaluation.matrix import ScoreMatrix
from polyspan.experiments.leakage import check_policy
from polyspan.experiments.plan import METHOD, Plan, PlanError, Range, Settings, Value
from polyspan.experiments.recipe import Recipe, takes_whole_numbers
from polyspan.experiments.run import RunStopped, run_recipe
from polyspan.experiments.storage import no_warning, put_up_again, study_name

if TYPE_CHECKING:
    from optuna.samplers import TPESampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial
    from rich.console import Console

    from polyspan.experiments.run import RunResult

SETTINGS, FOLDER, SCORES, ERROR = "settings", "folder", "scores", "error"
BASE, LINED_UP = "recipe", "lined up"
HEARTBEAT = 60
_PATIENCE = 30.0
"""Seconds that a worker gives the one that made the study to line the trials up."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; no library takes it for an error of its own."""


class _Failed(Exception):
    """A trial went wrong; what happened is noted in it and the worker goes on."""


@dataclass(frozen=True)
class Tally:
    """How many trials of the plan stand where."""

    done: int
    running: int
    waiting: int
    failed: int
    planned: int

    @property
    def finished(self) -> bool:
        """All are done."""
        return self.done >= self.planned


def open_study(plan: Plan, storage: BaseStorage) -> Study:
    """The study of a sweep, made by whoever comes first; the trials of a grid are lined up in it once.

    A grid to which values were added, or whose methods were changed, gets the new trials; what was
    done stays, and is shown where the file still asks for it.

    Raises:
        PlanError: the storage holds a sweep of this folder that is of another recipe, or a search whose
            trials were made or judged in another way than the file says.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = study_name(storage, plan.file.folder)
    try:
        study = optuna.create_study(storage=storage, study_name=name, direction="maximize", sampler=_sampler())
        study.set_user_attr(BASE, _base(plan))
    except optuna.exceptions.DuplicatedStudyError:
        study = load_study(plan, storage)
        if plan.file.search == "grid":
            _wait_for_line_up(study)
    if plan.file.search == "grid":
        known = {identity(plan, trial) for trial in _trials(study) if trial.state != TrialState.PRUNED}
        for name, settings in plan.named_grid.items():
            if name not in known:
                study.enqueue_trial({}, user_attrs={SETTINGS: settings, FOLDER: name})
        study.set_user_attr(LINED_UP, True)
    return study


def load_study(plan: Plan, storage: BaseStorage) -> Study:
    """The study of a sweep that was begun; nothing is written.

    Raises:
        PlanError: there is none, or as for `open_study`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, folder = study_name(storage, plan.file.folder), plan.file.folder
    try:
        study = optuna.load_study(storage=storage, study_name=name, sampler=_sampler())
    except KeyError as error:
        raise PlanError(f"{folder}: the storage holds no sweep of this folder; nothing was written") from error
    if study.user_attrs.get(BASE, _base(plan)) != _base(plan):
        raise PlanError(f"{plan.path}: {folder} holds a sweep of another recipe; give this one another folder")
    if plan.file.search == "tpe":
        _check_search(plan, study)
    return study


def _sampler() -> TPESampler:
    # constant_liar: trials that run elsewhere count as bad ones, so that workers do not crowd.
    return optuna.samplers.TPESampler(constant_liar=True)


def _base(plan: Plan) -> str:
    return json.dumps(plan.recipe.model_dump(mode="json", exclude={"run_dir"}), sort_keys=True)


def _check_search(plan: Plan, study: Study) -> None:
    """A search learns from its trials, so that all of them must be made and judged as the file says."""
    for trial in _trials(study):
        if changed := _changed(plan, trial):
            raise PlanError(
                f"{plan.path}: {changed}: trial {trial.number} of this search was made before this was changed;"
                " change it back, or give the search another folder"
            )


def _changed(plan: Plan, trial: FrozenTrial) -> str | None:
    """The part of the file that is not what it was when a trial of a search was made."""
    for key, distribution in _distributions(plan).items():
        if key in trial.distributions:
            try:
                check_distribution_compatibility(trial.distributions[key], distribution)
            except ValueError:
                return "methods" if key == METHOD else f"keys.{key}"
    made = trial.user_attrs
    method = made[SETTINGS].get(METHOD)
    if method is not None and method not in plan.file.methods:
        return f"methods.{method}"
    if FOLDER in made and plan.trial_name(made[SETTINGS]) != Path(made[FOLDER]).name:
        return f"methods.{method}"
    if trial.value is not None and not isclose(
        score(plan, ScoreMatrix.from_dict(made[SCORES])), trial.value, abs_tol=1e-6
    ):
        return "select"
    return None


def score(plan: Plan, matrix: ScoreMatrix) -> float:
    """What a trial is judged by, in percent.

    Raises:
        PlanError: no pair of the evaluation's languages belongs to the chosen average.
    """
    average = matrix.average(plan.file.select, "f1")
    if average is None:
        raise PlanError(f"{plan.path}: select: the evaluation has no pair of languages that {plan.file.select} is of")
    return 100 * average


def tally(study: Study, plan: Plan) -> Tally:
    """Count the trials; one that was put up again is one trial."""
    states: dict[str, set[TrialState]] = {}
    for trial in _trials(study):
        if is_planned(plan, trial):
            states.setdefault(identity(plan, trial), set()).add(trial.state)
    order = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
    counts = Counter(next((state for state in order if state in found), TrialState.PRUNED) for found in states.values())
    done, running, waiting, failed = (counts[state] for state in order)
    return Tally(done, running, waiting, failed, plan.trials)


def identity(plan: Plan, trial: FrozenTrial) -> str:
    """The same for a trial and for those that took it up again."""
    if plan.file.search == "grid":
        return Path(trial.user_attrs.get(FOLDER, "")).name
    return str(trial.system_attrs.get("retry_history", [trial.number])[0])


def is_planned(plan: Plan, trial: FrozenTrial) -> bool:
    """Whether the file still asks for this trial, of this very recipe; a search keeps all."""
    return plan.file.search == "tpe" or identity(plan, trial) in plan.named_grid


def work(
    plan: Plan,
    study: Study,
    console: Console,
    stay: bool = True,
    retry_failed: bool = False,
    heartbeat: float = HEARTBEAT,
    leakage: str = "warn",
) -> Tally:
    """Run trials until none is left.

    A trial whose worker has died is taken up again, from the newest checkpoint where the run folder
    is on a disk that both see. Ctrl-C and SIGTERM put the trial up again; a training leaves a
    checkpoint.

    Args:
        plan: the sweep.
        study: of `open_study`.
        console: where progress goes.
        stay: wait for trials that run elsewhere, in case their worker dies.
        retry_failed: put trials that went wrong up again.
        heartbeat: seconds between looks at the others.
        leakage: as for `run_recipe`.

    Raises:
        LeakageError: an unknown policy.
        PlanError: the evaluation has no pair of languages that trials could be judged by.
        RunStopped: Ctrl-C or SIGTERM came.
    """
    check_policy(leakage)
    if retry_failed:
        _put_up_failed(study, plan)
    said = False
    while True:
        with no_warning():
            optuna.storages.fail_stale_trials(study)
        now = tally(study, plan)
        started = now.done + now.running + now.failed
        if study.get_trials(deepcopy=False, states=(TrialState.WAITING,)) or (
            plan.file.search == "tpe" and started < now.planned
        ):
            said = False
            _one_trial(plan, study, console, leakage)
        elif now.running and stay:
            if not said:
                console.print(f"{now.running} trials run elsewhere; waiting for them, in case a worker dies")
            said = True
            time.sleep(min(heartbeat, 10))
        else:
            return now


def _one_trial(plan: Plan, study: Study, console: Console, leakage: str) -> None:
    last: list[int] = []

    def objective(trial: Trial) -> float:
        last.append(trial.number)
        settings = _settings(plan, trial)
        _refuse_doubles(plan, study, trial)
        try:
            recipe = plan.trial_recipe(settings)
            trial.set_user_attr(FOLDER, recipe.run_dir.as_posix())
            console.print(f"trial {trial.number}: {recipe.run_dir}", markup=False, soft_wrap=True)
            began = time.monotonic()
            with _interrupted_by_sigterm():
                result = _run(recipe, console, leakage)
        except RunStopped:
            raise
        except Exception as error:  # one trial out of memory must not end a sweep of a week
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
            console.print(f"trial {trial.number} failed: {error}", markup=False, soft_wrap=True)
            raise _Failed from error
        assert result.matrix is not None  # a plan has an evaluation
        for name, value in {
            SCORES: result.matrix.to_dict(),
            "seconds": round(time.monotonic() - began, 1),
            "machine": platform.node(),
        }.items():
            trial.set_user_attr(name, value)
        reached = score(plan, result.matrix)
        console.print(f"trial {trial.number}: {plan.file.select} F1 {reached:.2f}")
        return reached

    try:
        with no_warning():
            study.optimize(objective, n_trials=1, catch=(_Failed,))
    except (RunStopped, KeyboardInterrupt, PlanError) as error:
        if last:
            put_up_again(study, study.trials[last[0]])
        if isinstance(error, _Terminated):
            raise RunStopped("stopped by SIGTERM; the same command goes on", signal.SIGTERM) from error
        raise
    except ValueError as error:
        if isinstance(error, PolyspanError) or "Cannot tell" not in str(error):
            raise
        # This worker was silent for so long that the trial was given to another; its run folder is whole.
        console.print(f"trial {last[0]} was given to another worker meanwhile; going on with the next")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does; while a training runs, it is the training's to handle."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # no other may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(recipe: Recipe, console: Console, leakage: str) -> RunResult:
    """Run in a folder that no other process of this disk works in."""
    folder = recipe.run_dir
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        return run_recipe(recipe, console, leakage)


def _settings(plan: Plan, trial: Trial) -> Settings:
    if plan.file.search == "grid":
        found: Settings | None = trial.user_attrs.get(SETTINGS)
        if found is None:  # another worker took the last one
            raise optuna.TrialPruned
        return found
    drawn = {key: _suggest(trial, key, distribution) for key, distribution in _distributions(plan).items()}
    method = drawn.pop(METHOD, None)
    settings = plan.settings(method, drawn)
    trial.set_user_attr(SETTINGS, settings)
    return settings


def _distributions(plan: Plan) -> dict[str, BaseDistribution]:
    """Of a search: what the method and each key are drawn from."""
    methods = {METHOD: CategoricalDistribution(list(plan.file.methods))} if plan.file.methods else {}
    return {**methods, **{key: _distribution(key, values) for key, values in plan.file.keys.items()}}


def _distribution(key: str, values: list[Value] | Range) -> BaseDistribution:
    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if takes_whole_numbers(key) or (values.step is not None and values.is_whole):
        return IntDistribution(int(values.low), int(values.high), values.log, int(values.step or 1))
    return FloatDistribution(values.low, values.high, values.log, values.step)


def _suggest(trial: Trial, key: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            key, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, CategoricalDistribution)
    return trial.suggest_categorical(key, distribution.choices)


def _refuse_doubles(plan: Plan, study: Study, trial: Trial) -> None:
    """End a trial that another one is or was, or that the grid no longer has; the lower number goes first."""
    trials = {other.number: other for other in _trials(study)}
    own = trials.pop(trial.number)
    if plan.file.search == "tpe":
        begun = {
            identity(plan, other)
            for other in trials.values()
            if other.state != TrialState.PRUNED and other.number < own.number
        }
        if len(begun - {identity(plan, own)}) >= plan.trials:
            raise optuna.TrialPruned
        return
    if not is_planned(plan, own):
        raise optuna.TrialPruned
    for other in trials.values():
        if identity(plan, other) == identity(plan, own) and (
            other.state == TrialState.COMPLETE or (other.state == TrialState.RUNNING and other.number < trial.number)
        ):
            raise optuna.TrialPruned


def _put_up_failed(study: Study, plan: Plan) -> None:
    latest: dict[str, FrozenTrial] = {}
    settled = set()
    for trial in _trials(study):
        key = identity(plan, trial)
        latest[key] = trial
        if trial.state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING):
            settled.add(key)
    for key, trial in latest.items():
        if key not in settled:
            put_up_again(study, trial)


def _trials(study: Study) -> list[FrozenTrial]:
    """Those that know what they are; a trial just being made does not yet."""
    return [trial for trial in study.get_trials(deepcopy=False) if SETTINGS in trial.user_attrs]


def _wait_for_line_up(study: Study) -> None:
    until = time.monotonic() + _PATIENCE
    while not study.user_attrs.get(LINED_UP) and time.monotonic() < until:
        time.sleep(0.1)
