"""A run folder or an ``evaluate --output`` folder, read for tables, figures and the report."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from polyspan.analysis.paper import DataSet, Method, load_paper
from polyspan.analysis.run_files import (
    AnyObject,
    CalibrationFile,
    DataFile,
    LeakageFile,
    RecipeFile,
    ScoresFile,
    Step,
    TimingFile,
    check_shape,
    read_lines,
    read_object,
)
from polyspan.corpus.load import published_name
from polyspan.errors import PolyspanError
from polyspan.evaluation.matrix import RowScore, ScoreMatrix
from polyspan.evaluation.other_scores import other_score_lines
from polyspan.evaluation.record import EvaluationRecord
from polyspan.evaluation.rows import PREDICTIONS, prediction_lines, read_rows
from polyspan.files import read_text
from polyspan.models.load import CALIBRATION_FILE

METRICS = "metrics.jsonl"
SOURCE_LANGUAGE = "en"


class ReportError(PolyspanError):
    """Folders that no report can be made of; names the folder or file."""


class Found(NamedTuple):
    """An answer of a row: where it stands in the context, in Python string indices, and its probability."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Run:
    """What one folder holds; parts that are not there are None or empty.

    Attributes:
        folder: where it was read from.
        home: the run folder, where the recipe is; the same as folder unless the evaluated model lies in one.
        name: of the folder, unlike those of the other runs.
        rows: scores, in the order of ``predictions.jsonl``.
        answers: for each row its answers, best first.
        evaluation: what was asked.
        recipe: what the model was trained by, defaults written out; also found where the evaluated
            model lies in a run folder.
        history: one mapping a training step.
        data, leakage, calibration, environment, timing: the JSON files of these names.
        other_scores: those of ``scores.json`` beside the matrix.
    """

    folder: Path
    home: Path
    name: str
    rows: Sequence[RowScore] = field(repr=False)
    answers: Sequence[Sequence[Found]] = field(repr=False)
    evaluation: EvaluationRecord | None = None
    recipe: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    data: Mapping[str, Any] | None = None
    leakage: Any = None
    calibration: Any = None
    environment: Mapping[str, Any] | None = None
    timing: Mapping[str, Any] | None = None
    other_scores: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def matrix(self) -> ScoreMatrix:
        """Mean scores by pair of languages."""
        return ScoreMatrix.from_rows(self.rows)

    def data_label(self, parts: int = 2) -> str:
        """What a reader sees of the data set, such as ``mlqa/dev, en de zh, first 4 of each pair``.

        Args:
            parts: of its path that are shown, its last ones.
        """
        record = self.evaluation
        if record is None:
            return "unnamed data"
        said = [data_name(record.path, parts)]
        if record.languages:
            said.append(" ".join(sorted(record.languages)))
        if record.limit:
            said.append(f"first {record.limit} of each pair")
        return ", ".join(said)

    @property
    def published_data(self) -> DataSet | None:
        """Which data set of the paper this is, if it is one.

        MLQA only where all of the paper's pairs of languages were asked, or all of the diagonal, as its
        averages are over those; of XQuAD and TyDiQA-GoldP the paper's numbers are of single languages.
        """
        record = self.evaluation
        if record is None:
            return None
        if record.kind == "mlqa":
            return published_mlqa(record.path, self.matrix)
        if record.kind == "xquad" and published_name(record.path, "xquad"):
            return "xquad"
        return "tydiqa-goldp" if record.kind == "tydiqa" else None

    @property
    def is_cross_lingual(self) -> bool:
        """Whether questions and contexts of different languages were asked."""
        return any(question != context for question, context in self.matrix.cells)

    @property
    def method(self) -> Method | None:
        """Which of the paper's methods trained the model; None where that is not known."""
        if self.recipe is None:
            return "zero-shot" if self.evaluation and self.evaluation.model == "polyspan-qa-en" else None
        if self._is_phase_one:
            return "zero-shot"
        objective = self.recipe["objective"]
        if not objective["alpha_kl"]:
            return "ce"
        return "skd" if objective["coefficient"] == "constant" else "skd-map"

    @property
    def _is_phase_one(self) -> bool:
        """Trained on English alone: named so, or nothing drawn beside the source language (Eq. 3)."""
        assert self.recipe is not None
        data = self.recipe["data"]
        known = data.get("languages") or (self.data or {}).get("languages")
        return known == [SOURCE_LANGUAGE] or (data["sampling"] == "cross" and not data["target_languages"])

    @property
    def without_cross_entropy(self) -> bool:
        """Whether this is an ablation, alpha_ce = 0."""
        return self.recipe is not None and not self.recipe["objective"]["alpha_ce"]

    @property
    def seed(self) -> int | None:
        """The random seed; None where the training is not known."""
        return _seed(self.recipe)

    @property
    def target_languages(self) -> int | None:
        """The paper's ntl."""
        return None if self.recipe is None else int(self.recipe["data"]["target_languages"])

    @property
    def temperature(self) -> float | None:
        """T; None where nothing was distilled."""
        if self.recipe is None or not self.recipe["objective"]["alpha_kl"]:
            return None
        return float(self.recipe["objective"]["temperature"])

    @property
    def trained_languages(self) -> list[str]:
        """Languages that were trained on, English always; only what the folder tells."""
        return sorted({SOURCE_LANGUAGE, *self._told_languages})

    @property
    def knows_training(self) -> bool:
        """Whether the folder tells what was trained on, so that other languages are known to be unseen."""
        return self.method == "zero-shot" if self.recipe is None else bool(self._told_languages)

    @property
    def _told_languages(self) -> Sequence[str]:
        if self.recipe is None:
            return ()
        return self.recipe["data"].get("languages") or (self.data or {}).get("languages") or ()

    @property
    def examples(self) -> int | None:
        """Pairs that were trained on."""
        return None if self.data is None else self.data.get("pairs")


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read folders in the order given.

    Raises:
        ReportError: a folder is not there, was named twice, or has a broken file.
        ScoringError: its predictions are missing or have no scores.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, full in zip(folders, resolved, strict=True):
        if not folder.is_dir():
            raise ReportError(f"{folder}: no such folder; name run folders or what `polyspan evaluate --output` wrote")
        if resolved.count(full) > 1:
            raise ReportError(f"{folder}: named twice")
    return [_read(folder, name) for folder, name in zip(resolved, _names(resolved), strict=True)]


def data_name(path: str, parts: int = 2) -> str:
    """The last two parts of a path, enough to know a data set by and without anybody's home folder."""
    return "/".join(part for part in Path(path).parts[-parts:] if part != "/")


def told_apart(names: Sequence[str], longer: Callable[[int, int], str], most: int) -> list[str]:
    """Names, those that are alike with more of their paths.

    Args:
        names: as short as may be.
        longer: a name by its number, and by how many last parts of its path it is to show.
        most: parts that a path has.
    """
    found = list(names)
    for parts in range(2, most + 1):
        counts = Counter(found)
        found = [longer(at, parts) if counts[name] > 1 else name for at, name in enumerate(found)]
    return found


def without_paths(sentence: str) -> str:
    """The same with absolute paths cut to their last two parts; of paths with spaces those before a space."""
    return re.sub(r"(?<![\w/])/[^\s:;,]+", lambda found: data_name(found[0]), sentence)


def published_mlqa(path: str, matrix: ScoreMatrix) -> DataSet | None:
    """Which part of MLQA with averages in the paper this is; None where not all of their pairs were asked."""
    languages = load_paper().languages
    whole = set(product(languages, languages)), set(zip(languages, languages, strict=True))
    if matrix.cells.keys() not in whole:
        return None
    parts: dict[str, DataSet] = {"dev": "mlqa-dev", "test": "mlqa-test"}
    return parts.get(Path(path).name)


def without_homes(tree: Any) -> Any:
    """The same with absolute paths cut to their last two parts: nobody's home folder is published."""
    if isinstance(tree, Mapping):
        return {key: without_homes(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [without_homes(value) for value in tree]
    return data_name(tree) if isinstance(tree, str) and Path(tree).is_absolute() else tree


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def read_seed(folder: Path) -> int | None:
    """The random seed of the training whose model was evaluated in this folder; None where it is not known.

    Raises:
        ReportError: the recipe is broken.
    """
    return _seed(_recipe(_home(folder, EvaluationRecord.read(folder)) / "recipe.yaml"))


def _seed(recipe: Mapping[str, Any] | None) -> int | None:
    return None if recipe is None else recipe["seed"]


def _home(folder: Path, evaluation: EvaluationRecord | None) -> Path:
    if not (folder / "recipe.yaml").is_file() and evaluation is not None:
        model = Path(evaluation.model)
        if model.is_absolute() and model.name == "model" and (model.parent / "recipe.yaml").is_file():
            return model.parent  # the evaluated model lies in a run folder; what lies beside another is anyone's
    return folder


def _read(folder: Path, name: str) -> Run:
    evaluation = EvaluationRecord.read(folder)
    home = _home(folder, evaluation)
    return Run(
        folder,
        home,
        name,
        read_rows(folder),
        _answers(folder / PREDICTIONS),
        evaluation,
        _recipe(home / "recipe.yaml"),
        read_lines(home / METRICS, Step, ReportError),
        read_object(home / "data.json", DataFile, ReportError),
        read_object(folder / "leakage.json", LeakageFile, ReportError),
        _calibration(folder, home),
        read_object(home / "environment.json", AnyObject, ReportError),
        read_object(home / "timing.json", TimingFile, ReportError),
        _other_scores(folder / "scores.json"),
    )


def _calibration(folder: Path, home: Path) -> Any:
    """Of a folder that `polyspan calibrate` wrote, or of the run's model."""
    found = (read_object(place / CALIBRATION_FILE, CalibrationFile, ReportError) for place in (folder, home / "model"))
    return next(filter(None, found), None)


def _other_scores(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (read_object(path, ScoresFile, ReportError) or {}).get("other_scores", {})
    try:
        list(other_score_lines(found))
    except (KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"{path}: other_scores are not those of `polyspan evaluate` ({type(error).__name__}: {error})"
        ) from error
    return found


def _answers(path: Path) -> list[list[Found]]:
    found = []
    for number, line in enumerate(prediction_lines(path), start=1):
        try:
            answers = json.loads(line)["answers"]
            found.append([Found(int(a["start"]), int(a["end"]), float(a["score"])) for a in answers])
            if not all(isfinite(answer.score) for answer in found[-1]):
                raise ValueError("a score is no number")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ReportError(f"{path}: line {number} is not a prediction ({type(error).__name__}: {error})") from error
    return found


def _recipe(path: Path) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        tree = yaml.safe_load(read_text(path, ReportError))
    except yaml.YAMLError as error:
        raise ReportError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    recipe: Mapping[str, Any] = check_shape(tree, RecipeFile, str(path), ReportError)
    return recipe
