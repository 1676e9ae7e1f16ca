"""What methods gain across languages, beside what each gains or forgets within one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from polyspan.analysis.figure import BLUE, GREEN, INK, MUTED, ORANGE, TITLE_SIZE, FigureError, figure_file, wrapped
from polyspan.evaluation.compare import Difference, Interval
from polyspan.evaluation.matrix import Metric, one_decimal

_COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
_WIDTH = 6.4  # inches
_NAME_SIZE = 9.0  # points
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
    names = [_wrapped(name) for name in (baseline, *(f"{_numbers(gain)}: {gain.name}" for gain in gains))]
    with figure_file(path, _WIDTH, 4.6 + 0.21 * "\n".join(names).count("\n"), title) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        axes.axvline(0, color=MUTED, linewidth=0.8, zorder=1)
        keys = axes.plot(0, 0, "x", color=INK, markersize=8, markeredgewidth=2)
        for number, gain in enumerate(gains):
            x, y = 100 * gain.within.value, 100 * gain.across.value
            bars = axes.errorbar(
                x,
                y,
                xerr=_reach(gain.within),
                yerr=_reach(gain.across),
                fmt=_MARKS[number % len(_MARKS)],
                color=_COLOURS[number % len(_COLOURS)],
                markersize=7,
                markerfacecolor="none",  # what lies under it is seen
                markeredgewidth=1.6,
                elinewidth=0.8,
            )
            keys.append(bars.lines[0])
        left, right = axes.get_xlim()
        axes.axvspan(left, 0, color=INK, alpha=0.05, linewidth=0, zorder=0)
        axes.set_xlim(left, right)
        bottom, top = axes.get_ylim()
        below = top < -bottom  # the level of the baseline is in the upper half
        axes.annotate(
            "forgotten",
            (0, 0 if below else 1),
            (-6, 8 if below else -14),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            horizontalalignment="right",
            color=MUTED,
            fontsize=9,
        )
        score = metric.upper()
        axes.set(xlabel=f"XLT: {score} gained within one language", ylabel=f"G-XLT: {score} gained, all pairs")
        axes.set_title("bars: 95% intervals", loc="right", fontsize=9, fontweight="normal", color=MUTED)
        axes.grid()
        figure.legend(keys, names, frameon=False, fontsize=_NAME_SIZE, loc="outside lower left")


def _numbers(gain: Gain) -> str:
    across, within = (one_decimal(100 * interval.value, signed=True) for interval in (gain.across, gain.within))
    return f"{across} G-XLT, {within} XLT"


def _wrapped(name: str) -> str:
    """On lines that fit beside their marks."""
    room = 72 * (_WIDTH - 0.7) * TITLE_SIZE / _NAME_SIZE
    return "\n".join(wrapped(name, room))


def _reach(interval: Interval) -> list[list[float]] | None:
    """Down and up from the value, as matplotlib has it."""
    if interval.low is None or interval.high is None:
        return None
    return [[100 * (interval.value - interval.low)], [100 * (interval.high - interval.value)]]
