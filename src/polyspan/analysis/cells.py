"""Cells and names that the tables of results share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polyspan.analysis.paper import Method, Printed, load_paper
from polyspan.analysis.runs import Run, data_name, told_apart
from polyspan.analysis.study import Intervals, system_key
from polyspan.analysis.table import Number
from polyspan.evaluation.compare import Interval
from polyspan.evaluation.matrix import Average, Metric

INTERVAL_NOTE = "Intervals are at 95%, of a bootstrap over seed questions."
METHODS: dict[Method, str] = {
    "zero-shot": "zero-shot",
    "ce": "cross-entropy",
    "skd": "self-distillation",
    "skd-map": "self-distillation, mAP@k",
    "laf": "LAF (Bornea et al. 2021)",
}
SHORT: dict[Average, str] = {
    "gxlt": "G-XLT",
    "gxlt_off_diagonal": "G-XLT off the diagonal",
    "xlt": "XLT",
    "micro": "micro",
}
"""Names of averages that fit above two columns."""


def number(value: float | None, intervals: Intervals | None, metric: Metric, kind: str, name: object) -> Number | None:
    """A share in [0, 1] and its interval, in percent."""
    if value is None:
        return None
    interval: Interval | None = None if intervals is None else intervals[metric].get(kind, {}).get(name)  # type: ignore[call-overload]
    if interval is None or interval.low is None or interval.high is None:
        return Number(100 * value)
    return Number(100 * value, 100 * interval.low, 100 * interval.high)


def plain(percent: float | None) -> Number | None:
    return None if percent is None else Number(percent)


def printed_number(found: Printed | None, metric: Metric) -> Number | None:
    return None if found is None else plain(found.f1 if metric == "f1" else found.em)


PAPER = "paper"
"""What a row of the paper's numbers is marked with; `paper_note` says which paper."""


def paper_note(run: Run) -> str:
    """Whose numbers stand beside those of a run, and how they differ from them."""
    paper = load_paper()
    text = f"Rows marked “{PAPER}” are {paper.label}"
    if run.evaluation is not None and run.evaluation.limit:
        text += f", over all questions; the other rows are over the first {run.evaluation.limit} of each pair"
    return text + "."


def source(method: Method) -> str:
    """Whose numbers a row of the paper shows."""
    return "Bornea et al. 2021" if method == "laf" else load_paper().label


def system_names(runs: Sequence[Run]) -> dict[str, str]:
    """What each model is called, by its `system_key`: its run folder's name, or its own; more of the path where two
    would be called alike."""
    short = {system_key(run): system_name(run) for run in reversed(runs)}
    keys = list(short)
    most = max((len(Path(key).parts) for key in keys), default=0)
    names = told_apart(list(short.values()), lambda at, parts: data_name(keys[at], parts), most)
    return dict(zip(keys, names, strict=True))


def system_name(run: Run) -> str:
    """What the model of a run is called by itself: its run folder's name, or its own."""
    if run.recipe is not None:
        return run.home.resolve().name
    return data_name(run.evaluation.model) if run.evaluation else run.name


def file_name(name: str) -> str:
    """A name without what file systems and LaTeX labels stumble over."""
    return "-".join(part for part in "".join(c if c.isalnum() else "-" for c in name).split("-") if part)
