"""Runs of which the scores are known and the folder may be elsewhere, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from polyspan.analysis.paper import Method
from polyspan.analysis.runs import Run
from polyspan.evaluation.matrix import ScoreMatrix


@dataclass(frozen=True)
class ScoredRun(Run):
    """A run whose scores come from where they were reported to, not from its folder."""

    scores: ScoreMatrix | None = None

    @cached_property
    def matrix(self) -> ScoreMatrix:
        """The scores that were reported."""
        assert self.scores is not None
        return self.scores

    @property
    def method(self) -> Method | None:
        """As of any run; one without a recipe is zero-shot."""
        return super().method if self.recipe is not None else "zero-shot"


def scored_run(folder: Path, recipe: Mapping[str, Any] | None, scores: ScoreMatrix) -> ScoredRun:
    """A run for tables and figures that need its recipe and its matrix.

    Args:
        folder: its name is the run's.
        recipe: None for the zero-shot reader.
        scores: what was reported.
    """
    return ScoredRun(folder, folder, folder.name, (), (), recipe=recipe, scores=scores)


def draw_sweep_figures(runs: Sequence[Run], folder: Path, data: str) -> list[Path]:
    """Scores against ntl (figures 5 and 11), and by T and ntl (6 and 10), where both were varied.

    Args:
        runs: over one data set.
        folder: where the figures go.
        data: the name of the data set, or of what else the titles begin with.
    """
    from polyspan.analysis.cells import METHODS
    from polyspan.analysis.sweeps import draw_target_languages, draw_temperatures, grid_methods, has_curves

    written = []
    if has_curves(runs):
        written.append(folder / "target-languages.svg")
        draw_target_languages(runs, written[-1], "f1", f"{data}: F1 against the number of target languages")
    for method in grid_methods(runs):
        written.append(folder / f"temperature-{method}.svg")
        draw_temperatures(runs, written[-1], method, "f1", f"{data}: G-XLT by temperature and ntl, {METHODS[method]}")
    return written
