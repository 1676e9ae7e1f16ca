"""What methods gain across languages, beside what each gains or forgets within one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from polyspan.analysis.figure import BLUE, GREEN, INK, MUTED, ORANGE, FigureError, figure_file
from polyspan.evaluation.compare import Difference, Interval
from polyspan.evaluation.matrix import Metric, one_decimal

_COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
_MARKS = "os^Dv"  # five beside seven colours: the two together come again after 35 methods


class Gain(NamedTuple):
    """Differences to one baseline, paired by question; in [-1, 1]."""

    name: str
    within: Interval
    """XLT: question and context in one language."""
    across: Interval
    """G-XLT: all pairs of languages."""


def gain_of(name: str, averages: Mapping[str, Difference]) -> Gain | None:
    """Of a comparison's averages; None where questions and contexts were not of one language and of two."""
    if not {"gxlt_off_diagonal", "xlt"} <= averages.keys():
        return None
    return Gain(name, averages["xlt"].difference, averages["gxlt"].difference)


def draw_gains(gains: Sequence[Gain], path: Path, metric: Metric, title: str, baseline: str) -> None:
    """Draw a point for each method, G-XLT upward and XLT to the right, with the interval of either.

    The baseline is the origin. What lies left of it has forgotten something of what the baseline
    could within one language.

    Args:
        gains: of each method.
        path: ``.svg`` or ``.png``.
        metric: which score.
        title: above the figure.
        baseline: name of what the gains are over.

    Raises:
        FigureError: there is no method, or another suffix.
    """
    if not gains:
        raise FigureError(f"{path}: there is no gain to draw")
    with figure_file(path, 6.4, 4.6 + 0.21 * len(gains), title) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        axes.plot(0, 0, "x", color=INK, markersize=8, markeredgewidth=2, label=baseline)
        for number, gain in enumerate(gains):
            x, y = 100 * gain.within.value, 100 * gain.across.value
            axes.errorbar(
                x,
                y,
                xerr=_reach(gain.within),
                yerr=_reach(gain.across),
                fmt=_MARKS[number % len(_MARKS)],
                color=_COLOURS[number % len(_COLOURS)],
                markersize=7,
                elinewidth=1,
                label=f"{gain.name}: {one_decimal(y, signed=True)} G-XLT, {one_decimal(x, signed=True)} XLT",
            )
        left, right = axes.get_xlim()
        axes.axvspan(left, 0, color=INK, alpha=0.05, linewidth=0, zorder=0)
        axes.set_xlim(left, right)
        axes.annotate(
            "forgotten",
            (0, 1),
            (-6, -14),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            horizontalalignment="right",
            color=MUTED,
            fontsize=9,
        )
        score = metric.upper()
        axes.set(xlabel=f"XLT: {score} gained within one language", ylabel=f"G-XLT: {score} gained, all pairs")
        axes.grid()
        figure.legend(frameon=False, fontsize=9, loc="outside lower left")


def _reach(interval: Interval) -> list[list[float]] | None:
    """Down and up from the value, as matplotlib has it."""
    if interval.low is None or interval.high is None:
        return None
    return [[100 * (interval.value - interval.low)], [100 * (interval.high - interval.value)]]
