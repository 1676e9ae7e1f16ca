"""The paper's rows with one command: run what is missing, then lay the numbers side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from polyspan.errors import PolyspanError, one_line
from polyspan.evaluation.record import full_path
from polyspan.experiments.evaluate import evaluate_model, is_evaluated, refuse_other_evaluation
from polyspan.experiments.leakage import check_evaluation, check_policy
from polyspan.experiments.recipe import RECIPE_FILE, Evaluation, Recipe, RecipeError, load_recipe, split_setting
from polyspan.experiments.run import RunStopped, run_recipe
from polyspan.experiments.shipped import shipped_recipes

if TYPE_CHECKING:
    from rich.console import Console

    from polyspan.analysis.paper import Method

Group = Literal["paper", "small"]
ZERO_SHOT = "zero-shot"
ORDER = ("phase1", "ce", "skd", "skd-first-hit", "skd-eq5", "skd-ap", "skd-no-ce", "skd-first-hit-no-ce")
OPTIONS = {"seed": "--seeds", "run_dir": "--folder"}
"""Keys of a recipe that this command sets by itself, and by what."""
DATA_FOLDER = "data/"
"""What the paths of the shipped recipes begin with."""


class ReproduceError(PolyspanError):
    """Rows that are not there, or settings that do not fit."""


@dataclass(frozen=True)
class Step:
    """One run, or one evaluation of a model that is there already.

    Attributes:
        row: name of the row it belongs to.
        recipe: what is run; None for an evaluation alone.
        evaluation: what is asked.
        model: what is evaluated; None where the recipe makes it.
        folder: where all of it goes.
    """

    row: str
    recipe: Recipe | None
    evaluation: Evaluation
    model: str | None
    folder: Path

    @property
    def done(self) -> bool:
        """Whether the folder holds all of it, made by the same recipe."""
        if not is_evaluated(self.folder, self.model, self.evaluation):
            return False
        if self.recipe is None:
            return True
        try:
            there = load_recipe(self.folder / RECIPE_FILE)
        except RecipeError:  # gone or damaged
            return False
        return there.model_copy(update={"run_dir": self.recipe.run_dir}) == self.recipe


def row_names(group: Group) -> list[str]:
    """Rows that a group of recipes has, in the order of the paper; the first is the zero-shot reader."""
    have = [name for name in ORDER if f"{group}/{name}" in shipped_recipes()]
    return [ZERO_SHOT, *(name for name in have if name != "phase1")]


def paper_method(row: str) -> tuple[Method, bool] | None:
    """The paper's method of a row and whether it is an ablation without cross-entropy; None if it has none."""
    bare = row.removesuffix("-no-ce")
    known: dict[str, Method] = {
        ZERO_SHOT: "zero-shot",
        "ce": "ce",
        "skd": "skd",
        "skd-first-hit": "skd-map",
        "skd-eq5": "skd-map",
    }
    return (known[bare], bare != row) if bare in known else None


def plan_steps(
    group: str,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] = (1,),
    settings: Sequence[str] = (),
    folder: Path | None = None,
    data: Path | None = None,
) -> list[Step]:
    """What must be there for these rows, in the order in which it is made.

    Args:
        group: "paper" or "small".
        rows: names of `row_names`; all when None. Phase 1 is planned where a row starts from it.
        seeds: each row is run with each; phase 1 with its own alone.
        settings: ``key=value`` for every recipe; phase 1 takes those of its evaluation alone.
        folder: of all runs; where the recipes say when None.
        data: where the data sets lie, instead of ``data``.

    Raises:
        ReproduceError: an unknown group or row, or a setting that the command itself makes.
        RecipeError: a setting that is not right.
    """
    if group not in get_args(Group):
        raise ReproduceError(f"{group}: there are {' and '.join(get_args(Group))}")
    known = row_names(group)  # type: ignore[arg-type]
    chosen = list(rows) if rows is not None else known
    if unknown := [row for row in chosen if row not in known]:
        raise ReproduceError(f"--rows {unknown[0]}: the rows of {group} are {', '.join(known)}")
    for setting in settings:
        if (key := split_setting(setting)[0]) in OPTIONS:
            raise ReproduceError(f"--set {key}: every row has its own; use {OPTIONS[key]}")
    files = shipped_recipes()
    place = _placer(group, folder, data)
    phase1 = place(load_recipe(files[f"{group}/phase1"], [s for s in settings if s.startswith("evaluation")]), "phase1")
    trained = {
        (row, seed): place(load_recipe(files[f"{group}/{row}"], [*settings, f"seed={seed}"]), _named(row, seed))
        for row in known
        if row != ZERO_SHOT
        for seed in seeds
    }
    start = next(iter(trained.values()))
    assert phase1.evaluation is not None
    assert start.evaluation is not None
    from_phase1 = start.model == str(phase1.run_dir / "model")
    if from_phase1:
        first = Step(ZERO_SHOT, phase1, phase1.evaluation, None, phase1.run_dir)
    else:
        first = Step(ZERO_SHOT, None, start.evaluation, start.model, start.run_dir.parent / ZERO_SHOT)
    steps = [first] if ZERO_SHOT in chosen or from_phase1 else []
    for (row, _), recipe in trained.items():
        if row in chosen:
            assert recipe.evaluation is not None
            steps.append(Step(row, recipe, recipe.evaluation, None, recipe.run_dir))
    return steps


def run_steps(steps: Sequence[Step], console: Console, leakage: str = "warn") -> dict[Path, str]:
    """Make what is not there; a stopped run goes on, a finished one is passed over.

    Returns:
        What went wrong, by folder; the other steps were made all the same.

    Raises:
        LeakageError: an unknown policy.
        RunStopped: Ctrl-C or SIGTERM came; the same command goes on.
    """
    check_policy(leakage)
    failed = {}
    for number, step in enumerate(steps, start=1):
        try:
            if step.done:
                console.print(f"{number}/{len(steps)} {step.folder}: is there", markup=False, soft_wrap=True)
                continue
            console.print(f"{number}/{len(steps)} {step.folder}", style="bold", markup=False, soft_wrap=True)
            if step.recipe is not None:
                run_recipe(step.recipe, console, leakage)
            else:
                _evaluate(step, console, leakage)
        except RunStopped:
            raise
        except Exception as error:  # one row out of memory must not end a reproduction of a week
            failed[step.folder] = f"{type(error).__name__}: {one_line(error, 500)}"
            console.print(f"{step.folder} failed: {error}", markup=False, soft_wrap=True)
    return failed


def _evaluate(step: Step, console: Console, leakage: str) -> None:
    from polyspan.models import load_model

    assert step.model is not None
    refuse_other_evaluation(step.folder, step.model, step.evaluation)
    loaded = load_model(step.model)
    check_evaluation(step.model, step.evaluation, step.folder, leakage, console)
    evaluate_model(loaded.model, loaded.tokenizer, step.evaluation, step.folder, console, full_path(step.model))


def _named(row: str, seed: int) -> str:
    return row if seed == 1 else f"{row}-seed{seed}"


def _placer(group: str, folder: Path | None, data: Path | None) -> Callable[[Recipe, str], Recipe]:
    home = folder if folder is not None else Path("runs") / group
    old = str(Path("runs") / group / "phase1" / "model")

    def moved(path: str) -> str:
        return str(data / path.removeprefix(DATA_FOLDER)) if data is not None and path.startswith(DATA_FOLDER) else path

    def place(recipe: Recipe, name: str) -> Recipe:
        assert recipe.evaluation is not None
        return recipe.model_copy(
            update={
                "run_dir": home / name,
                "model": str(home / "phase1" / "model") if recipe.model == old else recipe.model,
                "data": recipe.data.model_copy(update={"path": moved(recipe.data.path)}),
                "evaluation": recipe.evaluation.model_copy(update={"path": moved(recipe.evaluation.path)}),
            }
        )

    return place
