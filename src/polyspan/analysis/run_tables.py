"""Tables of one run, or of one against another: answer ranks, best and worst pairs, differences."""

from __future__ import annotations

from collections.abc import Iterable

from polyspan.analysis.cells import INTERVAL_NOTE, METHODS, file_name, number, plain
from polyspan.analysis.languages import language_name
from polyspan.analysis.paper import load_paper
from polyspan.analysis.study import Group
from polyspan.analysis.table import Cell, Number, Row, Table
from polyspan.evaluation.compare import Comparison, Difference
from polyspan.evaluation.matrix import AVERAGES, METRICS

SHOWN_PAIRS = 5
"""Best and worst pairs that are listed."""


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
        first = plain(100 * counts[0] / found) if found else None
        rows.append(Row([language, asked, *shares, plain(100 * ranks.within(language)), first]))
    paper = load_paper()
    if run.published_data == paper.table1.data:
        for language, printed in paper.table1.counts.items():
            shown = [str(count) for count in printed[: ranks.depth]]
            shown += [""] * (ranks.depth - len(shown))
            label = f"{language} ({METHODS[paper.table1.method]}, {paper.label})"
            rows.append(Row([label, None, *shown, None, plain(100 * printed[0] / sum(printed))], "paper"))
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
            scores = [number(cell.value(m), intervals, m, "pair", (question, context)) for m in METRICS]
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
