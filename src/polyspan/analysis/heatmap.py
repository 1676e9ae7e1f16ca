"""The G-XLT matrix as a heat map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyspan.analysis.figure import INK, FigureError, figure_file
from polyspan.evaluation.matrix import Metric, ScoreMatrix, one_decimal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

_GAP = 0.25  # between the matrix and its means, in cells
_SMALLEST_RANGE = 1.0  # points: noise below it is not blown up to full colour


def draw_matrix(matrix: ScoreMatrix, path: Path, metric: Metric, title: str, signed: bool = False) -> None:
    """Draw scores in percent by question language (down) and context language (across).

    The diagonal (XLT) is outlined; the means over each row, each column and all pairs (G-XLT)
    stand at the edges. Scores are coloured on a scale of 0 to 100, the same in every figure, so
    that two can be laid side by side; differences on a scale as wide as the largest of them, with
    0 in its middle.

    Args:
        matrix: scores, or a `difference`; pairs may be missing.
        path: ``.svg`` or ``.png``.
        metric: which score.
        title: above the figure.
        signed: the values are differences.

    Raises:
        FigureError: the matrix is empty, or the suffix is another.
    """
    questions, contexts = matrix.question_languages, matrix.context_languages
    overall = matrix.average("gxlt", metric)
    if overall is None:
        raise FigureError(f"{path}: there is no score to draw")
    with figure_file(path, 2.3 + 0.62 * len(contexts), 1.7 + 0.5 * len(questions), title) as figure:
        import matplotlib
        from matplotlib.colors import Normalize

        axes = figure.add_subplot()
        if signed:
            widest = max(abs(100 * cell.value(metric)) for cell in matrix.cells.values())
            limit = max(widest, _SMALLEST_RANGE)
            colours, scale = matplotlib.colormaps["RdBu"], Normalize(-limit, limit)
        else:
            colours, scale = matplotlib.colormaps["viridis"], Normalize(0, 100)
        pencil = Pencil(axes, colours, scale, signed)

        right, bottom = len(contexts) + _GAP, len(questions) + _GAP
        for row, question in enumerate(questions):
            for column, context in enumerate(contexts):
                cell = matrix.cells.get((question, context))
                pencil.cell(column, row, None if cell is None else cell.value(metric))
        for row, mean in enumerate(matrix.by_language("question", metric).values()):
            pencil.cell(right, row, mean)
        for column, mean in enumerate(matrix.by_language("context", metric).values()):
            pencil.cell(column, bottom, mean)
        pencil.cell(right, bottom, overall, bold=True)
        for language in sorted(set(questions) & set(contexts)):
            pencil.outline(contexts.index(language), questions.index(language))

        axes.set(
            xlim=(-0.06, right + 1.06),
            ylim=(bottom + 1.06, -0.06),
            aspect=0.8,
            xlabel="language of the context",
            ylabel="language of the question",
        )
        axes.set_xticks([*(i + 0.5 for i in range(len(contexts))), right + 0.5], [*contexts, "mean"])
        axes.set_yticks([*(i + 0.5 for i in range(len(questions))), bottom + 0.5], [*questions, "mean"])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        label = f"{metric.upper()} difference" if signed else f"{metric.upper()} (%)"
        pencil.colour_bar(figure, label)


def draw_grid(
    values: Mapping[tuple[float, int], float], path: Path, rows: str, columns: str, label: str, title: str
) -> None:
    """Draw one score of many runs by two of their settings (Carrino et al. 2023, figures 6 and 10).

    The best is outlined. The scale runs from the lowest to the highest value, at least one point,
    as runs of a sweep lie close together.

    Args:
        values: in [0, 1], by the setting that goes down and the one that goes across; some may be missing.
        path: ``.svg`` or ``.png``.
        rows, columns: names of the settings.
        label: of the score.
        title: above the figure.

    Raises:
        FigureError: no values, or another suffix.
    """
    if not values:
        raise FigureError(f"{path}: there is no score to draw")
    down, across = sorted({row for row, _ in values}), sorted({column for _, column in values})
    with figure_file(path, 2.6 + 0.62 * len(across), 1.5 + 0.5 * len(down), title) as figure:
        import matplotlib
        from matplotlib.colors import Normalize

        axes = figure.add_subplot()
        lowest, highest = 100 * min(values.values()), 100 * max(values.values())
        spare = max(0.0, _SMALLEST_RANGE - (highest - lowest)) / 2
        scale = Normalize(lowest - spare, highest + spare)
        pencil = Pencil(axes, matplotlib.colormaps["viridis"], scale, signed=False)
        for y, row in enumerate(down):
            for x, column in enumerate(across):
                pencil.cell(x, y, values.get((row, column)))
        best_row, best_column = max(values, key=lambda key: values[key])
        pencil.outline(across.index(best_column), down.index(best_row))
        axes.set(xlim=(-0.06, len(across) + 0.06), ylim=(len(down) + 0.06, -0.06), aspect=0.8)
        axes.set(xlabel=columns, ylabel=rows)
        axes.set_xticks([i + 0.5 for i in range(len(across))], [f"{value:g}" for value in across])
        axes.set_yticks([i + 0.5 for i in range(len(down))], [f"{value:g}" for value in down])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        pencil.colour_bar(figure, label)


@dataclass(frozen=True)
class Pencil:
    """Draws cells of one colour scale; a cell is one unit wide and high, its corner given."""

    axes: Axes
    colours: Colormap
    scale: Normalize
    signed: bool

    def cell(self, x: float, y: float, value: float | None, bold: bool = False) -> None:
        from matplotlib.patches import Rectangle

        if value is None:
            empty = Rectangle((x, y), 1, 1, facecolor="none", edgecolor="#dddddd", hatch="////", linewidth=0)
            self.axes.add_patch(empty)
            return
        red, green, blue, _ = self.colours(float(self.scale(100 * value)))
        self.axes.add_patch(Rectangle((x, y), 1, 1, facecolor=(red, green, blue), edgecolor="white", linewidth=1))
        self.axes.text(
            x + 0.5,
            y + 0.5,
            one_decimal(100 * value, self.signed),
            horizontalalignment="center",
            verticalalignment="center_baseline",
            color=text_colour(red, green, blue),
            fontsize=9,
            fontweight="bold" if bold else "normal",
        )

    def outline(self, x: float, y: float) -> None:
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, facecolor="none", edgecolor=INK, linewidth=1.8))

    def colour_bar(self, figure: Figure, label: str) -> None:
        from matplotlib.cm import ScalarMappable

        bar = figure.colorbar(
            ScalarMappable(self.scale, self.colours), ax=self.axes, label=label, shrink=0.8, aspect=28, pad=0.02
        )
        bar.outline.set_visible(False)


def text_colour(red: float, green: float, blue: float) -> str:
    """Black or white, whichever stands out more on a colour (WCAG 2 contrast, never under 4.5).

    Args:
        red, green, blue: sRGB in [0, 1].
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Contrasts are 1.05 / (L + 0.05) against white and (L + 0.05) / 0.05 against black.
    return "white" if (luminance + 0.05) ** 2 < 1.05 * 0.05 else "black"
