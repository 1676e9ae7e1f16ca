"""Many runs in one figure: scores against ntl, and by temperature and ntl."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from polyspan.analysis.cells import METHODS
from polyspan.analysis.figure import BLUE, GREEN, MUTED, ORANGE, FigureError, figure_file
from polyspan.analysis.heatmap import draw_grid
from polyspan.analysis.paper import Method
from polyspan.analysis.runs import Run
from polyspan.evaluation.matrix import Average, Metric

_COLOURS: dict[Method, str] = {"ce": BLUE, "skd": ORANGE, "skd-map": GREEN}
_MARKS: dict[Method, str] = {"ce": "o", "skd": "s", "skd-map": "^"}
_DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
_PANELS: tuple[tuple[Average, str], ...] = (("gxlt", "G-XLT"), ("xlt", "XLT"))


class Setting(NamedTuple):
    """What a sweep varies; T is None for cross-entropy."""

    method: Method
    temperature: float | None
    target_languages: int


def comparable(runs: Sequence[Run], best_first: bool = False) -> list[Run]:
    """Leave out runs whose recipes differ in more than the figures show.

    Figures tell ntl, T and the method apart, with one line for self-distillation and one for mAP@k.
    Of every other key the value that most runs have is kept, and of several variants of mAP@k the
    most frequent.

    Args:
        runs: untrained ones stay.
        best_first: they are in the order of their scores, and the first one's values are kept.
    """
    kept = list(runs)
    for told in (_around_the_objective, _objective, _variant):
        values = [value for run in kept if (value := told(run)) is not None]
        if values:
            chosen = values[0] if best_first else max(values, key=values.count)
            kept = [run for run in kept if told(run) in (None, chosen)]
    return kept


def by_setting(runs: Sequence[Run], average: Average, metric: Metric) -> dict[Setting, list[float]]:
    """Scores in [0, 1] of trained runs; runs of one setting, with other random seeds, stand together.

    Zero-shot runs and those without cross-entropy are left out.
    """
    found: defaultdict[Setting, list[float]] = defaultdict(list)
    for run in runs:
        score = run.matrix.average(average, metric)
        if score is not None and _is_drawn(run) and run.method is not None and run.target_languages is not None:
            found[Setting(run.method, run.temperature, run.target_languages)].append(score)
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
    shown = _panels(runs)
    with figure_file(path, 4.0 * len(shown) if len(shown) > 1 else 5.4, 3.6, title) as figure:
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (average, label) in zip(panels, shown, strict=True):
            scores = by_setting(runs, average, metric)
            lines: defaultdict[tuple[Method, float | None], dict[int, list[float]]] = defaultdict(dict)
            for setting, values in scores.items():
                lines[setting.method, setting.temperature][setting.target_languages] = values
            of_method: defaultdict[Method, list[float | None]] = defaultdict(list)
            longest = {method: max(len(own) for (of, _), own in lines.items() if of == method) for method, _ in lines}
            for method, temperature in lines:
                of_method[method].append(temperature)
            for (method, temperature), points in lines.items():
                if len(points) < min(2, longest[method]):
                    continue  # temperatures have a figure of their own
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

    Of questions over texts of one language alone it is XLT.

    Raises:
        FigureError: no run of this method, or another suffix.
    """
    average, label = _panels(runs)[0]
    values = {
        (setting.temperature, setting.target_languages): fmean(scores)
        for setting, scores in by_setting(runs, average, metric).items()
        if setting.method == method and setting.temperature is not None
    }
    draw_grid(values, path, "temperature (T)", "target languages (ntl)", f"{label} {metric.upper()} (%)", title)


def _panels(runs: Sequence[Run]) -> tuple[tuple[Average, str], ...]:
    """Averages that differ: of questions over texts of one language alone the second."""
    return _PANELS if any(run.is_cross_lingual for run in runs) else _PANELS[1:]


def _is_drawn(run: Run) -> bool:
    return run.method in _COLOURS and run.recipe is not None and not run.without_cross_entropy


def _around_the_objective(run: Run) -> str | None:
    if run.recipe is None or not _is_drawn(run):
        return None
    data = {**run.recipe["data"], "target_languages": None}
    training = {**run.recipe["training"], "save_steps": None}
    return json.dumps([run.recipe["model"], data, training, run.recipe["objective"]["alpha_ce"]], sort_keys=True)


def _objective(run: Run) -> str | None:
    if run.recipe is None or not _is_drawn(run) or run.method == "ce":
        return None
    return json.dumps({**run.recipe["objective"], "temperature": None, "coefficient": None}, sort_keys=True)


def _variant(run: Run) -> str | None:
    return run.recipe["objective"]["coefficient"] if run.recipe is not None and run.method == "skd-map" else None
