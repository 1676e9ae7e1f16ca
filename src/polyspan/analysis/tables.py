"""The paper's tables from runs, in our form: F1 and EM unmixed, rates beside counts, intervals.

Numbers of Carrino et al. (2023) stand below ours where the data set is the one they used; they are
labelled as theirs, and were measured with another encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from polyspan.analysis.languages import language_name
from polyspan.analysis.paper import Method, Printed, load_paper
from polyspan.analysis.runs import Run, data_name
from polyspan.analysis.study import Group, Intervals, system_key
from polyspan.analysis.table import Cell, Number, Row, Table, mark_best
from polyspan.evaluation.compare import Comparison, Difference, Interval
from polyspan.evaluation.matrix import AVERAGES, METRICS, Average, Metric

SHOWN_PAIRS = 5
"""Best and worst pairs that are listed."""
INTERVAL_NOTE = "Intervals are at 95%, of a bootstrap over seed questions."
METHODS: dict[Method, str] = {
    "zero-shot": "zero-shot",
    "ce": "cross-entropy",
    "skd": "self-distillation",
    "skd-map": "self-distillation, mAP@k",
    "laf": "LAF (Bornea et al. 2021)",
}
_SHORT: dict[Average, str] = {
    "gxlt": "G-XLT",
    "gxlt_off_diagonal": "G-XLT off the diagonal",
    "xlt": "XLT",
    "micro": "micro",
}


def averages_table(group: Group) -> Table:
    """Every average of every run (Table 2)."""
    names: list[Average] = [
        name for name in AVERAGES if any(run.matrix.average(name, "f1") is not None for run in group.runs)
    ]
    if not group.cross_lingual:
        names = [name for name in names if name in ("xlt", "micro")]
    rows = []
    for run, intervals in zip(group.runs, group.intervals, strict=True):
        cells: list[Cell] = [
            _number(run.matrix.average(name, metric), intervals, metric, "average", name)
            for name in names
            for metric in METRICS
        ]
        rows.append(Row([run.name, *_training(run), *cells]))
    rows = mark_best(rows)
    published = group.runs[0].published_data
    paper = load_paper()
    if published is not None and published.startswith("mlqa"):
        for printed in paper.table2.rows:
            if scores := printed.scores.get(published):
                cells = [_printed(scores.get(name), metric) for name in names for metric in METRICS]
                setting: list[Cell] = [
                    METHODS[printed.method].split(" (")[0],
                    printed.target_languages,
                    None if printed.temperature is None else f"{printed.temperature:g}",
                    printed.examples,
                ]
                rows.append(Row([_source(printed.method), *setting, *cells], "paper"))
    groups = [("", 5), *((_SHORT[name], 2) for name in names)]
    columns = ["run", "method", "ntl", "T", "examples", *(metric.upper() for _ in names for metric in METRICS)]
    notes = [
        "G-XLT is the mean over all pairs of languages, the diagonal included; XLT is the diagonal's; micro weighs"
        " every question alike.",
        INTERVAL_NOTE,
        "ntl: target languages drawn for each seed question; T: temperature.",
    ]
    return Table(f"averages-{group.key}", f"Averages on {group.label} (%)", columns, rows, notes, groups, labels=2)


def languages_table(group: Group) -> Table:
    """Both settings and both scores by context language (Table 3, unmixed)."""
    languages = sorted({language for run in group.runs for language in run.matrix.context_languages})
    rows = []
    for run, intervals in zip(group.runs, group.intervals, strict=True):
        settings = ("G-XLT", "XLT") if run.is_cross_lingual else ("XLT",)
        for setting in settings:
            for metric in METRICS:
                by = run.matrix.by_language("context", metric)
                cells: list[Cell] = []
                for language in languages:
                    if setting == "G-XLT":
                        cells.append(_number(by.get(language), intervals, metric, "context_language", language))
                    else:
                        cell = run.matrix.cells.get((language, language))
                        value = None if cell is None else cell.value(metric)
                        cells.append(_number(value, intervals, metric, "pair", (language, language)))
                name: Average = "gxlt" if setting == "G-XLT" else "xlt"
                mean = _number(run.matrix.average(name, metric), intervals, metric, "average", name)
                rows.append(Row([run.name, setting, metric.upper(), *cells, mean]))
    published = group.runs[0].published_data
    paper = load_paper()
    for method, cells_of in (paper.table3.cells.get(published) or {}).items() if published else ():
        label = f"{METHODS[method]} ({paper.label})"
        f1s = {language: cell.gxlt_f1 for language, cell in cells_of.items()}
        ems = {language: cell.xlt_em for language, cell in cells_of.items() if cell.xlt_em is not None}
        for setting, metric_name, values in (("G-XLT", "F1", f1s), ("XLT", "EM", ems)):
            if values:
                numbers: list[Cell] = [_plain(values.get(language)) for language in languages]
                rows.append(Row([label, setting, metric_name, *numbers, None], "paper"))
    notes = [
        "G-XLT: mean over the question languages of each context language; XLT: question and context in the same"
        " language.",
        INTERVAL_NOTE,
    ]
    if published in ("mlqa-dev", "mlqa-test"):
        notes.append("The paper's Table 3 prints F1 of the one setting beside EM of the other, and no more.")
    columns = ["run", "setting", "score", *languages, "mean"]
    return Table(
        f"languages-{group.key}", f"By language of the context, {group.label} (%)", columns, rows, notes, labels=3
    )


def zero_shot_table(group: Group) -> Table | None:
    """Languages that no run was trained on, question and context in the same (Table 4).

    Of XQuAD and TyDiQA-GoldP these are the paper's, so that the means can be laid side by side. None
    where there are none, and for MLQA, whose languages `languages_table` shows.
    """
    published = group.runs[0].published_data
    if published in ("mlqa-dev", "mlqa-test"):
        return None
    paper = load_paper()
    printed_of = paper.table4.cells.get(published) if published else None
    trained = {language for run in group.runs for language in run.trained_languages}
    same = {question for run in group.runs for question, context in run.matrix.cells if question == context}
    languages = sorted((same & printed_of["zero-shot"].keys() if printed_of else same) - trained)
    if not languages:
        return None
    rows = []
    for run, intervals in zip(group.runs, group.intervals, strict=True):
        cells: list[Cell] = []
        for metric in METRICS:
            of_pairs = {
                language: cell.value(metric)
                for language in languages
                if (cell := run.matrix.cells.get((language, language))) is not None
            }
            cells.append(
                _plain(100 * sum(of_pairs.values()) / len(of_pairs)) if len(of_pairs) == len(languages) else None
            )
            cells += [
                _number(of_pairs.get(language), intervals, metric, "pair", (language, language))
                for language in languages
            ]
        # Scores of one language stand together.
        half = len(languages) + 1
        rows.append(Row([run.name, *(cell for pair in zip(cells[:half], cells[half:], strict=True) for cell in pair)]))
    rows = mark_best(rows)
    notes = ["Question and context in the same language, none of which was trained on.", INTERVAL_NOTE]
    for method, printed in (printed_of or {}).items():
        cells = []
        whole = set(languages) == printed.keys() - {"mean"}
        for language in ("mean", *languages):
            found = printed.get(language) if language != "mean" or whole else None
            cells += [_printed(found, metric) for metric in METRICS]
        label = f"{METHODS[method]} ({paper.label})" if method != "laf" else METHODS["laf"]
        rows.append(Row([label, *cells], "paper"))
    if published == "xquad":
        notes.append("These languages ask the same 1,190 questions that XQuAD trains on in others.")
    if published == "tydiqa-goldp" and paper.table4.note:
        notes.append(paper.table4.note)
    groups = [("", 1), ("mean", 2), *((language_name(language), 2) for language in languages)]
    columns = ["run", *(metric.upper() for _ in groups[1:] for metric in METRICS)]
    return Table(f"zero-shot-{group.key}", f"Zero-shot languages of {group.label} (%)", columns, rows, notes, groups)


def ranks_table(group: Group, index: int) -> Table | None:
    """At which rank the first correct answer of a run stands (Table 1).

    None without texts, or where one answer of a row was kept.
    """
    if group.ranks is None or group.ranks[index].depth < 2:
        return None
    run, ranks = group.runs[index], group.ranks[index]
    rows = []
    for language, asked in ranks.asked.items():
        counts = ranks.counts[language]
        found = sum(counts)
        shares = [f"{count} ({100 * count / asked:.1f})" for count in counts]
        first = _plain(100 * counts[0] / found) if found else None
        rows.append(Row([language, asked, *shares, _plain(100 * ranks.within(language)), first]))
    paper = load_paper()
    if run.published_data == paper.table1.data:
        for language, printed in paper.table1.counts.items():
            shown = [str(count) for count in printed[: ranks.depth]]
            shown += [""] * (ranks.depth - len(shown))
            label = f"{language} ({METHODS[paper.table1.method]}, {paper.label})"
            rows.append(Row([label, None, *shown, None, _plain(100 * printed[0] / sum(printed))], "paper"))
    notes = [
        "Counts of rows, in brackets per cent of those asked. Correct is the same string as a gold answer, not"
        " normalised, so that these rates are below EM.",
    ]
    groups = [("", 2), ("rank", ranks.depth), ("", 2)]
    last = ["any rank (%)", "of these, first (%)"]
    columns = ["question", "asked", *(str(rank) for rank in range(1, ranks.depth + 1)), *last]
    suffix = f"-{file_name(run.name)}" if len(group.runs) > 1 else ""
    return Table(
        f"ranks-{group.key}{suffix}", f"Answer ranks of {run.name}, {group.label}", columns, rows, notes, groups
    )


def pairs_table(group: Group, index: int) -> Table:
    """The pairs of languages with the highest and lowest F1 of a run."""
    run, intervals = group.runs[index], group.intervals[index]
    ordered = sorted(run.matrix.cells, key=lambda pair: (-run.matrix.cells[pair].f1, pair))
    most = min(SHOWN_PAIRS, len(ordered) // 2 or 1)
    rows = []
    for heading, pairs in (("best", ordered[:most]), ("worst", ordered[::-1][:most] if len(ordered) > 1 else [])):
        for question, context in pairs:
            cell = run.matrix.cells[question, context]
            scores = [_number(cell.value(m), intervals, m, "pair", (question, context)) for m in METRICS]
            rows.append(Row([heading, language_name(question), language_name(context), cell.questions, *scores]))
    columns = ["", "question", "context", "questions", "F1", "EM"]
    suffix = f"-{file_name(run.name)}" if len(group.runs) > 1 else ""
    title = f"Best and worst pairs of {run.name}, {group.label} (%)"
    return Table(f"pairs-{group.key}{suffix}", title, columns, rows, [INTERVAL_NOTE], labels=3)


def difference_table(group: Group, comparison: Comparison) -> Table:
    """Averages of a run minus those of the first, with intervals and tests."""
    rows = []
    for name, label in AVERAGES.items():
        for metric in METRICS:
            found = comparison.metrics[metric].averages.get(name)
            if found is not None and (group.cross_lingual or name in ("xlt", "micro")):
                rows.append(Row([label, metric.upper(), *_difference(found)]))
    notes = [
        f"{comparison.questions} seed questions, {comparison.rows:,} rows; intervals of a bootstrap and p of a"
        f" permutation test, both of whole seed questions, {comparison.draws:,} draws.",
        "Effect: Cohen's d of the paired differences by question.",
    ]
    columns = ["average", "score", comparison.b, comparison.a, "difference", "p", "effect"]
    title = f"{comparison.a} against {comparison.b}, {group.label}"
    key = f"difference-{group.key}-{file_name(comparison.a)}"
    return Table(key, title, columns, rows, notes, labels=2)


def systems_table(groups: Sequence[Group]) -> Table | None:
    """Each model over all data sets, ablations without cross-entropy marked (Table 5).

    None where there is neither a second data set nor an ablation.
    """
    runs = [run for group in groups for run in group.runs]
    ablation = any(run.without_cross_entropy for run in runs)
    if len(groups) < 2 and not ablation:
        return None
    columns, heads, rows = ["model", "method", "CE"], [("", 3)], []
    wanted: list[tuple[Group, Average]] = []
    for group in groups:
        for name in ("gxlt", "xlt") if group.cross_lingual else ("xlt",):
            wanted.append((group, name))
            columns += [metric.upper() for metric in METRICS]
            heads.append((f"{group.label} {_SHORT[name]}", 2))
    for system in dict.fromkeys(system_key(run) for run in runs):
        of_system = [run for run in runs if system_key(run) == system]
        cells: list[Cell] = []
        for group, name in wanted:
            run = next((run for run in group.runs if system_key(run) == system), None)
            for metric in METRICS:
                value = None if run is None else run.matrix.average(name, metric)
                cells.append(None if value is None else _plain(100 * value))
        first = of_system[0]
        method = METHODS[first.method] if first.method else None
        rows.append(Row([system_name(first), method, _yes(first), *cells]))
    rows = mark_best(rows)
    paper = load_paper()
    published = [group.runs[0].published_data for group, _ in wanted]
    if ablation and any(published):
        for printed in paper.table5.rows:
            cells = []
            for (_, name), data in zip(wanted, published, strict=True):
                scores: Mapping[str, Printed] = (printed.scores.get(data) or {}) if data else {}
                cells += [_printed(scores.get(name) or scores.get("mean"), metric) for metric in METRICS]
            row: list[Cell] = [paper.label, METHODS[printed.method], "yes" if printed.method == "ce" else "no"]
            rows.append(Row([*row, *cells], "paper"))
    notes = ["CE: whether the cross-entropy term was trained with; without it alpha_ce is 0."]
    return Table("models", "Models over all data sets (%)", columns, rows, notes, heads, labels=3)


def system_name(run: Run) -> str:
    """What the model of a run is called: its run folder's name, or its own."""
    if run.recipe is not None:
        return Path(str(run.recipe["run_dir"])).name
    return data_name(run.evaluation.model) if run.evaluation else run.name


def all_tables(groups: Sequence[Group]) -> list[Table]:
    """Every table that these runs allow, in the order of the report."""
    found: list[Table | None] = [systems_table(groups)]
    for group in groups:
        found += [averages_table(group), languages_table(group), zero_shot_table(group)]
        found += [difference_table(group, comparison) for comparison in group.comparisons]
        for index in range(len(group.runs)):
            found += [pairs_table(group, index), ranks_table(group, index)]
    return [table for table in found if table is not None]


def _source(method: Method) -> str:
    """Whose numbers a row of the paper shows."""
    return "Bornea et al. 2021" if method == "laf" else load_paper().label


def _training(run: Run) -> list[Cell]:
    method = METHODS[run.method] if run.method else None
    if run.recipe is None or run.method == "zero-shot":
        return [method, None, None, run.examples]
    temperature = None if run.temperature is None else f"{run.temperature:g}"
    return [method, run.target_languages, temperature, run.examples]


def _yes(run: Run) -> Cell:
    return None if run.recipe is None else "no" if run.without_cross_entropy else "yes"


def _number(value: float | None, intervals: Intervals | None, metric: Metric, kind: str, name: object) -> Number | None:
    """A share in [0, 1] and its interval, in percent."""
    if value is None:
        return None
    interval: Interval | None = None if intervals is None else intervals[metric].get(kind, {}).get(name)  # type: ignore[call-overload]
    if interval is None or interval.low is None or interval.high is None:
        return Number(100 * value)
    return Number(100 * value, 100 * interval.low, 100 * interval.high)


def _difference(found: Difference) -> Iterable[Cell]:
    gap = found.difference
    low, high = (None if end is None else 100 * end for end in (gap.low, gap.high))
    effect = None if found.effect is None else f"{found.effect:.2f}"
    return [
        Number(100 * found.b.value),
        Number(100 * found.a.value),
        Number(100 * gap.value, low, high, signed=True),
        f"{found.p:.4f}",
        effect,
    ]


def _plain(percent: float | None) -> Number | None:
    return None if percent is None else Number(percent)


def _printed(found: Printed | None, metric: Metric) -> Number | None:
    return None if found is None else _plain(found.f1 if metric == "f1" else found.em)


def file_name(name: str) -> str:
    """A name without what file systems and LaTeX labels stumble over."""
    return "-".join(part for part in "".join(c if c.isalnum() else "-" for c in name).split("-") if part)
