"""What a sweep has found so far: the table, the best recipe, and figures 5, 6, 10 and 11."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from statistics import fmean
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from polyspan.analysis.runs import Run
from polyspan.analysis.sweeps import comparable
from polyspan.analysis.table import Cell, Number, Row, Table, mark_best, to_markdown
from polyspan.evaluation.matrix import METRICS, Average, ScoreMatrix
from polyspan.experiments.plan import Plan, Settings, same
from polyspan.experiments.recipe import dump_recipe
from polyspan.experiments.scored_runs import draw_sweep_figures, scored_run
from polyspan.experiments.study import ERROR, FOLDER, SCORES, SETTINGS, Tally, identity, is_planned, score, tally
from polyspan.files import write_text

if TYPE_CHECKING:
    from optuna.study import Study

SEED = "seed"
AVERAGES: tuple[Average, ...] = ("gxlt", "xlt")


@dataclass(frozen=True)
class Done:
    """A finished trial."""

    number: int
    settings: Settings
    score: float
    matrix: ScoreMatrix
    folder: str
    seconds: float
    machine: str


@dataclass(frozen=True)
class Found:
    """Everything known of a sweep.

    Attributes:
        plan: the sweep.
        tally: how many trials stand where.
        done: finished trials, one for each settings.
        errors: of trials that went wrong and were not done later.
    """

    plan: Plan
    tally: Tally
    done: list[Done]
    errors: list[tuple[Settings, str]]

    def by_setting(self) -> list[tuple[Settings, list[Done]]]:
        """Trials that differ in the seed alone stand together; the best mean score first."""
        groups: defaultdict[str, list[Done]] = defaultdict(list)
        for trial in self.done:
            groups[same(_without_seed(trial.settings))].append(trial)
        ordered = sorted(groups.values(), key=lambda trials: -fmean(trial.score for trial in trials))
        return [(_without_seed(trials[0].settings), trials) for trials in ordered]


def read_sweep(study: Study, plan: Plan) -> Found:
    """Read a study, whether it is finished or not; scores are by the average that the file names now.

    Raises:
        PlanError: a trial has no pair of languages for that average.
    """
    done: dict[str, Done] = {}
    errors: dict[str, tuple[Settings, str]] = {}
    for trial in study.get_trials(deepcopy=False):
        attributes = trial.user_attrs
        if SETTINGS not in attributes or not is_planned(plan, trial):
            continue
        key = identity(plan, trial)
        if trial.state == TrialState.COMPLETE:
            matrix = ScoreMatrix.from_dict(attributes[SCORES])
            done[key] = Done(
                trial.number,
                attributes[SETTINGS],
                score(plan, matrix),
                matrix,
                attributes[FOLDER],
                attributes["seconds"],
                attributes["machine"],
            )
        elif trial.state == TrialState.FAIL and ERROR in attributes:
            errors[key] = attributes[SETTINGS], attributes[ERROR]
    return Found(plan, tally(study, plan), list(done.values()), [e for k, e in errors.items() if k not in done])


def sweep_table(found: Found) -> Table:
    """One row for each setting, the best by the chosen average first."""
    keys = [key for key in found.plan.varied if key != SEED]
    rows: list[Row] = []
    for settings, trials in found.by_setting():
        cells: list[Cell] = [_shown(settings.get(key)) for key in keys]
        cells.append(len(trials))
        for average in AVERAGES:
            for metric in METRICS:
                values = [v for t in trials if (v := t.matrix.average(average, metric)) is not None]
                low, high = (100 * min(values), 100 * max(values)) if len(values) > 1 else (None, None)
                cells.append(Number(100 * fmean(values), low, high) if values else None)
        cells.append(f"{fmean(trial.seconds for trial in trials) / 60:.1f}")
        rows.append(Row(cells))
    now = found.tally
    notes = [
        f"{now.done} of {now.planned} trials are done, {now.running} run, {now.waiting} wait, {now.failed} failed.",
        "Where a setting has several seeds: their mean, and in brackets the lowest and the highest.",
    ]
    return Table(
        "sweep",
        f"Sweep {found.plan.file.folder.as_posix()}, chosen by {found.plan.file.select} F1",
        [*(key.rpartition(".")[2] for key in keys), "seeds", "G-XLT F1", "G-XLT EM", "XLT F1", "XLT EM", "minutes"],
        mark_best(rows),
        notes,
        labels=len(keys),
    )


def write_sweep(found: Found) -> list[Path]:
    """Write table, data, figures and the best recipe into the sweep's folder; all can be made while it runs."""
    folder = found.plan.file.folder
    written = [folder / "sweep.md", folder / "sweep.json"]
    write_text(written[0], to_markdown(sweep_table(found)))
    write_text(written[1], json.dumps(to_dict(found), indent=1, ensure_ascii=False) + "\n")
    if found.done:
        best = folder / "best.yaml"
        write_text(best, _best_recipe(found, best))
        written += [best, *draw_sweep_figures(drawn_trials(found), folder / "figures", folder.name)]
    return written


def to_dict(found: Found) -> dict[str, Any]:
    """Ready for JSON; scores in percent."""
    return {
        "folder": found.plan.file.folder.as_posix(),
        "select": found.plan.file.select,
        "trials": {
            "planned": found.tally.planned,
            "done": found.tally.done,
            "running": found.tally.running,
            "waiting": found.tally.waiting,
            "failed": found.tally.failed,
        },
        "settings": [
            {
                "settings": settings,
                "score": fmean(trial.score for trial in trials),
                "trials": [
                    {
                        "number": trial.number,
                        "settings": trial.settings,
                        "score": trial.score,
                        "averages": trial.matrix.to_dict()["averages"],
                        "folder": trial.folder,
                        "seconds": trial.seconds,
                        "machine": trial.machine,
                    }
                    for trial in trials
                ],
            }
            for settings, trials in found.by_setting()
        ],
        "errors": [{"settings": settings, "error": error} for settings, error in found.errors],
    }


def _best_recipe(found: Found, path: Path) -> str:
    """The recipe of the setting with the best mean, in the seed that was run first; what it is stands above it."""
    ordered = found.by_setting()
    trials = ordered[0][1]
    score = f"{fmean(trial.score for trial in trials):.2f}"
    if len(trials) > 1:
        score += f", the mean of {len(trials)} runs; this is the first of them, with {trials[0].score:.2f}"
    now = found.tally
    so_far = "" if now.finished else " so far"
    settings = f"{len(ordered)} settings" if len(ordered) > 1 else "one setting"
    lines = [
        f"polyspan train {quote(path.as_posix())}",
        f"The best of {settings}{so_far} by {found.plan.file.select} F1: {score}",
        f"{now.done} of {now.planned} trials are done. Where run_dir holds its model, it is not trained again.",
    ]
    recipe = found.plan.trial_recipe(trials[0].settings)
    return "".join(f"# {line}\n" for line in lines) + dump_recipe(recipe)


def drawn_trials(found: Found) -> list[Run]:
    """What figures are drawn of: trials that differ from the best one in what figures show alone."""
    trials = [(trial, found.plan.trial_recipe(trial.settings)) for _, group in found.by_setting() for trial in group]
    runs = [scored_run(Path(t.folder), recipe.model_dump(mode="json"), t.matrix) for t, recipe in trials]
    return comparable(runs, best_first=True)


def _without_seed(settings: Settings) -> Settings:
    return {key: value for key, value in settings.items() if key != SEED}


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
