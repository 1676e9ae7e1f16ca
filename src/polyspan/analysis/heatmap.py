"""The G-XLT matrix as a picture."""

from __future__ import annotations

from pathlib import Path

from polyspan.evaluation.matrix import Metric, ScoreMatrix


def draw_matrix(
    matrix: ScoreMatrix, path: Path, title: str, metric: Metric = "f1", signed: bool = False
) -> None:
    """Draw question languages down and context languages across, with means at the edges.

    The same matrix gives the same bytes.

    Args:
        matrix: scores, or a difference of scores.
        path: where to, ``.svg`` or ``.png``.
        title: stands above.
        metric: which of the two.
        signed: colours diverge from 0, for a difference.
    """
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    questions, contexts = matrix.question_languages, matrix.context_languages
    values = np.full((len(questions) + 1, len(contexts) + 1), np.nan)
    for row, question in enumerate(questions):
        for column, context in enumerate(contexts):
            if (question, context) in matrix.cells:
                values[row, column] = 100 * getattr(matrix.cells[question, context], metric)
    by_question, by_context = matrix.by_language("question", metric), matrix.by_language("context", metric)
    values[:-1, -1] = [100 * by_question[language] for language in questions]
    values[-1, :-1] = [100 * by_context[language] for language in contexts]
    values[-1, -1] = 100 * (matrix.average("gxlt", metric) or 0.0)

    bound = max(1.0, float(np.nanmax(np.abs(values))))
    low, high = (-bound, bound) if signed else (float(np.nanmin(values)), float(np.nanmax(values)))
    colours = matplotlib.colormaps["RdBu" if signed else "viridis"]
    with matplotlib.rc_context({"svg.hashsalt": "polyspan", "svg.fonttype": "none"}):
        side = 1.6 + 0.62 * len(contexts)
        figure = Figure(figsize=(side, 1.4 + 0.5 * len(questions)), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            red, green, blue, _ = colours((value - low) / max(high - low, 1e-9))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
            axes.text(
                column,
                row,
                f"{value:+.1f}" if signed else f"{value:.1f}",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=9,
                fontweight="bold" if _on_diagonal(questions, contexts, row, column) else "normal",
            )
        axes.set_xticks(range(len(contexts) + 1), [*contexts, "mean"])
        axes.set_yticks(range(len(questions) + 1), [*questions, "mean"])
        axes.axhline(len(questions) - 0.5, color="white", linewidth=3)
        axes.axvline(len(contexts) - 0.5, color="white", linewidth=3)
        axes.set_xlabel("language of the context")
        axes.set_ylabel("language of the question")
        axes.set_title(title, fontsize=10)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _save(figure, path)


def _on_diagonal(questions: list[str], contexts: list[str], row: int, column: int) -> bool:
    return row < len(questions) and column < len(contexts) and questions[row] == contexts[column]


def _save(figure: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, metadata=metadata, dpi=150)  # type: ignore[attr-defined]
