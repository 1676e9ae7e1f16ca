"""The report's HTML page: one file, no network, readable without JavaScript but for its examples."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any

from polyspan.analysis.browser import browser_data
from polyspan.analysis.cells import METHODS, system_name, system_names
from polyspan.analysis.facts import calibration_facts, commands, run_facts
from polyspan.analysis.heats import heat_names, heat_tables
from polyspan.analysis.inline import cell_style
from polyspan.analysis.languages import direction, language_name
from polyspan.analysis.paper import load_paper
from polyspan.analysis.ranks import AnswerRanks
from polyspan.analysis.run_tables import calibration_table, difference_table, other_table, ranks_table
from polyspan.analysis.runs import Run
from polyspan.analysis.study import Group
from polyspan.analysis.tables import averages_table, languages_table, systems_table, zero_shot_table
from polyspan.evaluation.matrix import Average, one_decimal
from polyspan.evaluation.verdict import sentence

TEMPLATES = "templates"
SHOWN_RUNS = 3
"""In a title made of their names."""


@dataclass(frozen=True)
class PageFigure:
    """A drawn figure: its SVG as part of a page, and what is below it."""

    svg: str
    caption: str


def render_page(
    groups: Sequence[Group],
    gains: Sequence[PageFigure],
    sweeps: Sequence[PageFigure],
    curves: Sequence[PageFigure],
    calibrations: Sequence[tuple[Run, Sequence[PageFigure]]],
    distributions: Sequence[PageFigure],
    notes: Sequence[str],
    title: str | None = None,
) -> str:
    """The whole page as HTML.

    Args:
        groups: of runs.
        gains, sweeps, curves, distributions: figures of several runs, of many, of one training, of one example.
        calibrations: runs with a calibration, and its figures.
        notes: sentences on what could not be shown among the examples.
        title: of the page; made of the runs' names when None.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    runs = [run for group in groups for run in group.runs]
    paper = load_paper()
    examples = browser_data(groups)
    for group, entry in zip(groups, examples, strict=True):
        if group.missing:
            notes = [*notes, f"Examples of {group.label} are not shown: {group.missing}."]
        elif len(entry["seeds"]) < entry["total"]:
            notes = [
                *notes,
                f"Of {group.label} the first {len(entry['seeds'])} of {entry['total']} questions are shown.",
            ]
    data = {
        "languages": {code: [language_name(code), direction(code)] for code in _languages(groups)},
        "groups": [{"label": group.label, "runs": [run.name for run in group.runs]} for group in groups],
        "scale": [cell_style(value) for value in range(101)],
        "examples": examples,
    }
    shown = [_group(group, number) for number, group in enumerate(groups)]
    environment = Environment(
        loader=PackageLoader("polyspan.analysis", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        title=title or _title(runs),
        lead=[_lead(group) for group in groups],
        version=metadata.version("polyspan"),
        css=Markup(_asset("report.css")),
        js=Markup(_asset("report.js")),
        # Inside a script element only "</" and "<!--" would be read as markup.
        data=Markup(json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")),
        groups=shown,
        paper_marks=any(line["paper"] for group in shown for line in group["ranges"]),
        systems=systems_table(groups),
        runs=[run_facts(run) for run in runs],
        gains=gains,
        sweeps=sweeps,
        curves=curves,
        distributions=distributions,
        calibration=[
            {"name": run.name, "facts": calibration_facts(run), "table": calibration_table(run), "figures": drawn}
            for run, drawn in calibrations
        ],
        example_notes=notes,
        has_examples=any(examples),
        most_runs=max(len(group.runs) for group in groups),
        has_paper=any(group.runs[0].published_data for group in groups),
        paper=paper.source,
        paper_label=paper.label,
        commands=commands(runs),
    )


def _asset(name: str) -> str:
    return resources.files("polyspan.analysis").joinpath(TEMPLATES, name).read_text(encoding="utf-8").strip()


def _languages(groups: Sequence[Group]) -> list[str]:
    found = {language for group in groups for run in group.runs for pair in run.matrix.cells for language in pair}
    return sorted(found)


def _title(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.name for run in runs))
    if len(names) > 1 and len(systems := system_names(runs)) == 1:
        return next(iter(systems.values()))  # folders of one model, each named by its data
    shown = ", ".join(names[:SHOWN_RUNS])
    return shown + (f" and {len(names) - SHOWN_RUNS} more" if len(names) > SHOWN_RUNS else "")


def _lead(group: Group) -> str:
    """The result in a sentence: the best run's averages, its best and worst pair."""
    average: Average = "gxlt" if group.cross_lingual else "xlt"
    values = [100 * (run.matrix.average(average, "f1") or 0) for run in group.runs]
    value = max(values)
    number = values.index(value)
    run, intervals = group.runs[number], group.intervals[number]
    interval = None if intervals is None else intervals["f1"]["average"].get(average)
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    around = "" if low is None or high is None else f" (95% interval {100 * low:.1f} to {100 * high:.1f})"
    settings = f"{value:.1f} F1 {'G-XLT' if average == 'gxlt' else 'XLT'}{around}"
    if average == "gxlt" and (same := run.matrix.average("xlt", "f1")) is not None:
        settings += f" and {100 * same:.1f} F1 XLT"
    alike = [one_decimal(other) for other in values].count(one_decimal(value))
    place = "the best" if alike == 1 else f"as good as {alike - 1} other{'s' * (alike > 2)}, the best"
    best = "" if len(group.runs) == 1 else f", {place} of {len(group.runs)} runs,"
    asked = len({row.id for row in run.rows})
    named_by_data = run.name in re.split("/|, ", group.label)
    name = system_name(run) if named_by_data else run.name
    rows = f"{len(run.rows):,} row{'s' * (len(run.rows) > 1)} of {asked:,} question{'s' * (asked > 1)}"
    text = f"{name}{best} reaches {settings} on {group.label}: {rows}."
    ordered = sorted(run.matrix.cells, key=lambda pair: run.matrix.cells[pair].f1)
    if len({run.matrix.cells[pair].f1 for pair in ordered}) > 1:
        ends = []
        for pair in (ordered[-1], ordered[0]):
            question, context = map(language_name, pair)
            name = f"{question} alone" if question == context else f"questions in {question} over {context} texts"
            ends.append(f"{name} ({100 * run.matrix.cells[pair].f1:.1f})")
        text += f" Best is {ends[0]}, worst {ends[1]}."
    return text


def _group(group: Group, number: int) -> dict[str, Any]:
    suffix = f", {group.label}" if group.cross_lingual else ""
    ranks = [
        {"title": f"{run.name}{suffix}", "bars": _bars(found), "table": table}
        for index, (run, found) in enumerate(zip(group.runs, group.ranks or [], strict=False))
        if (table := ranks_table(group, index)) is not None
    ]
    return {
        "label": group.label,
        "cross_lingual": group.cross_lingual,
        "averages": averages_table(group),
        "languages": languages_table(group),
        "zero_shot": zero_shot_table(group),
        "other": other_table(group),
        "ranges": _ranges(group),
        "heat_names": heat_names(group),
        "heats": heat_tables(group, number),
        "comparisons": [
            {
                "title": f"{found.a} against {found.b}",
                "sentence": sentence(found),
                "table": difference_table(group, found),
            }
            for found in group.comparisons
        ],
        "ranks": ranks,
    }


def _ranges(group: Group) -> list[dict[str, Any]]:
    """Marks of the figure of averages: G-XLT and XLT F1 of each run, and the paper's."""
    lines = []
    wanted: list[Average] = ["gxlt", "xlt"] if group.cross_lingual else ["xlt"]
    for run, intervals in zip(group.runs, group.intervals, strict=True):
        marks = []
        for average in wanted:
            value = run.matrix.average(average, "f1")
            interval = None if intervals is None else intervals["f1"]["average"].get(average)
            if value is not None:
                ends = (interval.low, interval.high) if interval is not None else (None, None)
                marks.append(_mark(average, 100 * value, *(None if end is None else 100 * end for end in ends)))
        lines.append({"name": run.name, "paper": False, "marks": marks})
    published = group.runs[0].published_data
    for row in load_paper().table2.rows:
        scores = (row.scores.get(published) or {}) if published else {}
        marks = [_mark(average, scores[average].f1) for average in wanted if average in scores]
        if marks:
            lines.append({"name": f"{METHODS[row.method]} (paper)", "paper": True, "marks": marks})
    return lines


def _mark(kind: str, value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    width = 0.0 if low is None or high is None else high - low
    end = max(value, high or 0)
    return {
        "kind": kind,
        "value": round(value, 2),
        "low": low,
        "width": width,
        "end": round(end, 2),
        "text": f"{value:.1f}",
    }


def _bars(ranks: AnswerRanks) -> list[dict[str, Any]]:
    bars = []
    for language, counts in ranks.counts.items():
        asked = ranks.asked[language]
        parts = [("r1", sum(counts[:1])), ("r2", sum(counts[1:3])), ("r3", sum(counts[3:]))]
        text = f"{100 * counts[0] / asked:.0f}% first, {100 * ranks.within(language):.0f}% in {ranks.depth}"
        widths = [(kind, f"{100 * count / asked:.2f}") for kind, count in parts]
        bars.append({"name": language_name(language), "parts": widths, "text": text})
    return bars
