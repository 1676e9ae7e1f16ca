"""Figures of collected results: heat maps of scores and gains, and sweeps over ntl and T."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from polyspan.analysis.cells import file_name
from polyspan.analysis.heatmap import draw_matrix
from polyspan.evaluation.matrix import Cell, ScoreMatrix, difference
from polyspan.experiments.results import Result
from polyspan.experiments.results_tables import Setting, settings_of
from polyspan.experiments.scored_runs import draw_sweep_figures, scored_run

SWEPT = ("ce", "skd", "skd-first_hit")
"""Methods that have a line in the paper's figures."""


def draw_results(results: Sequence[Result], folder: Path) -> list[Path]:
    """Draw, on the data that zero-shot was first asked, or the first data there are.

    For each method its setting with the most seeds, their mean: ``matrix-METHOD.svg`` (figures 1 and
    8) and, where zero-shot is there, ``gain-METHOD.svg`` (figures 3 and 9). Where ntl, or T and ntl,
    were varied: ``target-languages.svg`` (5 and 11) and ``temperature-METHOD.svg`` (6 and 10).
    """
    settings = settings_of(results)
    data = settings[0].first.scores[0].data
    asked = [setting for setting in settings if setting.scores(data)]
    shown: dict[str, Setting] = {}
    for setting in asked:
        if len(setting.results) > len(shown[setting.label].results if setting.label in shown else ()):
            shown[setting.label] = setting
    matrices = {label: mean_matrix([s.matrix for s in setting.scores(data)]) for label, setting in shown.items()}
    baseline = matrices.get("zero-shot")
    written = []
    for label, matrix in matrices.items():
        seeds = len(shown[label].scores(data))
        title = f"{label}, {data}" + (f", mean of {seeds} seeds" if seeds > 1 else "")
        written.append(folder / f"matrix-{file_name(label)}.svg")
        draw_matrix(matrix, written[-1], "f1", title)
        if baseline is not None and matrix is not baseline:
            written.append(folder / f"gain-{file_name(label)}.svg")
            draw_matrix(difference(matrix, baseline), written[-1], "f1", f"{title}, minus zero-shot", signed=True)
    swept = [
        scored_run(Path(result.name), result.recipe, scores.matrix)
        for setting in asked
        if setting.label in SWEPT
        for result in setting.results
        for scores in result.scores
        if scores.data == data and result.recipe is not None
    ]
    return [*written, *draw_sweep_figures(swept, folder)]


def mean_matrix(matrices: Sequence[ScoreMatrix]) -> ScoreMatrix:
    """The mean of each cell over runs that were asked the same."""
    return ScoreMatrix(
        {
            pair: Cell(
                cell.questions,
                fmean(matrix.cells[pair].f1 for matrix in matrices),
                fmean(matrix.cells[pair].em for matrix in matrices),
            )
            for pair, cell in matrices[0].cells.items()
        }
    )
