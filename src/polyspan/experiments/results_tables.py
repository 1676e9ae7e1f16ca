"""Tables of collected results: means over seeds, differences between methods, other data, the coefficient."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from polyspan.analysis.cells import INTERVAL_NOTE, METHODS, SHORT, number, printed_number, source
from polyspan.analysis.gains import Gain, gain_of
from polyspan.analysis.paper import DataSet, load_paper
from polyspan.analysis.runs import published_mlqa
from polyspan.analysis.study import Intervals
from polyspan.analysis.table import Cell, Number, Row, Table, mark_best
from polyspan.evaluation.compare import DRAWS, Difference, compare, score_intervals
from polyspan.evaluation.matrix import METRICS, Average, Metric
from polyspan.evaluation.resampling import holm
from polyspan.evaluation.rows import Method
from polyspan.experiments.keys import dotted
from polyspan.experiments.results import PARTS, Result, ResultsError, Scores

AVERAGES: tuple[Average, ...] = ("gxlt", "xlt")
_OF_A_RUN = ("run_dir", "seed", "training.save_steps", "evaluation")
"""Keys that change nothing of what a setting is: each evaluation says by itself what was asked."""
_OTHER_COLUMNS = ("data.target_languages", "objective.temperature", "objective.coefficient")
MOST_KEYS = 3
"""That are told in a label."""


@dataclass(frozen=True)
class Setting:
    """Runs of one recipe that differ in the random seed alone.

    Attributes:
        label: the method; where several settings share it, also what differs.
        results: the runs.
    """

    label: str
    results: Sequence[Result]

    @property
    def first(self) -> Result:
        """Stands for all in what they share."""
        return self.results[0]

    def scores(self, data: str) -> list[Scores]:
        """Those of a data set, one a run that was asked it."""
        return [scores for result in self.results for scores in result.scores if scores.data == data]

    def method(self, data: str) -> Method | None:
        """What is compared: the questions' own scores of each run; None if those of a run were not kept."""
        asked = [(result.seed, scores) for result in self.results for scores in result.scores if scores.data == data]
        if not asked or any(scores.rows is None for _, scores in asked):
            return None
        return Method(self.label, [scores.read_rows() for _, scores in asked], [seed for seed, _ in asked])

    def mean(self, data: str, average: Average, metric: Metric) -> float | None:
        """Over the runs, in [0, 1]."""
        values = [v for s in self.scores(data) if (v := s.matrix.average(average, metric)) is not None]
        return fmean(values) if values else None


def settings_of(results: Sequence[Result]) -> list[Setting]:
    """Put runs that differ in the seed alone together; zero-shot first, ablations without cross-entropy last.

    Runs of one recipe and one seed are the same run: the one that was asked most data stands for them.
    """
    groups: defaultdict[str, dict[Any, Result]] = defaultdict(dict)
    for result in sorted(results, key=lambda result: -len(result.scores)):
        kind = json.dumps([result.method, _keys(result, *_OF_A_RUN)], sort_keys=True)
        groups[kind].setdefault(result.name if result.recipe is None else result.seed, result)
    by_seed = (sorted(runs.values(), key=lambda run: run.seed or 0) for runs in groups.values())
    ordered = sorted(by_seed, key=lambda runs: _order(runs[0]))
    trees = [_told_in_label(runs[0]) for runs in ordered if _has_settings(runs[0])]
    usual = {
        key: Counter(str(tree[key]) for tree in trees if key in tree).most_common(1)[0][0]
        for key in dict.fromkeys(key for tree in trees for key in tree)
    }
    return [Setting(_label(runs[0], usual), runs) for runs in ordered]


def data_of(settings: Sequence[Setting]) -> list[str]:
    """Every data set that was asked, in the order in which it comes."""
    return list(dict.fromkeys(scores.data for setting in settings for run in setting.results for scores in run.scores))


def scores_table(settings: Sequence[Setting], data: str, draws: int = DRAWS) -> Table:
    """G-XLT and XLT of every setting on one data set, with the paper's rows where it has the same."""
    asked = [setting for setting in settings if setting.scores(data)]
    averages = _averages(settings, data)
    rows = []
    for setting in asked:
        first = setting.first
        intervals = _intervals(setting, data, draws)
        minutes = [run.timings["training_seconds"] / 60 for run in setting.results if "training_seconds" in run.timings]
        zero_shot = first.method == "zero-shot"
        cells: list[Cell] = [
            setting.label,
            None if zero_shot else first.target_languages,
            None if zero_shot or first.temperature is None else f"{first.temperature:g}",
            len(setting.scores(data)),
            first.counts.get("pairs"),
            f"{fmean(minutes):.0f}" if minutes else None,
        ]
        cells += [
            number(setting.mean(data, average, metric), intervals, metric, "average", average)
            for average in averages
            for metric in METRICS
        ]
        rows.append(Row(cells))
    rows = mark_best(rows)
    parts = {published_mlqa(data, scores.matrix) for setting in asked for scores in setting.scores(data)}
    if "mlqa" in data.lower() and len(parts) == 1 and (published := parts.pop()):
        rows += _paper_rows(published, averages)
    notes = [
        "G-XLT: mean over all pairs of languages, the diagonal included; XLT: the diagonal's."
        if "gxlt" in averages
        else "XLT: mean over the languages, each asked over its own texts.",
        f"{INTERVAL_NOTE} Where a setting has several seeds they also hold the luck of the seed.",
    ]
    columns = ["method", "ntl", "T", "seeds", "examples", "minutes", *["F1", "EM"] * len(averages)]
    groups = [("", 6), *((SHORT[average], 2) for average in averages)]
    return Table(f"scores-{data}", f"Scores on {data} (%)", columns, rows, notes, groups)


def differences_tables(
    settings: Sequence[Setting], data: str, draws: int = DRAWS, baseline: str | None = None
) -> list[Table]:
    """What each setting gains over another, paired by question; one table for each kind of contrast.

    Args:
        settings, data: what is compared on what.
        draws: of the bootstrap and of the permutation test.
        baseline: name of a run that all others are compared with, in place of the zero-shot reader.
    """
    import numpy as np

    methods = {id(setting): kept for setting in settings if (kept := setting.method(data)) is not None}
    known = [setting for setting in settings if id(setting) in methods]
    tables = []
    for title, contrasts in _contrasts(known, baseline).items():
        found = []
        for a, b in contrasts:
            averages = compare(methods[id(a)], methods[id(b)], draws=draws).metrics["f1"].averages
            found += [
                (a, b, average, averages[average]) for average in _averages(settings, data) if average in averages
            ]
        if not found:
            continue
        adjusted = holm(np.array([difference.p for *_, difference in found]))
        rows = [
            Row([_full_label(a), _full_label(b), SHORT[average], *_gain(difference, p)])
            for (a, b, average, difference), p in zip(found, adjusted, strict=True)
        ]
        notes = [
            "Differences are paired by question. Intervals are at 95%, of a bootstrap over seed questions that with"
            " several seeds also holds their luck, seed by seed where both have the same; p is adjusted over this"
            " table (Holm).",
        ]
        columns = ["method", "against", "average", "difference in F1", "p"]
        tables.append(Table("differences", f"{title}, {data}", columns, rows, notes, labels=3))
    return tables


def _averages(settings: Sequence[Setting], data: str) -> tuple[Average, ...]:
    """Those that a data set has; one in which no two languages meet has XLT alone, which would be told twice."""
    matrices = [scores.matrix for setting in settings for scores in setting.scores(data)]
    across = any(matrix.average("gxlt_off_diagonal", "f1") is not None for matrix in matrices)
    return AVERAGES if across else ("xlt",)


def gains_over_zero_shot(settings: Sequence[Setting], data: str, draws: int = DRAWS) -> list[Gain]:
    """Of each trained setting that was asked this data, F1 paired by question; empty if no two languages meet."""
    methods = [(setting, method) for setting in settings if (method := setting.method(data)) is not None]
    baseline = [method for setting, method in methods if setting.first.method == "zero-shot"]
    found = []
    for setting, method in methods:
        if not baseline or method is baseline[0]:
            continue
        compared = compare(method, baseline[0], draws=draws)
        found.append(gain_of(_full_label(setting), compared.metrics["f1"].averages))
    return [gain for gain in found if gain is not None]


def coefficient_table(settings: Sequence[Setting]) -> Table | None:
    """The mean coefficient in each tenth of the training (figures 4 and 7); None where no run has one."""
    rows = []
    for setting in settings:
        courses = [run.coefficient for run in setting.results if len(run.coefficient) == PARTS]
        if courses and setting.first.method not in ("skd", "skd-no-ce"):
            means = [f"{fmean(values):.2f}" for values in zip(*courses, strict=True)]
            rows.append(Row([_full_label(setting), *means]))
    if not rows:
        return None
    columns = ["method", *(f"{part}/{PARTS}" for part in range(1, PARTS + 1))]
    title = "The mAP@k coefficient over the training: its mean in each tenth"
    return Table("coefficients", title, columns, rows)


def all_tables(results: Sequence[Result], draws: int = DRAWS, baseline: str | None = None) -> list[Table]:
    """Scores and differences on each data set, then the coefficient; arguments as in `differences_tables`.

    Raises:
        ResultsError: there is no run of the baseline's name.
    """
    settings = settings_of(results)
    if baseline is not None and not any(_holds(setting, baseline) for setting in settings):
        names = ", ".join(sorted(result.name for setting in settings for result in setting.results))
        raise ResultsError(f"{baseline}: no run of this name; there are {names}")
    tables = []
    for name in data_of(settings):
        tables += [scores_table(settings, name, draws), *differences_tables(settings, name, draws, baseline)]
    coefficients = coefficient_table(settings)
    return tables if coefficients is None else [*tables, coefficients]


def _holds(setting: Setting, name: str) -> bool:
    return any(result.name == name for result in setting.results)


def _contrasts(settings: Sequence[Setting], baseline: str | None) -> dict[str, list[tuple[Setting, Setting]]]:
    """Pairs that answer the paper's claims, by what they ask."""
    if baseline is not None:
        chosen = [setting for setting in settings if _holds(setting, baseline)]
        return {f"Against {baseline}": [(a, b) for b in chosen for a in settings if a is not b]}
    zero_shot = [setting for setting in settings if setting.first.method == "zero-shot"]
    trained = [setting for setting in settings if setting.first.method != "zero-shot"]
    distilled = [setting for setting in trained if setting.first.method.startswith("skd")]
    cross_entropy = [setting for setting in trained if setting.first.method == "ce"]
    constant = [setting for setting in trained if setting.first.method == "skd"]
    return {
        "Trained against zero-shot": [(a, b) for a in trained for b in zero_shot],
        "Self-distillation against cross-entropy on the same examples": [
            (a, b) for a in distilled for b in cross_entropy if _alike(a, b, "objective", "training")
        ],
        "With the mAP@k coefficient against without": [
            (a, b)
            for a in distilled
            for b in constant
            if a is not b and _alike(a, b, "objective.coefficient", "objective.level")
        ],
        "More target languages": [
            (more, fewer)
            for fewer, more in pairwise(sorted(trained, key=lambda setting: _order(setting.first)))
            if fewer.first.method == more.first.method and _alike(more, fewer, "data.target_languages")
        ],
    }


def _alike(a: Setting, b: Setting, *but: str) -> bool:
    return _keys(a.first, *_OF_A_RUN, *but) == _keys(b.first, *_OF_A_RUN, *but)


def _keys(result: Result, *but: str) -> dict[str, Any]:
    """Of the recipe, without some keys or whole sections."""
    tree = dotted(result.recipe or {})
    return {
        key: value for key, value in tree.items() if not any(key == out or key.startswith(f"{out}.") for out in but)
    }


def _has_settings(result: Result) -> bool:
    """Whether it can differ from others in a setting: zero-shot is one thing, and of others none may be known."""
    return result.method != "zero-shot" and result.recipe is not None


def _told_in_label(result: Result) -> dict[str, Any]:
    """What neither a column nor the method tells."""
    by_method = ["objective.alpha_kl"] if result.method == "ce" else []
    if result.method.endswith("-no-ce"):
        by_method.append("objective.alpha_ce")
    return _keys(result, *_OF_A_RUN, *_OTHER_COLUMNS, *by_method)


def _order(result: Result) -> tuple[Any, ...]:
    method = result.method
    rank = {"zero-shot": 0, "ce": 1, "skd": 2}.get(method, 3)
    keys = _keys(result)
    rest = json.dumps(_keys(result, *_OF_A_RUN, *_OTHER_COLUMNS), sort_keys=True)
    ntl, heat = keys.get("data.target_languages", 0), keys.get("objective.temperature", 0)
    return method.endswith("-no-ce"), rank, method, rest, heat, ntl


def _intervals(setting: Setting, data: str, draws: int) -> Intervals | None:
    method = setting.method(data)
    if method is None or len({row.id for row in method.runs[0]}) < 2:
        return None
    return score_intervals(method, draws=draws)


def _paper_rows(published: DataSet, averages: Sequence[Average]) -> list[Row]:
    paper = load_paper()
    rows = []
    for table in (paper.table2, paper.table5):
        for printed in table.rows:
            scores: Mapping[str, Any] = printed.scores.get(published) or {}
            if not scores or (table is paper.table5 and printed.method == "ce"):
                continue
            name = METHODS[printed.method].split(" (")[0] + (", without CE" if table is paper.table5 else "")
            heat = None if printed.temperature is None else f"{printed.temperature:g}"
            cells: list[Cell] = [f"{name} ({source(printed.method)})", printed.target_languages, heat, None]
            cells += [printed.examples, None]
            cells += [printed_number(scores.get(name), metric) for name in averages for metric in METRICS]
            rows.append(Row(cells, "paper"))
    return rows


def _gain(found: Difference, p: float) -> list[Cell]:
    low, high = (None if end is None else 100 * end for end in (found.difference.low, found.difference.high))
    return [Number(100 * found.difference.value, low, high, signed=True), f"{p:.4f}"]


def _label(result: Result, usual: Mapping[str, str]) -> str:
    """The method, and every key that is not as in most settings; the run's name where these are many."""
    if not _has_settings(result):
        return result.method
    tree = _told_in_label(result)
    shown = [
        f"{key.rpartition('.')[2]} {value}"
        for key, value in tree.items()
        if str(value) != usual[key] and not key.startswith("data.replay")
    ]
    if any(key.startswith("data.replay.") for key in tree):
        shown.append(f"replay {tree.get('data.replay.seeds') or 'of all'}")
    if len(shown) > MOST_KEYS:
        return f"{result.method} ({result.name})"
    return f"{result.method}, {', '.join(shown)}" if shown else result.method


def _full_label(setting: Setting) -> str:
    first = setting.first
    if not _has_settings(first):
        return setting.label
    heat = "" if first.temperature is None else f", T {first.temperature:g}"
    return f"{setting.label}, ntl {first.target_languages}{heat}"
