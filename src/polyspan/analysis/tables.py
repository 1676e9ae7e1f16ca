"""The paper's tables of scores from runs, in our form: F1 and EM unmixed, with intervals.

Numbers of Carrino et al. (2023) stand below ours where the data set is the one they used; they are
labelled as theirs, and were measured with another encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyspan.analysis.cells import (
    INTERVAL_NOTE,
    METHODS,
    PAPER,
    SHORT,
    number,
    paper_note,
    plain,
    printed_number,
    system_names,
)
from polyspan.analysis.languages import language_name
from polyspan.analysis.paper import Printed, load_paper
from polyspan.analysis.runs import Run
from polyspan.analysis.study import Group, system_key
from polyspan.analysis.table import Cell, Row, Table, mark_best
from polyspan.evaluation.matrix import AVERAGES, METRICS, Average, Metric


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
            number(run.matrix.average(name, metric), intervals, metric, "average", name)
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
                cells = [printed_number(scores.get(name), metric) for name in names for metric in METRICS]
                setting: list[Cell] = [
                    METHODS[printed.method].split(" (")[0],
                    printed.target_languages,
                    None if printed.temperature is None else f"{printed.temperature:g}",
                    printed.examples,
                ]
                whose = PAPER if printed.method != "laf" else "Bornea et al. 2021"
                rows.append(Row([whose, *setting, *cells], "paper"))
    groups = [("", 5), *((SHORT[name], 2) for name in names)]
    columns = ["run", "method", "ntl", "T", "examples", *(metric.upper() for _ in names for metric in METRICS)]
    notes = [
        "G-XLT is the mean over all pairs of languages, the diagonal included; XLT is the diagonal's; micro weighs"
        " every question alike.",
        INTERVAL_NOTE,
        "ntl: target languages drawn for each seed question; T: temperature.",
        *([paper_note(group.runs[0])] if rows[-1].source == "paper" else []),
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
                        cells.append(number(by.get(language), intervals, metric, "context_language", language))
                    else:
                        cell = run.matrix.cells.get((language, language))
                        value = None if cell is None else cell.value(metric)
                        cells.append(number(value, intervals, metric, "pair", (language, language)))
                name: Average = "gxlt" if setting == "G-XLT" else "xlt"
                mean = number(run.matrix.average(name, metric), intervals, metric, "average", name)
                rows.append(Row([run.name, setting, metric.upper(), *cells, mean]))
    published = group.runs[0].published_data
    paper = load_paper()
    for method, cells_of in (paper.table3.cells.get(published) or {}).items() if published else ():
        label = f"{METHODS[method]} ({PAPER})"
        f1s = {language: cell.gxlt_f1 for language, cell in cells_of.items()}
        ems = {language: cell.xlt_em for language, cell in cells_of.items() if cell.xlt_em is not None}
        for setting, metric_name, values in (("G-XLT", "F1", f1s), ("XLT", "EM", ems)):
            if values:
                numbers: list[Cell] = [plain(values.get(language)) for language in languages]
                rows.append(Row([label, setting, metric_name, *numbers, None], "paper"))
    notes = [
        "G-XLT: mean over the question languages of each context language; XLT: question and context in the same"
        " language.",
        INTERVAL_NOTE,
    ]
    if published in ("mlqa-dev", "mlqa-test"):
        notes += [
            paper_note(group.runs[0]),
            "Its Table 3 prints F1 of the one setting beside EM of the other, and no more.",
        ]
    columns = ["run", "setting", "score", *languages, "mean"]
    return Table(
        f"languages-{group.key}", f"By language of the context, {group.label} (%)", columns, rows, notes, labels=3
    )


def zero_shot_table(group: Group) -> Table | None:
    """Languages that no run was trained on, question and context in the same (Table 4).

    Of XQuAD and TyDiQA-GoldP these are the paper's, so that the means can be laid side by side. None
    where there are none or nobody knows, and for MLQA, whose languages `languages_table` shows.
    """
    published = group.runs[0].published_data
    if published in ("mlqa-dev", "mlqa-test"):
        return None
    paper = load_paper()
    printed_of = paper.table4.cells.get(published) if published else None
    languages = _zero_shot_languages(group)
    unknown = [run.name for run in group.runs if not run.knows_training]
    if not languages or (unknown and not printed_of):
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
            mean = _zero_shot_mean(run, languages, metric)
            whole = run.matrix.cells.keys() & {(code, code) for code in run.matrix.context_languages} == of_pairs.keys()
            cells.append(
                number(mean, intervals, metric, "average", "xlt")
                if whole and len(of_pairs) == len(languages)
                else None
                if mean is None
                else plain(100 * mean)
            )
            cells += [
                number(of_pairs.get(language), intervals, metric, "pair", (language, language))
                for language in languages
            ]
        # Scores of one language stand together.
        half = len(languages) + 1
        rows.append(Row([run.name, *(cell for pair in zip(cells[:half], cells[half:], strict=True) for cell in pair)]))
    rows = mark_best(rows)
    unseen = f"the paper's; what {', '.join(unknown)} was trained on is told by no recipe here"
    notes = [
        f"Question and context in the same language, {unseen if unknown else 'none of which was trained on'}.",
        INTERVAL_NOTE,
    ]
    for method, printed in (printed_of or {}).items():
        cells = []
        whole = set(languages) == printed.keys() - {"mean"}
        for language in ("mean", *languages):
            found = printed.get(language) if language != "mean" or whole else None
            cells += [printed_number(found, metric) for metric in METRICS]
        label = f"{METHODS[method]} ({PAPER})" if method != "laf" else METHODS["laf"]
        rows.append(Row([label, *cells], "paper"))
    if printed_of:
        notes.append(paper_note(group.runs[0]))
    if published == "xquad":
        notes.append("These languages ask the same 1,190 questions that XQuAD trains on in others.")
    if published == "tydiqa-goldp" and paper.table4.note:
        notes.append(paper.table4.note)
    groups = [("", 1), ("mean", 2), *((language_name(language), 2) for language in languages)]
    columns = ["run", *(metric.upper() for _ in groups[1:] for metric in METRICS)]
    return Table(f"zero-shot-{group.key}", f"Zero-shot languages of {group.label} (%)", columns, rows, notes, groups)


def _zero_shot_languages(group: Group) -> list[str]:
    """Languages asked over their own texts and not trained on; of the paper's sets only the paper's."""
    published = group.runs[0].published_data
    printed = load_paper().table4.cells.get(published) if published else None
    trained = {language for run in group.runs for language in run.trained_languages}
    same = {question for run in group.runs for question, context in run.matrix.cells if question == context}
    return sorted((same & printed["zero-shot"].keys() if printed else same) - trained)


def _zero_shot_mean(run: Run, languages: Sequence[str], metric: Metric) -> float | None:
    """Mean over the diagonal of these languages, in [0, 1]; None where one was not asked."""
    cells = [run.matrix.cells.get((language, language)) for language in languages]
    found = [cell.value(metric) for cell in cells if cell is not None]
    return sum(found) / len(found) if found and len(found) == len(cells) else None


def systems_table(groups: Sequence[Group]) -> Table | None:
    """Each model over all data sets, ablations without cross-entropy marked (Table 5).

    None where there is neither a second data set nor an ablation.
    """
    runs = [run for group in groups for run in group.runs]
    ablation = any(run.without_cross_entropy for run in runs)
    if len(groups) < 2 and not ablation:
        return None
    columns, heads, rows = ["model", "method", "CE"], [("", 3)], []
    # Of the paper's zero-shot sets its languages, as it reports them; of others both settings.
    wanted: list[tuple[Group, Average, list[str]]] = []
    for group in groups:
        unseen = _zero_shot_languages(group) if group.runs[0].published_data in ("xquad", "tydiqa-goldp") else []
        names: Sequence[Average] = ("gxlt", "xlt") if group.cross_lingual and not unseen else ("xlt",)
        for name in names:
            wanted.append((group, name, unseen))
            columns += [metric.upper() for metric in METRICS]
            heads.append((f"{group.label} {'zero-shot mean' if unseen else SHORT[name]}", 2))
    called, twice = system_names(runs), False
    for system in dict.fromkeys(system_key(run) for run in runs):
        of_system = [run for run in runs if system_key(run) == system]
        cells: list[Cell] = []
        for group, name, unseen in wanted:
            asked = [run for run in group.runs if system_key(run) == system]
            run = asked[0] if asked else None
            twice = twice or len(asked) > 1
            for metric in METRICS:
                value = None
                if run is not None:
                    value = _zero_shot_mean(run, unseen, metric) if unseen else run.matrix.average(name, metric)
                cells.append(None if value is None else plain(100 * value))
        first = of_system[0]
        method = METHODS[first.method] if first.method else None
        rows.append(Row([called[system], method, _yes(first), *cells]))
    rows = mark_best(rows)
    paper = load_paper()
    published = [group.runs[0].published_data for group, _, _ in wanted]
    notes = ["CE: whether the cross-entropy term was trained with; without it alpha_ce is 0."]
    if twice:
        notes.append("Of a model that was asked the same twice the first evaluation is shown.")
    if ablation and any(published):
        notes.append(paper_note(runs[0]))
        for printed in paper.table5.rows:
            cells = []
            for (_, name, unseen), data in zip(wanted, published, strict=True):
                scores: Mapping[str, Printed] = (printed.scores.get(data) or {}) if data else {}
                theirs = (paper.table4.cells.get(data) or {}).get("zero-shot", {}) if data else {}
                whole = bool(unseen) and set(unseen) == theirs.keys() - {"mean"}
                found = scores.get("mean" if whole else name)
                cells += [printed_number(found, metric) for metric in METRICS]
            row: list[Cell] = [PAPER, METHODS[printed.method], "yes" if printed.method == "ce" else "no"]
            rows.append(Row([*row, *cells], "paper"))
    return Table("models", "Models over all data sets (%)", columns, rows, notes, heads, labels=3)


def _training(run: Run) -> list[Cell]:
    method = METHODS[run.method] if run.method else None
    if run.recipe is None or run.method == "zero-shot":
        return [method, None, None, run.examples]
    temperature = None if run.temperature is None else f"{run.temperature:g}"
    return [method, run.target_languages, temperature, run.examples]


def _yes(run: Run) -> Cell:
    return None if run.recipe is None else "no" if run.without_cross_entropy else "yes"
