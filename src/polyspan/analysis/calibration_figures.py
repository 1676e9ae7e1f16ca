"""Reliability before and after calibration, and risk against coverage, drawn from ``calibration.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyspan.analysis.figure import BLUE, INK, MUTED, ORANGE, FigureError, figure_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDES = {"before": ORANGE, "after": BLUE}
_Z = 1.96


def draw_reliability(measured: Mapping[str, Any], path: Path, title: str) -> None:
    """Draw confidence against accuracy for answers and for "no answer", before and after.

    A point is a tenth of the rows; bars are 95% Wilson intervals of its accuracy. The diagonal is what
    can be trusted to the letter.

    Args:
        measured: ``measured`` of ``calibration.json``.
        path: ``.svg`` or ``.png``.
        title: above the figure.

    Raises:
        FigureError: nothing was measured, or the suffix is another.
    """
    panels = {"answers": "score of the best answer", "no_answer": "probability of “no answer”"}
    shown = [name for name in panels if measured.get(name)]
    if not shown:
        raise FigureError(f"{path}: nothing was measured to draw")
    with figure_file(path, 3.6 * len(shown) + 0.4, 3.9, title) as figure:
        for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for side, colour in _SIDES.items():
                found = measured[name][side]
                _points(axes, found["bins"], colour, f"{side}: ECE {100 * found['ece']:.1f}", bars=True)
            _square(axes)
            axes.set(xlabel=panels[name], ylabel="share that was right")
            axes.legend(frameon=False, loc="best", fontsize=9)


def draw_pair_reliability(measured: Mapping[str, Any], path: Path, title: str) -> None:
    """The same for each pair of languages: questions down, contexts across, ECE before and after within.

    Args:
        measured, path, title: as in `draw_reliability`.

    Raises:
        FigureError: no pairs were measured, or the suffix is another.
    """
    pairs = {(row["question_language"], row["context_language"]): row for row in measured.get("pairs", ())}
    if not pairs:
        raise FigureError(f"{path}: no pairs of languages were measured")
    questions, contexts = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    size = 1.25
    with figure_file(path, size * len(contexts) + 1.0, size * len(questions) + 1.2, title) as figure:
        grid = figure.subplots(len(questions), len(contexts), squeeze=False, sharex=True, sharey=True)
        for row, question in enumerate(questions):
            for column, context in enumerate(contexts):
                axes = grid[row][column]
                found = pairs.get((question, context))
                if row == 0:
                    axes.set_title(context, loc="center", fontsize=9, pad=4)
                if column == 0:
                    axes.set_ylabel(question, rotation=0, labelpad=12, verticalalignment="center")
                if found is None:  # its labels stay
                    axes.spines[:].set_visible(False)
                    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
                    continue
                for side, colour in _SIDES.items():
                    _points(axes, found[side]["bins"], colour, side, bars=False)
                _square(axes)
                axes.set(xticks=(0, 1), yticks=(0, 1))
                axes.tick_params(labelsize=7)
                error = f"{100 * found['before']['ece']:.0f}→{100 * found['after']['ece']:.0f}"
                axes.text(0.04, 0.95, error, transform=axes.transAxes, verticalalignment="top", fontsize=7.5)
        figure.supxlabel("score of the best answer, by language of the context (across)", fontsize=9)
        figure.supylabel("share that was right, by language of the question (down)", fontsize=9)


def draw_risk_coverage(measured: Mapping[str, Any], path: Path, title: str) -> None:
    """Draw the share of wrong answers against the share of questions answered, the surest first.

    Crosses are the thresholds that were fitted, where they come out on these rows.

    Args:
        measured, path, title: as in `draw_reliability`.

    Raises:
        FigureError: no curve was measured, or the suffix is another.
    """
    curves = measured.get("risk_coverage")
    if not curves:
        raise FigureError(f"{path}: no risk-coverage curve was measured")
    with figure_file(path, 5.6, 3.9, title) as figure:
        axes = figure.add_subplot()
        for side, colour in _SIDES.items():
            curve = curves[side]
            axes.plot(
                curve["coverage"], curve["risk"], color=colour, linewidth=1.8, label=f"{side}: area {curve['area']:.3f}"
            )
        for row in measured.get("thresholds", ()):
            if row["precision_measured"] is not None:
                x, y = row["coverage_measured"], 1 - row["precision_measured"]
                axes.plot(x, y, marker="x", color=INK, markersize=6)
                axes.annotate(
                    f"{row['precision']:g}", (x, y), textcoords="offset points", xytext=(5, -10), fontsize=8, color=INK
                )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of questions answered", ylabel="share of answers wrong")
        axes.grid()
        axes.legend(frameon=False, loc="lower right")


def _points(axes: Axes, bins: list[Mapping[str, float]], colour: str, label: str, bars: bool) -> None:
    x = [bin_["confidence"] for bin_ in bins]
    y = [bin_["accuracy"] for bin_ in bins]
    if bars:
        for bin_ in bins:
            low, high = wilson(bin_["accuracy"], bin_["rows"])
            axes.plot([bin_["confidence"]] * 2, [low, high], color=colour, linewidth=1.0, alpha=0.5)
    axes.plot(x, y, color=colour, linewidth=1.4, marker="o", markersize=4 if bars else 2, label=label)


def _square(axes: Axes) -> None:
    axes.plot((0, 1), (0, 1), color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect=1)


def wilson(share: float, rows: float) -> tuple[float, float]:
    """95% interval of a share of ``rows`` (Wilson 1927)."""
    middle = share + _Z**2 / (2 * rows)
    half = _Z * ((share * (1 - share) + _Z**2 / (4 * rows)) / rows) ** 0.5
    scale = 1 + _Z**2 / rows
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
