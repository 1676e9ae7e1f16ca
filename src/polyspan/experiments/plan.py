"""A sweep file: which keys of a recipe are varied, over which values, and which trials that makes."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from polyspan.errors import PolyspanError, first_problem
from polyspan.evaluation.matrix import Average
from polyspan.experiments.keys import dotted
from polyspan.experiments.recipe import Recipe, at_home, load_recipe, split_setting, takes_whole_numbers
from polyspan.experiments.shipped import shipped_recipes
from polyspan.experiments.yaml_file import read_mapping

METHOD = "method"
Value = bool | int | float | str | None
Settings = dict[str, JsonValue]
"""Of one trial: the name of its method and the values of the varied keys, those that its method sets included."""


class PlanError(PolyspanError):
    """A sweep that cannot be read or carried out; names the file and the key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Section):
    """Values between two ends, both included."""

    low: float
    """The lowest."""
    high: float
    """The highest."""
    log: bool = False
    """Draw its logarithm evenly."""
    step: float | None = Field(None, gt=0)
    """Only low, low + step, ..., all whole where these two are."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low < self.high or (self.log and (self.low <= 0 or self.step is not None)):
            raise ValueError("low must be below high; with log, above 0 and without step")
        return self

    @property
    def is_whole(self) -> bool:
        """Whether both ends and the step are whole numbers."""
        return all(number.is_integer() for number in (self.low, self.high, self.step or 1.0))


class SweepFile(_Section):
    """What stands in the file."""

    recipe: str
    """What is varied: a file, also beside this one, or a shipped name."""
    folder: Annotated[Path, BeforeValidator(at_home)]
    """Where the trials' run folders, the table and the figures go."""
    search: Literal["grid", "tpe"] = "grid"
    """grid: every combination; tpe: Optuna's search by what is known so far."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """For tpe: how many, of all workers together."""
    select: Average = "gxlt"
    """Trials are judged by the F1 of this average on the recipe's own evaluation."""
    methods: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Names for keys that go together, dotted or as sections; a method's keys win over those of the grid."""
    keys: dict[str, list[Value] | Range]
    """Keys such as data.target_languages with their values; ranges for tpe alone."""

    @field_validator("methods")
    @classmethod
    def _dotted(cls, methods: dict[str, dict[str, JsonValue]]) -> dict[str, dict[str, JsonValue]]:
        return {name: dotted(keys) for name, keys in methods.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ranges = [key for key, values in self.keys.items() if isinstance(values, Range)]
        if self.search == "grid" and self.trials is not None:
            raise ValueError("trials: a grid has as many as it has; leave it out")
        if self.search == "grid" and ranges:
            raise ValueError(f"keys.{ranges[0]}: a range is for search: tpe; a grid needs a list of values")
        if self.search == "tpe" and self.trials is None:
            raise ValueError("trials: say how many the search may make")
        if empty := [key for key, values in self.keys.items() if values == []]:
            raise ValueError(f"keys.{empty[0]}: no values")
        if "run_dir" in self.keys or METHOD in self.keys:
            raise ValueError("keys: run_dir and method cannot be varied here; every trial has its own folder")
        for key, values in self.keys.items():
            if isinstance(values, Range) and takes_whole_numbers(key) and not values.is_whole:
                raise ValueError(f"keys.{key}: low, high and step must be whole numbers, as the key is one")
        return self


@dataclass(frozen=True)
class Plan:
    """A sweep, checked: every trial of a grid is a recipe that loads.

    Attributes:
        file: what was read.
        path: of the sweep file.
        recipe: what is varied.
        recipe_path: its file.
        overrides: settings of the command line, for every trial.
    """

    file: SweepFile
    path: Path
    recipe: Recipe
    recipe_path: Path
    overrides: tuple[str, ...] = ()

    @property
    def varied(self) -> list[str]:
        """Names of what differs between trials."""
        return [*([METHOD] if self.file.methods else []), *self.file.keys]

    @property
    def trials(self) -> int:
        """How many there are in the end."""
        return self.file.trials or len(self.named_grid)

    def grid(self) -> list[Settings]:
        """Every combination once, in the order of the file; those that a method makes equal are one."""
        lists = [values for values in self.file.keys.values() if isinstance(values, list)]
        found: dict[str, Settings] = {}
        for method in self.file.methods or [None]:
            for values in product(*lists):
                settings = self.settings(method, dict(zip(self.file.keys, values, strict=True)))
                found.setdefault(same(settings), settings)
        return list(found.values())

    @cached_property
    def named_grid(self) -> dict[str, Settings]:
        """The trials of a grid by their names.

        Raises:
            RecipeError: a key is unknown or a value out of range.
        """
        return {self.trial_name(settings): settings for settings in self.grid()}

    def settings(self, method: str | None, keys: Settings) -> Settings:
        """Of a trial: where its method sets a varied key, that value."""
        fixed = self.file.methods[method] if method is not None else {}
        named: Settings = {METHOD: method} if method is not None else {}
        return {**named, **{key: fixed.get(key, value) for key, value in keys.items()}}

    def trial_name(self, settings: Settings) -> str:
        """Of a trial and its run folder; a trial of another recipe has another name."""
        return self.trial_recipe(settings).run_dir.name

    def trial_recipe(self, settings: Settings) -> Recipe:
        """The whole recipe of a trial, in a run folder named after what it is.

        Raises:
            PlanError: its method takes the evaluation away.
            RecipeError: a key is unknown or a value out of range.
        """
        method = settings.get(METHOD)
        together = {key: value for key, value in settings.items() if key != METHOD}
        if isinstance(method, str):
            together |= self.file.methods[method]
        given = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in together.items()]
        recipe = load_recipe(self.recipe_path, [*self.overrides, *given])
        if recipe.evaluation is None:
            raise PlanError(f"{self.path}: methods.{method}: takes the evaluation away, by which trials are judged")
        folder = self.file.folder / "trials" / f"{_readable(settings)}-{recipe_digest(recipe)[:8]}"
        return recipe.model_copy(update={"run_dir": folder})


def is_plan(path: Path) -> bool:
    """Whether a YAML file is a sweep rather than a recipe; a broken one is neither."""
    try:
        return "recipe" in read_mapping(path, "sweep", PlanError)
    except PlanError:
        return False


def load_plan(path: Path, overrides: list[str] | None = None, folder: Path | None = None) -> Plan:
    """Read a sweep file and check all that can be checked before anything is trained.

    Args:
        path: of the sweep file.
        overrides: ``key=value`` for the recipe of every trial.
        folder: instead of the file's.

    Raises:
        PlanError: the sweep is not right.
        RecipeError: the recipe of it, or of a trial, is not.
    """
    if any(split_setting(setting)[0] == "run_dir" for setting in overrides or ()):
        raise PlanError("--set run_dir: trials have folders of their own; use --folder")
    tree = read_mapping(path, "sweep", PlanError)
    if "run_dir" in tree and "recipe" not in tree:
        raise PlanError(f"{path}: this is a recipe, not a sweep; run it with: polyspan train {path}")
    try:
        file = SweepFile.model_validate(tree)
    except ValidationError as error:
        raise PlanError(f"{path}: {first_problem(error)}") from error
    if folder is not None:
        file = file.model_copy(update={"folder": folder})
    recipe_path = _find_recipe(path, file.recipe)
    plan = Plan(file, path, load_recipe(recipe_path, overrides), recipe_path, tuple(overrides or ()))
    if plan.recipe.evaluation is None:
        raise PlanError(f"{path}: {file.recipe} has no evaluation section, so its trials could not be judged")
    for settings in plan.grid() if file.search == "grid" else _corners(plan):
        plan.trial_recipe(settings)
    return plan


def recipe_digest(recipe: Recipe) -> str:
    """The same for the same recipe, wherever it is run; a key that a later version adds changes nothing."""
    tree = recipe.model_dump(mode="json", exclude={"run_dir"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def same(settings: Settings) -> str:
    """A name of what is set, whatever the order."""
    return json.dumps(settings, sort_keys=True, ensure_ascii=False)


def _find_recipe(path: Path, name: str) -> Path:
    for candidate in (path.parent / name, Path(name)):
        if candidate.is_file():
            return candidate
    found = shipped_recipes()
    if name not in found:
        raise PlanError(f"{path}: recipe: {name!r} is neither a file nor one of {', '.join(found)}")
    return found[name]


def _corners(plan: Plan) -> list[Settings]:
    """Each value of a list and both ends of each range, in few trials."""
    lists = {
        key: values if isinstance(values, list) else [_whole(values.low), _whole(values.high)]
        for key, values in plan.file.keys.items()
    }
    longest = max([len(plan.file.methods), *map(len, lists.values())], default=0)
    methods: list[str | None] = [*plan.file.methods] or [None]
    return [
        plan.settings(methods[at % len(methods)], {key: values[at % len(values)] for key, values in lists.items()})
        for at in range(longest)
    ]


def _whole(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def _readable(settings: Settings) -> str:
    parts = []
    for key, value in settings.items():
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        parts.append(shown if key == METHOD else f"{key.rpartition('.')[2]}-{shown}")
    return re.sub(r"[^\w.+-]+", "-", "_".join(parts))[:80]
