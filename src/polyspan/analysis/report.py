"""Run folders to a report: an HTML page, tables in Markdown and LaTeX, figures in SVG, PNG and PDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from polyspan.analysis.calibration_figures import draw_reliability, draw_risk_coverage
from polyspan.analysis.cells import METHODS, file_name, system_names
from polyspan.analysis.curves import draw_coefficients, draw_loss
from polyspan.analysis.distribution import Distribution, answer_distribution, draw_distribution
from polyspan.analysis.gains import draw_gains, gain_of
from polyspan.analysis.heatmap import draw_matrix
from polyspan.analysis.inline import inline_svg
from polyspan.analysis.languages import language_name
from polyspan.analysis.page import PageFigure, render_page
from polyspan.analysis.run_tables import (
    calibration_table,
    difference_table,
    matrix_table,
    other_table,
    pairs_table,
    ranks_table,
)
from polyspan.analysis.runs import ReportError, Run, without_paths
from polyspan.analysis.study import Group, free_key, system_key
from polyspan.analysis.sweeps import comparable, draw_target_languages, draw_temperatures, grid_methods, has_curves
from polyspan.analysis.table import Table, to_latex, to_markdown
from polyspan.analysis.tables import averages_table, languages_table, systems_table, zero_shot_table
from polyspan.corpus.model import CorpusError, Pair
from polyspan.errors import PolyspanError
from polyspan.evaluation.matrix import METRICS, difference
from polyspan.files import read_text, write_text

if TYPE_CHECKING:
    from polyspan.models.load import LoadedModel

PAGE = "report.html"
WRITTEN = ".written"
"""Names of all files that a report wrote into its folder."""


@dataclass
class _Figures:
    """Draws each figure in every format and keeps its SVG for the page."""

    folder: Path
    written: list[Path] = field(default_factory=list)

    def draw(self, key: str, draw: Callable[[Path], None], caption: str) -> PageFigure:
        key = free_key(key, {path.stem for path in self.written})
        paths = [self.folder / f"{key}.{suffix}" for suffix in ("svg", "png", "pdf")]
        for path in paths:
            draw(path)
        self.written += paths
        return PageFigure(inline_svg(paths[0].read_text(encoding="utf-8"), key, caption), caption)


def write_report(
    groups: Sequence[Group],
    output: Path,
    example: Pair | None = None,
    title: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Path]:
    """Write ``report.html``, ``tables/`` and ``figures/`` into a folder.

    Args:
        groups: runs by what they were asked.
        output: the folder; files of an earlier report in it are replaced or deleted.
        example: whose start and end distributions are drawn; one whose answer stands second or
            third is chosen when None. Needs a model on this machine.
        title: of the page.
        progress: told what is done next.

    Returns:
        What was written, the page first.

    Raises:
        ReportError: the example was named and is not there.
        ScoringError: runs of one group were asked different questions.
    """
    tables = []
    progress("intervals and tests")
    for table in all_tables(groups):
        for suffix, text in (("md", to_markdown(table)), ("tex", to_latex(table))):
            tables.append(output / "tables" / f"{table.key}.{suffix}")
            write_text(tables[-1], text)
    progress("figures")
    figures = _Figures(output / "figures")
    for group in groups:
        _draw_matrices(group, figures)
    gains = [figure for group in groups for figure in _draw_gains(group, figures)]
    sweeps = [figure for group in groups for figure in _draw_sweeps(group, figures)]
    curves = _draw_curves([run for group in groups for run in group.runs], figures)
    calibrations = [(run, _draw_calibration(run, figures)) for group in groups for run in group.runs if run.calibration]
    progress("the distribution of one example")
    distributions, notes = _draw_example(groups, example, figures)
    progress("the page")
    page = output / PAGE
    write_text(page, render_page(groups, gains, sweeps, curves, calibrations, distributions, notes, title))
    written = [page, *tables, *figures.written]
    _remove_older(output, written)
    return written


def _remove_older(output: Path, written: Sequence[Path]) -> None:
    """Delete what an earlier report wrote here and this one does not have: nobody is to cite it any more."""
    names = {path.relative_to(output).as_posix() for path in written}
    note = output / WRITTEN
    before = set(read_text(note, ReportError).splitlines()) if note.is_file() else set()
    write_text(note, "".join(f"{name}\n" for name in sorted(names)))
    for name in before - names:
        place = output / name
        if place.parent.parent == output and ".." not in place.parts:
            place.unlink(missing_ok=True)


def all_tables(groups: Sequence[Group]) -> list[Table]:
    """Every table that these runs allow, in the order of the report."""
    found: list[Table | None] = [systems_table(groups)]
    for group in groups:
        found += [averages_table(group), languages_table(group), zero_shot_table(group), other_table(group)]
        found += [difference_table(group, comparison) for comparison in group.comparisons]
        for index in range(len(group.runs)):
            found += [pairs_table(group, index), ranks_table(group, index)]
            found += [matrix_table(group, index, metric) for metric in METRICS]
    found += [calibration_table(run) for group in groups for run in group.runs]
    tables: dict[str, Table] = {}
    for table in found:
        if table is not None:
            key = free_key(table.key, tables)
            tables[key] = replace(table, key=key)
    return list(tables.values())


def _draw_matrices(group: Group, figures: _Figures) -> None:
    """Heat maps of each run (figures 1 and 8) and of its gain over the first (figures 3 and 9)."""
    first = group.runs[0]
    for run in group.runs:
        name = file_name(run.name)
        for metric in METRICS:
            title = f"{run.name}, {group.label}"
            draw = partial(draw_matrix, run.matrix, metric=metric, title=title)
            figures.draw(f"matrix-{group.key}-{name}-{metric}", draw, title)
            if run is not first:
                title = f"{run.name} minus {first.name}"
                gain = difference(run.matrix, first.matrix)
                draw = partial(draw_matrix, gain, metric=metric, title=title, signed=True)
                figures.draw(f"gain-{group.key}-{name}-{metric}", draw, title)


def _draw_gains(group: Group, figures: _Figures) -> list[PageFigure]:
    """All later runs over the first, across languages and within one, where there are two or more."""
    drawn = []
    for metric in METRICS:
        found = [gain_of(compared.a, compared.metrics[metric].averages) for compared in group.comparisons]
        gains = [gain for gain in found if gain is not None]
        if len(gains) < 2:
            continue
        title = f"{group.label}: gains over {group.runs[0].name}"
        caption = f"{metric.upper()} of each run less {group.runs[0].name}'s, with 95% intervals: {group.label}"
        draw = partial(draw_gains, gains, metric=metric, title=title, baseline=group.runs[0].name)
        drawn.append(figures.draw(f"gains-{group.key}-{metric}", draw, caption))
    return drawn


def _draw_sweeps(group: Group, figures: _Figures) -> list[PageFigure]:
    """Scores against ntl (figures 5 and 11), and by temperature and ntl (figures 6 and 10)."""
    drawn = []
    runs = comparable(group.runs)
    names = {run.name for run in runs}
    left_out = "".join(f"; {run.name} differs in more and is left out" for run in group.runs if run.name not in names)
    if has_curves(runs):
        for metric in METRICS:
            title = f"{metric.upper()} by the number of target languages, {group.label}"
            draw = partial(draw_target_languages, runs, metric=metric, title=title)
            drawn.append(figures.draw(f"ntl-{group.key}-{metric}", draw, title + left_out))
    for method in grid_methods(runs):
        for metric in METRICS:
            title = f"{METHODS[method]}, {group.label}"
            grid = partial(draw_temperatures, runs, method=method, metric=metric, title=title)
            average = "G-XLT " if group.cross_lingual else ""
            caption = f"{average}{metric.upper()} by temperature and number of target languages: {title}{left_out}"
            drawn.append(figures.draw(f"grid-{group.key}-{method}-{metric}", grid, caption))
    return drawn


def _draw_curves(runs: Sequence[Run], figures: _Figures) -> list[PageFigure]:
    """Coefficient (figures 4 and 7) and loss of each training, once a training."""
    drawn, seen, names = [], set(), system_names(runs)
    for run in runs:
        if not run.history or system_key(run) in seen:
            continue
        seen.add(system_key(run))
        name = names[system_key(run)]
        objective = {} if run.recipe is None else run.recipe["objective"]
        if objective.get("alpha_kl") and objective["coefficient"] != "constant":
            known = [row["coefficient"] for row in run.history if isfinite(row["coefficient"])]
            average = f", {fmean(known):.2f} on average" if known else ""
            caption = (
                f"The coefficient of {name} over training{average}."
                " Thin: each step; thick: running mean; dashed: ends of epochs."
            )
            draw = partial(draw_coefficients, run.history, title=f"Coefficient, {name}")
            drawn.append(figures.draw(f"coefficient-{file_name(name)}", draw, caption))
        caption = f"The loss of {name} over training, and its terms before weighting."
        draw = partial(draw_loss, run.history, title=f"Loss, {name}")
        drawn.append(figures.draw(f"loss-{file_name(name)}", draw, caption))
    return drawn


def _draw_calibration(run: Run, figures: _Figures) -> list[PageFigure]:
    """Reliability, and risk against coverage, where they were measured."""
    measured = run.calibration.get("measured")
    if not measured:
        return []
    name = file_name(run.name)
    title = f"Reliability of {run.name}"
    reliability = partial(draw_reliability, measured, title=title)
    risk = partial(draw_risk_coverage, measured, title=f"Risk and coverage of {run.name}")
    return [
        figures.draw(f"reliability-{name}", reliability, f"{title}: the share that was right by what the model said."),
        figures.draw(f"risk-coverage-{name}", risk, f"What share of {run.name}'s answers is wrong, the surest first."),
    ]


def _draw_example(
    groups: Sequence[Group], example: Pair | None, figures: _Figures
) -> tuple[list[PageFigure], list[str]]:
    """The start and end distributions of one example (figure 2), from the first run whose model is here."""
    why = "no texts are here"
    tried: set[str] = set()
    for group in groups:
        if group.corpus is None or (example is not None and example.id not in group.corpus.seeds):
            continue
        for index, run in enumerate(group.runs):
            pair = example or _telling_example(group, index)
            if run.evaluation is None or pair is None or system_key(run) in tried:
                continue
            tried.add(system_key(run))
            try:
                loaded = _load(run, fetch=example is not None)
                found = answer_distribution(loaded.model, loaded.tokenizer, group.corpus, pair, *_window(run))
            except CorpusError as error:
                if example is not None:
                    raise ReportError(str(error)) from error
                why = str(error)
                continue
            except PolyspanError as error:
                why = str(error)
                continue
            title = f"Start and end: question in {pair.question_language}, text in {pair.context_language}"
            caption = _tell(found, run.name, group.corpus.question(pair))
            draw = partial(draw_distribution, found, title=title)
            return [figures.draw(f"distribution-{file_name(run.name)}", draw, caption)], []
    if example is not None:
        raise ReportError(f"--example {example.id}: cannot be drawn: no run was asked it, or {why}")
    return [], [without_paths(f"The start and end distributions of an example are not drawn: {why}.")]


def _load(run: Run, fetch: bool) -> LoadedModel:
    """The model of a run, out of its run folder if it lies there still.

    Args:
        run: with an evaluation.
        fetch: whether a model of the hub that is not on this machine is worth the way.

    Raises:
        ModelError: it is not here, or cannot be loaded.
    """
    from polyspan.models import ModelError, load_model
    from polyspan.models.load import model_folder

    assert run.evaluation is not None
    name, own = run.evaluation.model, run.home / "model"
    place = own if run.recipe is not None and own.is_dir() else model_folder(name)
    if place is None and not fetch:
        raise ModelError(f"{name} is not on this machine (--example ID fetches it)")
    return load_model(str(place or name))


def _window(run: Run) -> tuple[int, int]:
    """k and delta of the run's coefficient, or the defaults."""
    if run.recipe is None:
        return 10, 5
    return run.recipe["objective"]["k"], run.recipe["objective"]["delta"]


def _telling_example(group: Group, index: int) -> Pair | None:
    """A row across languages, the first whose correct answer stands second or third if there is one."""
    if group.first_correct is None or group.corpus is None:
        return None
    chosen: list[tuple[bool, Pair]] = []
    for row, rank in zip(group.runs[index].rows, group.first_correct[index], strict=True):
        pair = Pair(row.id, row.question_language, row.context_language)
        crosses = row.question_language != row.context_language or not group.cross_lingual
        if crosses and group.corpus.answers(pair):
            chosen.append((rank in (2, 3), pair))
    return next((pair for telling, pair in chosen if telling), chosen[0][1] if chosen else None)


def _tell(found: Distribution, name: str, question: str) -> str:
    pair = found.pair
    languages = f"question in {language_name(pair.question_language)}, text in {language_name(pair.context_language)}"
    hits = []
    for head in ("start", "end"):
        rank = found.first_hit(head)
        hits.append(f"{head}: {f'rank {rank}' if rank else f'none of {found.k}'}")
    # The isolates keep a right-to-left question from turning the sentence around.
    return (
        f"Where {name} sees the answer to “\u2068{question}\u2069” ({pair.id}; {languages}). The band is the interval"
        f" around the gold position, from {found.delta} tokens before it to {found.delta - 1} after it; first of the"
        f" best {found.k} inside it, {', '.join(hits)}."
    )
