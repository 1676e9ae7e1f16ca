"""The paper's numbers beside ours: what each row scores, and what it gains over zero-shot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyspan.analysis.cells import SHORT
from polyspan.analysis.paper import DataSet, Printed, load_paper
from polyspan.analysis.runs import read_runs
from polyspan.analysis.table import Cell, Number, Row, Table, to_markdown
from polyspan.evaluation.compare import DRAWS, Interval, compare, score_intervals
from polyspan.evaluation.matrix import METRICS, Average, Metric
from polyspan.evaluation.rows import Method
from polyspan.experiments.reproduce import ZERO_SHOT, Step, paper_method
from polyspan.files import write_text

AVERAGES: tuple[Average, ...] = ("gxlt", "xlt")


@dataclass(frozen=True)
class Line:
    """One average and score of a row, in percent.

    Attributes:
        row, seeds: of the reproduction, and how many runs it has.
        average, metric: which number.
        ours: with its interval at 95%.
        gain: over our zero-shot row, paired by question; None for that row itself.
        paper: what is printed; None where nothing is.
        paper_gain: over the printed zero-shot number.
    """

    row: str
    seeds: int
    average: Average
    metric: Metric
    ours: Number
    gain: Number | None
    paper: float | None
    paper_gain: float | None

    @property
    def difference(self) -> Number | None:
        """Ours minus the paper's; the interval holds our uncertainty alone, as the paper states none."""
        if self.paper is None:
            return None
        low, high = (None if end is None else end - self.paper for end in (self.ours.low, self.ours.high))
        return Number(self.ours.value - self.paper, low, high, signed=True)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""

        def number(found: Number | None) -> dict[str, float | None] | None:
            return None if found is None else {"value": found.value, "low": found.low, "high": found.high}

        return {
            "row": self.row,
            "seeds": self.seeds,
            "average": self.average,
            "metric": self.metric,
            "ours": number(self.ours),
            "paper": self.paper,
            "difference": number(self.difference),
            "gain": number(self.gain),
            "paper_gain": self.paper_gain,
        }


def lay_beside(steps: Sequence[Step], draws: int = DRAWS) -> list[Line]:
    """Every number of the rows that are there, several seeds as their mean.

    Raises:
        ScoringError: rows were asked different questions.
    """
    folders: dict[str, list[Path]] = {}
    for step in steps:
        if step.done:
            folders.setdefault(step.row, []).append(step.folder)
    runs = {row: read_runs(of_row) for row, of_row in folders.items()}
    methods = {
        row: Method(row, [run.rows for run in of_row], [run.seed for run in of_row]) for row, of_row in runs.items()
    }
    lines = []
    for row, method in methods.items():
        own = score_intervals(method, draws=draws)
        gains = compare(method, methods[ZERO_SHOT], draws=draws) if row != ZERO_SHOT and ZERO_SHOT in methods else None
        published = runs[row][0].published_data
        for average in AVERAGES:
            for metric in METRICS:
                if average not in own[metric]["average"]:
                    continue
                printed, baseline = (_printed(name, published, average, metric) for name in (row, ZERO_SHOT))
                gain = None if gains is None else gains.metrics[metric].averages[average].difference
                lines.append(
                    Line(
                        row,
                        len(method.runs),
                        average,
                        metric,
                        _number(own[metric]["average"][average]),
                        None if gain is None else _number(gain, signed=True),
                        printed,
                        None if printed is None or baseline is None or row == ZERO_SHOT else printed - baseline,
                    )
                )
    return lines


def tables(lines: Sequence[Line], group: str) -> list[Table]:
    """The numbers, then the gains over zero-shot."""
    paper = load_paper()
    numbers: list[Row] = []
    gains: list[Row] = []
    for line in lines:
        head: list[Cell] = [line.row, line.seeds, SHORT[line.average], line.metric.upper()]
        printed = None if line.paper is None else Number(line.paper)
        numbers.append(Row([*head, line.ours, printed, line.difference]))
        if line.gain is not None:
            printed = None if line.paper_gain is None else Number(line.paper_gain, signed=True)
            gains.append(Row([*head, line.gain, printed]))
    notes = [
        *(["Ours is another encoder: compare the gains rather than the numbers."] if group != "paper" else []),
        f"Paper: {paper.label}, one run and no interval; the interval of a difference holds our"
        " uncertainty alone, of a bootstrap over seed questions and, with several seeds, over their luck.",
        "The paper has one number for mAP@k; first-hit (its code) and eq5 (its text) are both laid beside it.",
    ]
    head_columns = ["row", "seeds", "average", "score"]
    title = f"{group}: the paper's numbers and ours (%)"
    found = [Table("numbers", title, [*head_columns, "ours", "paper", "difference"], numbers, notes, labels=4)]
    if gains:
        title = f"{group}: what is gained over zero-shot"
        note = ["Our gains are paired by question."]
        found.append(Table("gains", title, [*head_columns, "our gain", "paper's gain"], gains, note, labels=4))
    return found


def write_reproduction(lines: Sequence[Line], made: Sequence[Table], folder: Path) -> list[Path]:
    """``reproduce.md`` and ``reproduce.json`` in the folder of the runs."""
    written = [folder / "reproduce.md", folder / "reproduce.json"]
    write_text(written[0], "\n".join(map(to_markdown, made)))
    write_text(written[1], json.dumps([line.to_dict() for line in lines], indent=1) + "\n")
    return written


def _printed(row: str, published: DataSet | None, average: Average, metric: Metric) -> float | None:
    """In Table 2, or in Table 5 without cross-entropy."""
    known = paper_method(row)
    if known is None or published is None:
        return None
    method, ablation = known
    paper = load_paper()
    found = (paper.table5 if ablation else paper.table2).row(method)
    printed: Printed | None = None if found is None else (found.scores.get(published) or {}).get(average)
    return None if printed is None else printed.f1 if metric == "f1" else printed.em


def _number(found: Interval, signed: bool = False) -> Number:
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    return Number(100 * found.value, low, high, signed=signed)
