"""The study of a sweep in the storage of its workers: its trials, whether they are the file's, how they stand."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import TrialState

from polyspan.evaluation.matrix import ScoreMatrix
from polyspan.experiments.plan import METHOD, Plan, PlanError, Range, Value
from polyspan.experiments.recipe import Recipe, takes_whole_numbers
from polyspan.experiments.storage import study_name

if TYPE_CHECKING:
    from optuna.samplers import TPESampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SETTINGS, FOLDER, SCORES, ERROR = "settings", "folder", "scores", "error"
BASE, LINED_UP = "recipe", "lined up"
_PATIENCE = 30.0
"""Seconds that a worker gives the one that made the study to line the trials up."""


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
        known = {identity(plan, trial) for trial in known_trials(study) if trial.state != TrialState.PRUNED}
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
    if not _is_of(study, plan):
        raise PlanError(f"{plan.path}: {folder} holds a sweep of another recipe; give this one another folder")
    if plan.file.search == "tpe":
        _check_search(plan, study)
    return study


def _sampler() -> TPESampler:
    # constant_liar: trials that run elsewhere count as bad ones, so that workers do not crowd.
    return optuna.samplers.TPESampler(constant_liar=True)


def _base(plan: Plan) -> str:
    return json.dumps(plan.recipe.model_dump(mode="json", exclude={"run_dir"}), sort_keys=True)


def _is_of(study: Study, plan: Plan) -> bool:
    """Whether a study is of the plan's recipe, whatever keys were added or defaults written out since."""
    try:
        there = Recipe.model_validate({**json.loads(study.user_attrs.get(BASE, _base(plan))), "run_dir": "."})
    except (ValueError, TypeError):  # of a key that is gone
        return False
    return there == plan.recipe.model_copy(update={"run_dir": there.run_dir})


def _check_search(plan: Plan, study: Study) -> None:
    """A search learns from its trials, so that all of them must be made and judged as the file says."""
    for trial in known_trials(study):
        if changed := _changed(plan, trial):
            raise PlanError(
                f"{plan.path}: {changed}: trial {trial.number} of this search was made before this was changed;"
                " change it back, or give the search another folder"
            )


def _changed(plan: Plan, trial: FrozenTrial) -> str | None:
    """The part of the file that is not what it was when a trial of a search was made."""
    for key, distribution in distributions(plan).items():
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
    for trial in known_trials(study):
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


def distributions(plan: Plan) -> dict[str, BaseDistribution]:
    """Of a search: what the method and each key are drawn from."""
    methods = {METHOD: CategoricalDistribution(list(plan.file.methods))} if plan.file.methods else {}
    return {**methods, **{key: _distribution(key, values) for key, values in plan.file.keys.items()}}


def _distribution(key: str, values: list[Value] | Range) -> BaseDistribution:
    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if takes_whole_numbers(key) or (values.step is not None and values.is_whole):
        return IntDistribution(int(values.low), int(values.high), values.log, int(values.step or 1))
    return FloatDistribution(values.low, values.high, values.log, values.step)


def known_trials(study: Study) -> list[FrozenTrial]:
    """Those that know what they are; a trial just being made does not yet."""
    return [trial for trial in study.get_trials(deepcopy=False) if SETTINGS in trial.user_attrs]


def _wait_for_line_up(study: Study) -> None:
    until = time.monotonic() + _PATIENCE
    while not study.user_attrs.get(LINED_UP) and time.monotonic() < until:
        time.sleep(0.1)
