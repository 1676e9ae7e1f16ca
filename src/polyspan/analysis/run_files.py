"""The JSON files of a run folder, checked for what tables and pages show of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from polyspan.errors import PolyspanError, first_problem
from polyspan.files import read_text


class _Shape(BaseModel):
    """Keys that must be there, and what they hold; others may stand beside them."""

    model_config = ConfigDict(strict=True)


class AnyObject(_Shape):
    """An object of whatever keys."""


class _Data(_Shape):
    path: str
    sampling: str
    target_languages: int
    languages: list[str] | None = None


class _Objective(_Shape):
    alpha_ce: float
    alpha_kl: float
    temperature: float
    coefficient: str
    k: int
    delta: int


class _Training(_Shape):
    epochs: float
    learning_rate: float


class RecipeFile(_Shape):
    """``recipe.yaml``."""

    seed: int
    model: str
    data: _Data
    objective: _Objective
    training: _Training


class DataFile(_Shape):
    """``data.json``."""

    seeds: int
    pairs: int
    languages: list[str]
    windows: int | None = None
    mean_tokens: float | None = None


class TimingFile(_Shape):
    """``timing.json``."""

    training_seconds: float


class Step(_Shape):
    """A line of ``metrics.jsonl``; a training that diverged has losses that are no numbers."""

    step: int
    epoch: float
    loss: float
    ce: float
    kl: float
    coefficient: float


class _Compared(_Shape):
    test: str
    train: str
    questions: int
    test_passages: int
    ids: int | None = None
    passages: int | None = None
    near_passages: int | None = None
    parallel_questions: int | None = None


class _NotCompared(_Shape):
    model: str
    why: str


class LeakageFile(_Shape):
    """``leakage.json``."""

    compared: list[_Compared]
    not_compared: list[_NotCompared] = []
    by_name: list[str] = []
    origins: list[str] = []


class ScoresFile(_Shape):
    """``scores.json``, of which the scores beside the matrix are read."""

    other_scores: dict[str, dict[str, Any]] = {}


class _Threshold(_Shape):
    precision: float
    score: float
    coverage: float


class _Bin(_Shape):
    rows: int
    confidence: float
    accuracy: float


class _Side(_Shape):
    rows: int
    ece: float
    ece_floor: float
    brier: float
    bins: list[_Bin]


class _Sides(_Shape):
    before: _Side
    after: _Side


class _Curve(_Shape):
    coverage: list[float]
    risk: list[float]
    area: float


class _Curves(_Shape):
    before: _Curve
    after: _Curve


class _Measured(_Shape):
    precision: float
    precision_measured: float | None
    coverage_measured: float


class _Measurement(_Shape):
    data: str
    no_answer_share: float
    answers: _Sides
    answerable: _Sides | None = None
    no_answer: _Sides | None = None
    risk_coverage: _Curves
    thresholds: list[_Measured] = []


class CalibrationFile(_Shape):
    """``calibration.json``, of a model's folder or of ``polyspan calibrate --output``."""

    rows: int
    data: str
    temperature: float
    thresholds: list[_Threshold] = []
    measured: _Measurement | None = None


def read_object(path: Path, shape: type[_Shape], error: type[PolyspanError]) -> Any:
    """What a file holds, as it stands there; None where there is no such file.

    Args:
        path: the file.
        shape: what must be in it.
        error: raised when it cannot be read or something in it is missing or of another kind.
    """
    if not path.is_file():
        return None
    return _checked(read_text(path, error), shape, str(path), error)


def read_lines(path: Path, shape: type[_Shape], error: type[PolyspanError]) -> list[Any]:
    """What a file of one object a line holds; empty where there is no such file.

    Args and errors as in `read_object`; the line is named.
    """
    if not path.is_file():
        return []
    lines = enumerate(read_text(path, error).splitlines(), start=1)
    return [_checked(line, shape, f"{path}: line {number}", error) for number, line in lines]


def _checked(text: str, shape: type[_Shape], place: str, error: type[PolyspanError]) -> Any:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise error(f"{place}: cannot be read ({problem})") from problem
    return check_shape(tree, shape, place, error)


def check_shape(tree: Any, shape: type[_Shape], place: str, error: type[PolyspanError]) -> Any:
    """What was read, unchanged.

    Args:
        tree: out of JSON or YAML.
        shape: what must be in it.
        place: the file, and the line where there are several.
        error: raised when something in it is missing or of another kind.
    """
    try:
        shape.model_validate(tree)
    except ValidationError as problem:
        raise error(f"{place}: {first_problem(problem)}") from problem
    return tree
