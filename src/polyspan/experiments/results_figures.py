"""Figures of collected results: heat maps, gains of all methods, and sweeps over ntl and T."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from polyspan.analysis.cells import file_name
from polyspan.analysis.gains import draw_gains
from polyspan.analysis.heatmap import draw_matrix
from polyspan.evaluation.compare import DRAWS
from polyspan.evaluation.matrix import Cell, ScoreMatrix, difference
from polyspan.experiments.results import Result, ResultsError
from polyspan.experiments.results_tables import Setting, data_of, gains_over_zero_shot, settings_of
from polyspan.experiments.scored_runs import ScoredRun, draw_sweep_figures, scored_run

SWEPT = ("zero-shot", "ce", "skd", "skd-first_hit")
"""Methods that have a line in the paper's figures."""


def draw_results(results: Sequence[Result], folder: Path, draws: int = DRAWS) -> list[Path]:
    """Draw every figure that these results allow.

    For each method its setting with the most seeds, their mean, on the data that zero-shot was first
    asked or, where it was not asked these, on its own first: ``matrix-METHOD.svg`` (figures 1 and 8)
    and, where zero-shot is there, ``gain-METHOD.svg`` (figures 3 and 9). For each data set that
    several were asked across languages ``gains-DATA.svg``, these settings against zero-shot. Where ntl,
    or T and ntl, were varied: ``target-languages.svg`` (5 and 11) and ``temperature-METHOD.svg`` (6
    and 10).
    """
    settings = settings_of(results)
    asked_first = settings[0].first.scores[0].data
    shown: dict[str, Setting] = {}
    for setting in settings:
        if setting.label not in shown or len(setting.results) > len(shown[setting.label].results):
            shown[setting.label] = setting
    zero_shot = [setting for setting in settings if setting.first.method == "zero-shot"]
    written = []
    for label, setting in shown.items():
        data = asked_first if setting.scores(asked_first) else setting.first.scores[0].data
        matrix = _mean_matrix(setting, data)
        seeds = len(setting.scores(data))
        title = f"{label}, {data}" + (f", mean of {seeds} seeds" if seeds > 1 else "")
        written.append(folder / f"matrix-{file_name(label)}.svg")
        draw_matrix(matrix, written[-1], "f1", title)
        if zero_shot and setting not in zero_shot and zero_shot[0].scores(data):
            written.append(folder / f"gain-{file_name(label)}.svg")
            gain = difference(matrix, _mean_matrix(zero_shot[0], data))
            draw_matrix(gain, written[-1], "f1", f"{title}, minus zero-shot", signed=True)
    for data in data_of(settings):
        if len(gains := gains_over_zero_shot(list(shown.values()), data, draws)) > 1:
            written.append(folder / f"gains-{file_name(data)}.svg")
            draw_gains(gains, written[-1], "f1", f"{data}: gains over zero-shot", "zero-shot")
    data, swept = _swept(settings)
    return [*written, *draw_sweep_figures(swept, folder, data)]


def _swept(settings: Sequence[Setting]) -> tuple[str, list[ScoredRun]]:
    """Runs of the paper's methods, and zero-shot, on the data that most of them were asked, and its name.

    Of them the random seeds that all settings have, so that what differs is the setting; where there is no
    such seed, every run.
    """
    drawn = [setting for setting in settings if setting.label in SWEPT]
    seeds = [{result.seed for result in setting.results} for setting in drawn if setting.first.recipe is not None]
    common = set.intersection(*seeds) if seeds else set()
    of_data: defaultdict[str, list[ScoredRun]] = defaultdict(list)
    for setting in drawn:
        for result in setting.results:
            if result.recipe is None or not common or result.seed in common:
                for scores in result.scores:
                    of_data[scores.data].append(scored_run(Path(result.name), result.recipe, scores.matrix))
    return max(of_data.items(), key=lambda item: len(item[1]), default=("", []))


def _mean_matrix(setting: Setting, data: str) -> ScoreMatrix:
    return mean_matrix([scores.matrix for scores in setting.scores(data)])


def mean_matrix(matrices: Sequence[ScoreMatrix]) -> ScoreMatrix:
    """The mean of each cell over runs that were asked the same.

    Raises:
        ResultsError: they were asked different pairs of languages.
    """
    if any(matrix.cells.keys() != matrices[0].cells.keys() for matrix in matrices):
        raise ResultsError(
            "runs of one setting were asked different pairs of languages; evaluate them on the same files, and collect"
            " them again"
        )
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
