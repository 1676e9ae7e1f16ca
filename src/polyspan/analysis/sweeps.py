"""Many runs in one figure: scores against ntl, and by temperature and ntl."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from polyspan.analysis.cells import METHODS
from polyspan.analysis.figure import INK, MUTED, FigureError, figure_file
from polyspan.analysis.heatmap import draw_grid
from polyspan.analysis.paper import Method
from polyspan.analysis.runs import Run
from polyspan.evaluation.matrix import Average, Metric

_COLOURS: dict[Method, str] = {"ce": "#0072b2", "skd": "#d55e00", "skd-map": "#009e73"}
_MARKS: dict[Method, str] = {"ce": "o", "skd": "s", "skd-map": "^"}
_DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_PANELS: tuple[tuple[Average, str], ...] = (("gxlt", "G-XLT"), ("xlt", "XLT"))


class Setting(NamedTuple):
    """What a sweep varies; T is None for cross-entropy."""

    method: Method
    temperature: float | None
    target_languages: int


def by_setting(runs: Sequence[Run], average: Average, metric: Metric) -> dict[Setting, list[float]]:
    """Scores in [0, 1] of trained runs; runs of one setting, with other random seeds, stand together.

    Zero-shot runs and those without cross-entropy are left out.
    """
    found: defaultdict[Setting, list[float]] = defaultdict(list)
    for run in runs:
        method, score = run.method, run.matrix.average(average, metric)
        if method not in _COLOURS or run.target_languages is None or score is None or run.without_cross_entropy:
            continue
        found[Setting(method, run.temperature, run.target_languages)].append(score)
    return dict(
        sorted(found.items(), key=lambda item: (item[0].method, item[0].temperature or 0, item[0].target_languages))
    )


def has_curves(runs: Sequence[Run]) -> bool:
    """Whether runs of one method differ in ntl."""
    lines = defaultdict(set)
    for setting in by_setting(runs, "gxlt", "f1"):
        lines[setting.method, setting.temperature].add(setting.target_languages)
    return any(len(values) > 1 for values in lines.values())


def grid_methods(runs: Sequence[Run]) -> list[Method]:
    """Methods whose runs differ in both T and ntl."""
    found: defaultdict[Method, tuple[set[float], set[int]]] = defaultdict(lambda: (set(), set()))
    for setting in by_setting(runs, "gxlt", "f1"):
        if setting.temperature is not None:
            found[setting.method][0].add(setting.temperature)
            found[setting.method][1].add(setting.target_languages)
    return [method for method, (heats, numbers) in found.items() if len(heats) > 1 and len(numbers) > 1]


def draw_target_languages(runs: Sequence[Run], path: Path, metric: Metric, title: str) -> None:
    """Draw G-XLT and XLT against ntl, one line a method (Carrino et al. 2023, figures 5 and 11).

    Where several runs share a setting the line is their mean and each run a dot. Zero-shot runs are
    a dashed level line.

    Args:
        runs: over one data set.
        path: ``.svg`` or ``.png``.
        metric: which score.
        title: above the figure.

    Raises:
        FigureError: no run says its ntl, or another suffix.
    """
    if not by_setting(runs, "gxlt", metric):
        raise FigureError(f"{path}: no run was trained with a known number of target languages")
    with figure_file(path, 8.0, 3.6) as figure:
        figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=12, fontweight="bold", color=INK)
        panels = figure.subplots(1, 2)
        for axes, (average, label) in zip(panels, _PANELS, strict=True):
            scores = by_setting(runs, average, metric)
            lines: defaultdict[tuple[Method, float | None], dict[int, list[float]]] = defaultdict(dict)
            for setting, values in scores.items():
                lines[setting.method, setting.temperature][setting.target_languages] = values
            of_method: defaultdict[Method, list[float | None]] = defaultdict(list)
            for method, temperature in lines:
                of_method[method].append(temperature)
            for (method, temperature), points in lines.items():
                dash = _DASHES[of_method[method].index(temperature) % len(_DASHES)]
                name = METHODS[method] + (f", T {temperature:g}" if temperature is not None else "")
                means = [100 * fmean(values) for values in points.values()]
                style = {"color": _COLOURS[method], "marker": _MARKS[method]}
                axes.plot(list(points), means, linestyle=dash, linewidth=1.8, markersize=5, label=name, **style)
                for number, values in points.items():
                    if len(values) > 1:
                        axes.plot(
                            [number] * len(values),
                            [100 * value for value in values],
                            ".",
                            color=_COLOURS[method],
                            alpha=0.5,
                        )
            levels = [
                value
                for run in runs
                if run.method == "zero-shot" and (value := run.matrix.average(average, metric)) is not None
            ]
            if levels:
                axes.axhline(
                    100 * fmean(levels), color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=METHODS["zero-shot"]
                )
            axes.set_title(label, fontsize=10, fontweight="normal")
            axes.set(xlabel="target languages (ntl)", ylabel=f"{metric.upper()} (%)")
            axes.set_xticks(sorted({setting.target_languages for setting in scores}))
            axes.grid(axis="y")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, fontsize=9, ncols=min(4, len(names)), loc="outside lower center")


def draw_temperatures(runs: Sequence[Run], path: Path, method: Method, metric: Metric, title: str) -> None:
    """Draw G-XLT by temperature and ntl for one method (Carrino et al. 2023, figures 6 and 10).

    Raises:
        FigureError: no run of this method, or another suffix.
    """
    values = {
        (setting.temperature, setting.target_languages): fmean(scores)
        for setting, scores in by_setting(runs, "gxlt", metric).items()
        if setting.method == method and setting.temperature is not None
    }
    draw_grid(values, path, "temperature (T)", "target languages (ntl)", f"G-XLT {metric.upper()} (%)", title)
