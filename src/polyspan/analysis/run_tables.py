"""Tables of one run, or of one against another: answer ranks, best and worst pairs, differences."""

from __future__ import annotations

from collections.abc import Iterable

from polyspan.analysis.cells import INTERVAL_NOTE, METHODS, PAPER, file_name, number, paper_note, plain
from polyspan.analysis.languages import language_name
from polyspan.analysis.paper import Method, load_paper
from polyspan.analysis.runs import Run, data_name
from polyspan.analysis.study import Group
from polyspan.analysis.table import Cell, Number, Row, Table
from polyspan.evaluation.compare import Comparison, Difference
from polyspan.evaluation.matrix import AVERAGES, METRICS, Metric
from polyspan.evaluation.other_scores import other_score_lines

SHOWN_PAIRS = 5
"""Best and worst pairs that are listed."""


def ranks_table(group: Group, index: int) -> Table | None:
    """At which rank the first correct answer of a run stands (Table 1).

    None without texts, or where one answer of a row was kept.
    """
    if group.ranks is None or group.ranks[index].depth < 2 or not group.ranks[index].asked:
        return None
    run, ranks = group.runs[index], group.ranks[index]
    rows = []
    for language, asked in ranks.asked.items():
        counts = ranks.counts[language]
        found = sum(counts)
        shares = [f"{count} ({100 * count / asked:.1f})" for count in counts]
        first = plain(100 * counts[0] / found) if found else None
        rows.append(Row([language, asked, *shares, plain(100 * ranks.within(language)), first]))
    paper = load_paper()
    if run.published_data == paper.table1.data and run is _beside_the_paper(group, paper.table1.method):
        for language, printed in paper.table1.counts.items():
            shown = [str(count) for count in printed[: ranks.depth]]
            shown += [""] * (ranks.depth - len(shown))
            label = f"{language} ({PAPER}, {METHODS[paper.table1.method]})"
            rows.append(Row([label, None, *shown, None, plain(100 * printed[0] / sum(printed))], "paper"))
    notes = [
        "Counts of rows, in brackets per cent of those asked. Correct is the same string as a gold answer, not"
        " normalised, so that the rate at rank 1 is at most EM.",
        *([f"{ranks.unanswerable:,} rows whose text holds no answer are left out."] if ranks.unanswerable else []),
        *([paper_note(run)] if rows[-1].source == "paper" else []),
    ]
    groups = [("", 2), ("rank", ranks.depth), ("", 2)]
    last = ["any rank (%)", "of these, first (%)"]
    columns = ["question", "asked", *(str(rank) for rank in range(1, ranks.depth + 1)), *last]
    suffix = f"-{file_name(run.name)}" if len(group.runs) > 1 else ""
    return Table(
        f"ranks-{group.key}{suffix}", f"Answer ranks of {run.name}, {group.label}", columns, rows, notes, groups
    )


def _beside_the_paper(group: Group, method: Method) -> Run:
    """Which of the runs the paper's numbers stand beside: the first of their method, or the first of all."""
    return next((run for run in group.runs if run.method == method), group.runs[0])


def pairs_table(group: Group, index: int) -> Table:
    """The pairs of languages with the highest and lowest F1 of a run."""
    run, intervals = group.runs[index], group.intervals[index]
    ordered = sorted(run.matrix.cells, key=lambda pair: (-run.matrix.cells[pair].f1, pair))
    most = min(SHOWN_PAIRS, len(ordered) // 2 or 1)
    rows = []
    for heading, pairs in (("best", ordered[:most]), ("worst", ordered[::-1][:most] if len(ordered) > 1 else [])):
        for question, context in pairs:
            cell = run.matrix.cells[question, context]
            scores = [number(cell.value(m), intervals, m, "pair", (question, context)) for m in METRICS]
            rows.append(Row([heading, language_name(question), language_name(context), cell.questions, *scores]))
    columns = ["", "question", "context", "questions", "F1", "EM"]
    suffix = f"-{file_name(run.name)}" if len(group.runs) > 1 else ""
    title = f"Best and worst pairs of {run.name}, {group.label} (%)"
    return Table(f"pairs-{group.key}{suffix}", title, columns, rows, [INTERVAL_NOTE], labels=3)


def matrix_table(group: Group, index: int, metric: Metric) -> Table | None:
    """A score by language of the question, in rows, and of the text (figures 1 and 8); None within one language."""
    run = group.runs[index]
    if not run.is_cross_lingual:
        return None
    questions, contexts = (sorted({pair[side] for pair in run.matrix.cells}) for side in (0, 1))
    rows = []
    for question in questions:
        found = [run.matrix.cells.get((question, context)) for context in contexts]
        rows.append(Row([question, *(None if cell is None else plain(100 * cell.value(metric)) for cell in found)]))
    suffix = f"-{file_name(run.name)}" if len(group.runs) > 1 else ""
    title = f"{metric.upper()} of {run.name} by language of the question and of the text, {group.label} (%)"
    groups = [("", 1), ("text", len(contexts))]
    return Table(f"matrix-{group.key}{suffix}-{metric}", title, ["question", *contexts], rows, (), groups)


def difference_table(group: Group, comparison: Comparison) -> Table:
    """Averages of a run minus those of the first, with intervals and tests."""
    rows = []
    several = len(group.comparisons) > 1
    for name, label in AVERAGES.items():
        for metric in METRICS:
            found = comparison.metrics[metric].averages.get(name)
            if found is not None and (group.cross_lingual or name in ("xlt", "micro")):
                rows.append(Row([label, metric.upper(), *_difference(found, several)]))
    notes = [
        f"{comparison.questions} seed questions, {comparison.rows:,} rows; intervals at {100 * comparison.level:g}% of"
        " a bootstrap and p of a permutation test, both of whole seed questions,"
        f" {comparison.draws:,} draws.",
        "Effect: Cohen's d of the paired differences by question.",
    ]
    if several:
        notes.append(f"Holm: p adjusted for all {len(group.comparisons)} runs that are compared with {comparison.b}.")
    p_columns = ["p", "p (Holm)"] if several else ["p"]
    columns = ["average", "score", "difference", *p_columns, "effect", comparison.a, comparison.b]
    title = f"{comparison.a} against {comparison.b}, {group.label} (%)"
    key = f"difference-{group.key}-{file_name(comparison.a)}"
    return Table(key, title, columns, rows, notes, labels=2)


def _difference(found: Difference, several: bool) -> Iterable[Cell]:
    gap = found.difference
    low, high = (None if end is None else 100 * end for end in (gap.low, gap.high))
    effect = None if found.effect is None else f"{found.effect:.2f}"
    return [
        Number(100 * gap.value, low, high, signed=True),
        f"{found.p:.4f}",
        *([f"{found.p_holm:.4f}"] if several else []),
        effect,
        Number(100 * found.a.value),
        Number(100 * found.b.value),
    ]


def calibration_table(run: Run) -> Table | None:
    """How far the scores of a run could be trusted before and after calibration; None if it was not measured."""
    measured = (run.calibration or {}).get("measured")
    if not measured:
        return None
    what = {"answers": "answers", "answerable": "answers, where there is one", "no_answer": "no answer"}
    rows = []
    for key, label in what.items():
        if found := measured.get(key):
            before, after = found["before"], found["after"]
            shares = [before["ece"], after["ece"], after["ece_floor"], before["brier"], after["brier"]]
            rows.append(Row([label, after["rows"], *(plain(100 * share) for share in shares)]))
    notes = [
        f"Measured on {data_name(str(measured['data']))}, of which {100 * measured['no_answer_share']:.0f}% of the rows"
        " have no answer.",
        "ECE: mean distance of confidence and accuracy over bins of equally many rows, x 100; floor: what sampling"
        " alone gives of it on so many rows; Brier: mean squared difference of confidence and outcome, x 100.",
    ]
    groups = [("", 2), ("ECE", 3), ("Brier", 2)]
    columns = ["", "rows", "before", "after", "floor", "before", "after"]
    return Table(f"calibration-{file_name(run.name)}", f"Calibration of {run.name}", columns, rows, notes, groups)


def other_table(group: Group) -> Table | None:
    """Scores beside the matrix, each under its own name; None where the data allow none."""
    rows: list[Row] = []
    for run in group.runs:
        rows += [
            Row([run.name, found.name, plain(found.f1), plain(found.em)])
            for found in other_score_lines(run.other_scores)
        ]
    if not rows:
        return None
    notes = {
        "language_aware": "language_aware: words found by a library where none are spaced, articles of the language.",
        "squad_v2": "squad_v2: SQuAD 2.0's; best: with the threshold that is best on these rows, an upper bound.",
        "tydiqa_zero_shot": "tydiqa_zero_shot: mean over the seven languages beside English and Arabic.",
    }
    shown = [note for name, note in notes.items() if any(name in run.other_scores for run in group.runs)]
    title = f"Other scores on {group.label} (%)"
    return Table(f"other-{group.key}", title, ["run", "score", "F1", "EM"], rows, shown, labels=2)
