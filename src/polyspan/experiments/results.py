"""Small files of results: one JSON a run, and the scores of its questions packed beside it.

Run folders are large and stay where they are; these files are what a repository keeps. From them
`results_tables` makes every table again, intervals included.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from polyspan.analysis.cells import file_name, system_name
from polyspan.analysis.runs import Run, read_runs, without_homes
from polyspan.analysis.study import system_key
from polyspan.errors import PolyspanError
from polyspan.evaluation.compare import score_intervals
from polyspan.evaluation.matrix import METRICS, RowScore, ScoreMatrix
from polyspan.evaluation.rows import PREDICTIONS, Method
from polyspan.files import read_text, write_aside, write_text

ROWS = "rows"
COLUMNS = ["id", "question_language", "context_language", "f1", "em"]
BEGIN, END = "<!-- results -->", "<!-- /results -->"
PARTS = 10
"""Of a training, for the course of the coefficient."""


class ResultsError(PolyspanError):
    """Results that cannot be collected or read; names the file or folder."""


@dataclass(frozen=True)
class Scores:
    """One evaluation of a model.

    Attributes:
        data: what was asked, such as ``mlqa/dev``.
        matrix: means by pair of languages.
        intervals: by average and metric, low and high in percent; empty for a single question.
        rows: file of the questions' own scores; None where it was not kept.
    """

    data: str
    matrix: ScoreMatrix
    intervals: Mapping[str, Mapping[str, Sequence[float]]]
    rows: Path | None

    def read_rows(self) -> list[RowScore]:
        """The scores of each question.

        Raises:
            ResultsError: the file is missing or broken.
        """
        assert self.rows is not None
        try:
            with gzip.open(self.rows, "rt", encoding="utf-8", newline="") as file:
                return [
                    RowScore(
                        row["id"], row["question_language"], row["context_language"], float(row["f1"]), int(row["em"])
                    )
                    for row in csv.DictReader(file)
                ]
        except (OSError, EOFError, KeyError, TypeError, ValueError, csv.Error, zlib.error) as error:
            raise ResultsError(f"{self.rows}: cannot be read ({error}); collect the runs again") from error


@dataclass(frozen=True)
class Result:
    """A run: what it was and every evaluation of its model, the run's own first."""

    name: str
    method: str
    seed: int | None
    target_languages: int | None
    temperature: float | None
    recipe: Mapping[str, Any] | None
    scores: Sequence[Scores]
    counts: Mapping[str, Any]
    timings: Mapping[str, float]
    coefficient: Sequence[float]


def method_name(run: Run) -> str:
    """``zero-shot``, ``ce``, ``skd``, or ``skd-`` and the coefficient; ``-no-ce`` where alpha_ce is 0.

    A model whose training is not known has its own name.
    """
    if run.method in (None, "zero-shot", "ce"):
        return run.method or system_name(run)
    assert run.recipe is not None
    coefficient = run.recipe["objective"]["coefficient"]
    name = "skd" if coefficient == "constant" else f"skd-{coefficient}"
    return f"{name}-no-ce" if run.without_cross_entropy else name


def find_evaluated(folders: Sequence[Path]) -> list[Path]:
    """These folders and those below them that hold predictions, a run's own before those below it.

    Raises:
        ResultsError: a folder holds none.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        places = (path.parent for path in folder.rglob(PREDICTIONS))
        # A folder with a dot is what an evaluation that was killed left behind.
        whole = (place for place in places if not any(part.startswith(".") for part in place.relative_to(folder).parts))
        here = sorted(whole, key=lambda path: (len(path.parts), path))
        if not here:
            raise ResultsError(f"{folder}: neither it nor a folder below holds {PREDICTIONS}; is the run finished?")
        found |= dict.fromkeys(here)
    return list(found)


def collect(folders: Sequence[Path], output: Path) -> list[Path]:
    """Write one small file for each model that was evaluated in these folders or below them.

    Args:
        folders: run folders, what ``polyspan evaluate --output`` wrote, or folders of such folders.
        output: gets ``NAME.json``, and ``rows/NAME.DATA.csv.gz`` with the scores of every question;
            files of the same names are replaced. NAME is the run folder's. Of two evaluations of a
            model on the same data the first counts.

    Returns:
        The JSON files.

    Raises:
        ResultsError: nothing is there, or two runs, or two data sets of a run, have one name.
    """
    systems: dict[str, list[Run]] = {}
    for run in read_runs(find_evaluated(folders)):
        systems.setdefault(system_key(run), []).append(run)
    names = {key: file_name(system_name(runs[0])) for key, runs in systems.items()}
    if twice := [name for name, number in Counter(names.values()).items() if number > 1]:
        where = " and ".join(str(runs[0].folder) for key, runs in systems.items() if names[key] == twice[0])
        raise ResultsError(f"{where}: two runs are called {twice[0]!r}; rename one's run_dir or collect them apart")
    return [_write(names[key], runs, output) for key, runs in systems.items()]


def read_results(folder: Path) -> list[Result]:
    """Every result of a folder, in the order of their names.

    Raises:
        ResultsError: there is none, or a file is broken.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ResultsError(f"{folder}: holds no results; `polyspan results collect RUN --output {folder}` writes them")
    return [_read(path) for path in paths]


def _write(name: str, runs: Sequence[Run], output: Path) -> Path:
    # The run's own evaluation is what it was chosen by; others were made of its model later.
    ordered = sorted(runs, key=lambda run: not (run.folder / "recipe.yaml").is_file())
    by_data: dict[str, Run] = {}
    for run in ordered:
        same = by_data.setdefault(run.data_label(), run)
        if _asked(run) != _asked(same):
            raise ResultsError(
                f"{same.folder} and {run.folder}: were asked two data sets that are both called {run.data_label()!r};"
                " collect them apart"
            )
    first, *others = by_data.values()
    tree = {
        "name": name,
        "method": method_name(first),
        "seed": None if first.recipe is None else first.recipe["seed"],
        "target_languages": first.target_languages,
        "temperature": first.temperature,
        **_scores(name, first, output),
        "other_data": [_scores(name, run, output) for run in others],
        "recipe": None if first.recipe is None else without_homes(first.recipe),
        "counts": _counts(first),
        "timings": {
            **{key: round(value, 1) for key, value in (first.timing or {}).items()},
            **({"evaluation_seconds": first.evaluation.seconds} if first.evaluation else {}),
        },
        "coefficient": _course(first),
        "environment": first.environment,
        "leakage": _leakage(first.leakage) if first.leakage else None,
    }
    path = output / f"{name}.json"
    write_text(path, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
    return path


def _asked(run: Run) -> set[tuple[str, str, str, str]]:
    """Every question over its text, wherever the data lay."""
    return {(row.id, row.question_language, row.context_language, row.passage) for row in run.rows}


def _scores(name: str, run: Run, output: Path) -> dict[str, Any]:
    rows = output / ROWS / f"{name}.{file_name(run.data_label())}.csv.gz"
    _pack(run.rows, rows)
    scores = run.matrix.to_dict()
    record = run.evaluation
    return {
        "data": run.data_label(),
        "rules": record.rules if record else None,
        "averages": scores["averages"],
        "intervals": _intervals(run),
        "pairs": scores["pairs"],
        "other_scores": run.other_scores,
        "rows": rows.relative_to(output).as_posix(),
    }


def _intervals(run: Run) -> dict[str, dict[str, list[float]]]:
    """At 95%, of a bootstrap over seed questions."""
    if len({row.id for row in run.rows}) < 2:
        return {}
    found = score_intervals(Method(run.name, [run.rows]))
    intervals: dict[str, dict[str, list[float]]] = {}
    for metric in METRICS:
        for name, interval in found[metric]["average"].items():
            if interval.low is not None and interval.high is not None:
                intervals.setdefault(name, {})[metric] = [round(100 * interval.low, 4), round(100 * interval.high, 4)]
    return intervals


def _counts(run: Run) -> dict[str, Any]:
    """How much was trained on; lists of bad records are counted."""
    counts = {key: len(value) if isinstance(value, list) else value for key, value in (run.data or {}).items()}
    counts.pop("languages", None)
    if run.history:
        counts["steps"] = len(run.history)
    return counts


def _leakage(found: Mapping[str, Any]) -> Any:
    """Counts without the examples, which quote texts of others."""
    compared = [{key: value for key, value in entry.items() if key != "examples"} for entry in found["compared"]]
    return without_homes({**found, "compared": compared})


def _course(run: Run) -> list[float]:
    """Mean coefficient in equal parts of the training, for figure 4; nothing without distillation."""
    if run.recipe is None or not run.recipe["objective"]["alpha_kl"]:
        return []
    values = [float(step["coefficient"]) for step in run.history]
    edges = [round(part * len(values) / PARTS) for part in range(PARTS + 1)]
    return [round(fmean(values[a:b]), 4) for a, b in pairwise(edges) if b > a]


def _pack(rows: Sequence[RowScore], path: Path) -> None:
    """Sorted by question, so that equal rows give equal files."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: (row.id, row.question_language, row.context_language)):
        table.writerow([row.id, row.question_language, row.context_language, f"{row.f1:.6g}", int(row.em)])
    with write_aside(path) as aside:
        aside.write_bytes(gzip.compress(text.getvalue().encode("utf-8"), mtime=0))


def _read(path: Path) -> Result:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return Result(
            tree["name"],
            tree["method"],
            tree["seed"],
            tree["target_languages"],
            tree["temperature"],
            tree["recipe"],
            [_read_scores(part, path.parent) for part in (tree, *tree["other_data"])],
            tree["counts"],
            tree["timings"],
            tree["coefficient"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, PolyspanError) as error:
        raise ResultsError(
            f"{path}: not what `polyspan results collect` wrote ({type(error).__name__}: {error})"
        ) from error


def _read_scores(tree: Mapping[str, Any], folder: Path) -> Scores:
    rows = folder / tree["rows"]
    return Scores(tree["data"], ScoreMatrix.from_dict(tree), tree["intervals"], rows if rows.is_file() else None)


def put_between(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page; everything else stays, its kind of line ends too.

    Raises:
        ResultsError: of `around_marks`.
    """
    before, after = around_marks(page)
    written = f"{BEGIN}\n\n{text}\n{END}"
    if before.endswith("\r\n"):
        written = written.replace("\n", "\r\n")
    write_text(page, before + written + after)


def around_marks(page: Path) -> tuple[str, str]:
    """What stands before and after the two marks of a page.

    Raises:
        ResultsError: there is no such page, it is no text, or it has not each mark once.
    """
    old = read_text(page, ResultsError)
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise ResultsError(f"{page}: needs a line {BEGIN} and after it a line {END}, each once")
    return old.partition(BEGIN)[0], old.partition(END)[2]
