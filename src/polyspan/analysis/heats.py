"""The G-XLT matrix as a table of the report's page: coloured, with what a cell says of its pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polyspan.analysis.inline import cell_style
from polyspan.analysis.languages import language_name
from polyspan.analysis.run_tables import SHOWN_PAIRS
from polyspan.analysis.study import Group
from polyspan.analysis.table import Number
from polyspan.evaluation.compare import LEVEL, Comparison, Difference
from polyspan.evaluation.matrix import METRICS, Metric, ScoreMatrix, difference

GRADIENT_STEPS = 12
SMALLEST_RANGE = 1.0
"""Points: noise below it is not blown up to full colour."""


@dataclass(frozen=True)
class _Source:
    """One matrix: of a run, or of the difference of two."""

    matrix: ScoreMatrix
    caption: str
    run: int
    comparison: Comparison | None = None


def heat_names(group: Group) -> list[str]:
    """What can be chosen to look at, in the order of `heat_tables`."""
    return [run.name for run in group.runs] + [f"{c.a} minus {c.b}" for c in group.comparisons]


def heat_tables(group: Group, index: int) -> list[dict[str, Any]]:
    """Template variables of every heat map of a group: each run, then each difference, in F1 and EM.

    Args:
        group: of runs.
        index: number of the group on the page.
    """
    sources = [_Source(run.matrix, run.name, number) for number, run in enumerate(group.runs)]
    sources += [
        _Source(
            difference(group.runs[number].matrix, group.runs[0].matrix), f"{found.a} minus {found.b}", number, found
        )
        for number, found in enumerate(group.comparisons, start=1)
    ]
    return [
        {**_table(group, source, metric), "group": index, "panel": f"heat-{index}", "key": f"{number}-{metric}"}
        for number, source in enumerate(sources)
        for metric in METRICS
    ]


def _table(group: Group, source: _Source, metric: Metric) -> dict[str, Any]:
    matrix, signed = source.matrix, source.comparison is not None
    limit = None
    if signed:
        limit = max([SMALLEST_RANGE, *(abs(100 * cell.value(metric)) for cell in matrix.cells.values())])
    contexts, questions = matrix.context_languages, matrix.question_languages

    def shown(share: float | None) -> dict[str, str]:
        if share is None:
            return {"text": "", "style": ""}
        return {"text": Number(100 * share, signed=signed).text, "style": cell_style(100 * share, limit)}

    rows = []
    asked: list[dict[str, Any]] = []
    of_question = matrix.by_language("question", metric)
    for question in questions:
        cells: list[dict[str, Any] | None] = []
        for context in contexts:
            cell = matrix.cells.get((question, context))
            if cell is None:
                cells.append(None)
                continue
            told = _told(group, source, question, context)
            mark = "*" if signed and _is_sure(source.comparison, metric, question, context) else ""
            value = shown(cell.value(metric))
            names = f"question in {language_name(question)}, text in {language_name(context)}"
            cells.append(
                {
                    **value,
                    "text": value["text"] + mark,
                    "same": question == context,
                    "question": question,
                    "context": context,
                    "names": f"{language_name(question)} question, {language_name(context)} text",
                    "value": cell.value(metric),
                    "tip": f"{names[0].upper()}{names[1:]}\n" + "\n".join(told),
                    "spoken": f"{names}: {'; '.join(told)}",
                }
            )
        asked.extend(cell for cell in cells if cell is not None)
        rows.append(
            {"code": question, "name": language_name(question), "cells": cells, "mean": shown(of_question[question])}
        )
    means = [shown(value) for value in matrix.by_language("context", metric).values()]
    low, high = (f"{-limit:.1f}", f"+{limit:.1f}") if limit is not None else ("0", "100")
    steps = [i / (GRADIENT_STEPS - 1) for i in range(GRADIENT_STEPS)]
    colours = [cell_style(100 * step if limit is None else limit * (2 * step - 1), limit) for step in steps]
    return {
        "caption": f"{metric.upper()} {'difference' if signed else '(%)'}, {source.caption}, {group.label}",
        "contexts": [(code, language_name(code)) for code in contexts],
        "rows": rows,
        "ends": _ends(asked, signed),
        "means": [*means, shown(matrix.average("gxlt", metric))],
        "run": source.run,
        "low": low,
        "high": high,
        "gradient": [colour.split(";")[0].removeprefix("background:") for colour in colours],
        "note": "* a difference after Holm's correction over all pairs, at 5%." if signed else None,
    }


def _ends(cells: list[dict[str, Any]], signed: bool) -> list[tuple[str, list[dict[str, Any]]]]:
    """The pairs with the highest and the lowest values, for a list beside the map."""
    ordered = sorted(cells, key=lambda cell: -cell["value"])
    most = min(SHOWN_PAIRS, len(ordered) // 2)
    names = ("Gains most", "Gains least") if signed else ("Best pairs", "Worst pairs")
    return [(names[0], ordered[:most]), (names[1], ordered[::-1][:most])] if most else []


def _told(group: Group, source: _Source, question: str, context: str) -> list[str]:
    """Lines on one pair: number of questions, both scores, their intervals."""
    lines = [f"{source.matrix.cells[question, context].questions} questions"]
    for metric in METRICS:
        if source.comparison is not None:
            found = source.comparison.metrics[metric].pairs[question, context]
            lines.append(_difference_line(metric, found, source.comparison))
            continue
        value = 100 * source.matrix.cells[question, context].value(metric)
        intervals = group.intervals[source.run]
        interval = None if intervals is None else intervals[metric]["pair"].get((question, context))
        if interval is None or interval.low is None or interval.high is None:
            lines.append(f"{metric.upper()} {value:.1f}")
        else:
            lines.append(
                f"{metric.upper()} {value:.1f}, 95% interval {100 * interval.low:.1f} to {100 * interval.high:.1f}"
            )
    return lines


def _difference_line(metric: Metric, found: Difference, comparison: Comparison) -> str:
    gap = found.difference
    ends = [None if end is None else 100 * end for end in (gap.low, gap.high)]
    number = Number(100 * gap.value, ends[0], ends[1], signed=True)
    interval = f", 95% interval {number.interval}" if number.interval else ""
    p = f"p {found.p_holm:.3f} after Holm" if found.p_holm >= 0.001 else "p below 0.001 after Holm"
    return f"{metric.upper()} {number.text} ({100 * found.b.value:.1f} to {100 * found.a.value:.1f}){interval}, {p}"


def _is_sure(comparison: Comparison | None, metric: Metric, question: str, context: str) -> bool:
    return comparison is not None and comparison.metrics[metric].pairs[question, context].p_holm <= 1 - LEVEL
