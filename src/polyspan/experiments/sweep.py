"""One worker of a sweep: take a trial that nobody has, run it, report its score, until all are done."""

from __future__ import annotations

import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from polyspan.analysis.run_files import TimingFile, read_object
from polyspan.errors import PolyspanError, one_line
from polyspan.evaluation.record import EvaluationRecord
from polyspan.experiments.leakage import check_policy
from polyspan.experiments.plan import METHOD, Plan, PlanError, Settings
from polyspan.experiments.run import RunStopped, run_recipe
from polyspan.experiments.storage import no_warning, put_up_again
from polyspan.experiments.study import (
    ERROR,
    FOLDER,
    SCORES,
    SETTINGS,
    Tally,
    distributions,
    identity,
    is_planned,
    known_trials,
    score,
    tally,
)

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial
    from rich.console import Console


HEARTBEAT = 60


def _seconds(run: Path, spent: float) -> float:
    """What a trial took, however often it was stopped: its training and its evaluation; ``spent`` if no file tells."""
    timing, record = read_object(run / "timing.json", TimingFile, PlanError), EvaluationRecord.read(run)
    if timing is None:
        return round(spent, 1)
    return round(float(timing["training_seconds"]) + (record.seconds if record else 0.0), 1)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; no library takes it for an error of its own."""


class _Failed(Exception):
    """A trial went wrong; what happened is noted in it and the worker goes on."""


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
                result = run_recipe(recipe, console, leakage)
        except RunStopped:
            raise
        except Exception as error:  # one trial out of memory must not end a sweep of a week
            trial.set_user_attr(ERROR, f"{type(error).__name__}: {one_line(error, 500)}")
            console.print(f"trial {trial.number} failed: {error}", markup=False, soft_wrap=True)
            raise _Failed from error
        assert result.matrix is not None  # a plan has an evaluation
        for name, value in {
            SCORES: result.matrix.to_dict(),
            "seconds": _seconds(recipe.run_dir, time.monotonic() - began),
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


def _settings(plan: Plan, trial: Trial) -> Settings:
    if plan.file.search == "grid":
        found: Settings | None = trial.user_attrs.get(SETTINGS)
        if found is None:  # another worker took the last one
            raise optuna.TrialPruned
        return found
    drawn = {key: _suggest(trial, key, distribution) for key, distribution in distributions(plan).items()}
    method = drawn.pop(METHOD, None)
    settings = plan.settings(method, drawn)
    trial.set_user_attr(SETTINGS, settings)
    return settings


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
    trials = {other.number: other for other in known_trials(study)}
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
    for trial in known_trials(study):
        key = identity(plan, trial)
        latest[key] = trial
        if trial.state in (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING):
            settled.add(key)
    for key, trial in latest.items():
        if key not in settled:
            put_up_again(study, trial)
