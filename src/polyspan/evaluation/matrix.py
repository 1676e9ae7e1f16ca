"""The G-XLT matrix: mean scores by question and context language, and every average under its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from polyspan.evaluation.normalise import ScoringError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

Metric = Literal["f1", "em"]
Side = Literal["question", "context"]
Average = Literal["gxlt", "gxlt_off_diagonal", "xlt", "micro"]
METRICS: tuple[Metric, ...] = ("f1", "em")
AVERAGES: dict[Average, str] = {
    "gxlt": "G-XLT (all pairs)",
    "gxlt_off_diagonal": "G-XLT off the diagonal",
    "xlt": "XLT (diagonal)",
    "micro": "micro (all questions)",
}
"""Every average and what a reader sees of its name."""

NOTHING = "–"
AXES = "question ↓ context →"


@dataclass(frozen=True, slots=True)
class RowScore:
    """Scores of one example, in [0, 1].

    ``passage`` is a digest of the context it reads (`passage_digest`); empty where it is not known.
    """

    id: str
    question_language: str
    context_language: str
    f1: float
    em: float
    passage: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """Means over the questions of one pair of languages, in [0, 1]; a difference may be negative."""

    questions: int
    f1: float
    em: float

    def value(self, metric: Metric) -> float:
        """F1 or EM."""
        return {"f1": self.f1, "em": self.em}[metric]


@dataclass(frozen=True)
class ScoreMatrix:
    """Cells by (question language, context language), in sorted order; pairs may be missing.

    ``other`` are scores under other names that go with these, as `other_scores` gives them; ``rules`` are
    those by which answers were judged, None where nobody said.
    """

    cells: Mapping[tuple[str, str], Cell]
    other: Mapping[str, Any] = field(default_factory=dict)
    rules: str | None = None

    @staticmethod
    def from_rows(rows: Iterable[RowScore]) -> ScoreMatrix:
        """Mean scores of each pair of languages; the order of the rows makes no difference."""
        groups: defaultdict[tuple[str, str], list[RowScore]] = defaultdict(list)
        for row in rows:
            groups[row.question_language, row.context_language].append(row)
        return ScoreMatrix(
            {
                key: Cell(len(group), fmean(row.f1 for row in group), fmean(row.em for row in group))
                for key, group in sorted(groups.items())
            }
        )

    @property
    def question_languages(self) -> list[str]:
        """Sorted."""
        return sorted({question for question, _ in self.cells})

    @property
    def context_languages(self) -> list[str]:
        """Sorted."""
        return sorted({context for _, context in self.cells})

    def average(self, name: Average, metric: Metric) -> float | None:
        """One average in [0, 1]; None where no pair belongs to it.

        ``gxlt``
            mean over all pairs, diagonal included, each of the same weight: what Carrino et al.
            (2023) report in their Table 2.
        ``gxlt_off_diagonal``
            mean over the pairs of two different languages.
        ``xlt``
            mean over the pairs of a language with itself.
        ``micro``
            mean over questions, so that a pair with more of them counts for more.
        """
        kept = []
        for (question, context), cell in self.cells.items():
            same = question == context
            if {"gxlt": True, "gxlt_off_diagonal": not same, "xlt": same, "micro": True}[name]:
                kept.append(cell)
        if not kept:
            return None
        weights = [cell.questions for cell in kept] if name == "micro" else None
        return fmean([cell.value(metric) for cell in kept], weights)

    def by_language(self, side: Side, metric: Metric) -> dict[str, float]:
        """Mean over the pairs of each question or context language, in [0, 1]."""
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for (question, context), cell in self.cells.items():
            groups[question if side == "question" else context].append(cell.value(metric))
        return {language: fmean(values) for language, values in sorted(groups.items())}

    def to_dict(self) -> dict[str, Any]:
        """Everything in percent, ready for JSON; an average without a pair is None.

        ``other_scores`` are there where there are any, ``rules`` where they are known.

        Averages are taken of the cells as they are written, so that what `from_dict` reads gives the
        same again.
        """
        written = self._as_written()
        languages: dict[Side, list[str]] = {
            "context": self.context_languages,
            "question": self.question_languages,
        }
        return {
            "averages": {
                name: {
                    metric: None if (mean := written.average(name, metric)) is None else _percent(mean)
                    for metric in METRICS
                }
                for name in AVERAGES
            },
            "pairs": [
                {
                    "question_language": question,
                    "context_language": context,
                    "questions": cell.questions,
                    **{metric: _percent(cell.value(metric)) for metric in METRICS},
                }
                for (question, context), cell in self.cells.items()
            ],
            **{
                f"by_{side}_language": {
                    language: {metric: _percent(written.by_language(side, metric)[language]) for metric in METRICS}
                    for language in found
                }
                for side, found in languages.items()
            },
            **({"rules": self.rules} if self.rules else {}),
            **({"other_scores": dict(self.other)} if self.other else {}),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> ScoreMatrix:
        """Read the ``pairs`` of what `to_dict` gave; averages are taken anew.

        Raises:
            ScoringError: ``pairs`` is missing or one of them is not whole.
        """
        try:
            cells = {
                (str(pair["question_language"]), str(pair["context_language"])): Cell(
                    int(pair["questions"]), float(pair["f1"]) / 100, float(pair["em"]) / 100
                )
                for pair in data["pairs"]
            }
            if not all(c.questions > 0 and isfinite(c.f1) and isfinite(c.em) for c in cells.values()):
                raise ValueError("a pair without questions or with a score that is no number")
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ScoringError(
                "scores: expected 'pairs', each with question_language, context_language, questions,"
                f" f1 and em in percent ({type(error).__name__}: {error})"
            ) from error
        return ScoreMatrix(dict(sorted(cells.items())), data.get("other_scores", {}), data.get("rules"))

    def _as_written(self) -> ScoreMatrix:
        return ScoreMatrix(
            {
                key: Cell(cell.questions, _percent(cell.f1) / 100, _percent(cell.em) / 100)
                for key, cell in self.cells.items()
            }
        )


def difference(after: ScoreMatrix, before: ScoreMatrix) -> ScoreMatrix:
    """``after - before`` on the pairs of languages that both have.

    The averages of the result are over those pairs. Where the two have unequal numbers of questions
    a cell keeps the smaller, which weighs it in ``micro``.
    """
    both = {key: (cell, before.cells[key]) for key, cell in after.cells.items() if key in before.cells}
    return ScoreMatrix(
        {
            key: Cell(min(new.questions, old.questions), new.f1 - old.f1, new.em - old.em)
            for key, (new, old) in both.items()
        }
    )


def render_matrix(matrix: ScoreMatrix, metric: Metric = "f1", title: str | None = None, signed: bool = False) -> Group:
    """A table for the terminal, in percent, 80 columns wide at most for nine languages.

    Question languages go down, context languages across, means stand at the edges, the diagonal is
    bold.

    Args:
        matrix: scores, or a `difference`.
        metric: which score.
        title: above the table; the score's name by default.
        signed: show a sign and colour, for a difference.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    contexts = matrix.context_languages
    mean_of_context = matrix.by_language("context", metric)
    mean_of_question = matrix.by_language("question", metric)

    table = Table(
        box=box.SIMPLE,
        padding=0,
        show_edge=False,
        show_footer=True,
        footer_style="not bold",
    )
    table.add_column("", footer="mean", style="bold", no_wrap=True)
    for context in contexts:
        table.add_column(
            context,
            footer=_text(mean_of_context[context], signed),
            justify="right",
            no_wrap=True,
            min_width=5,
        )
    table.add_column(
        "mean",
        footer=_text(matrix.average("gxlt", metric), signed),
        justify="right",
        no_wrap=True,
        min_width=5,
    )
    for question in matrix.question_languages:
        table.add_row(
            question,
            *(
                _text(_value(matrix, question, context, metric), signed, bold=question == context)
                for context in contexts
            ),
            _text(mean_of_question[question], signed),
        )
    # Lines of their own: rich breaks a table's title and caption to the width of its columns.
    shown = title or f"{_name(metric)}{', difference' if signed else ''} (%)"
    return Group(Text(shown, style="bold"), table, Text(AXES, style="dim italic"))


def render_averages(matrix: ScoreMatrix, signed: bool = False) -> Table:
    """Every average under its name, F1 and EM in percent, for the terminal."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("average (%)")
    for metric in METRICS:
        table.add_column(_name(metric), justify="right", min_width=5)
    for name, readable in AVERAGES.items():
        table.add_row(readable, *(_text(matrix.average(name, metric), signed) for metric in METRICS))
    return table


def to_markdown(matrix: ScoreMatrix, metric: Metric = "f1", signed: bool = False) -> str:
    """The same table as `render_matrix` in Markdown, the diagonal bold; ends with a line break."""
    contexts = matrix.context_languages
    by_context = matrix.by_language("context", metric)
    by_question = matrix.by_language("question", metric)
    lines = [
        [f"{_name(metric)} (%), {AXES}", *contexts, "mean"],
        ["---", *("--:" for _ in contexts), "--:"],
    ]
    for question in matrix.question_languages:
        cells = [_shown(_value(matrix, question, context, metric), signed) for context in contexts]
        marked = [f"**{cell}**" if question == context else cell for context, cell in zip(contexts, cells, strict=True)]
        lines.append([question, *marked, _shown(by_question[question], signed)])
    means = [by_context[context] for context in contexts]
    lines.append(["mean", *(_shown(value, signed) for value in [*means, matrix.average("gxlt", metric)])])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _value(matrix: ScoreMatrix, question: str, context: str, metric: Metric) -> float | None:
    cell = matrix.cells.get((question, context))
    return None if cell is None else cell.value(metric)


def _name(metric: Metric) -> str:
    return metric.upper()


def one_decimal(number: float, signed: bool = False) -> str:
    """A number with one decimal, for people; what rounds to nothing has no sign."""
    rounded = round(number, 1) or 0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"


def _shown(value: float | None, signed: bool) -> str:
    return NOTHING if value is None else one_decimal(100 * value, signed)


def _text(value: float | None, signed: bool, bold: bool = False) -> Text:
    from rich.style import Style
    from rich.text import Text

    shown = _shown(value, signed)
    colour = {"+": "green", "-": "red"}.get(shown[0]) if signed else None
    return Text(shown, style=Style(color=colour, bold=bold))


def _percent(value: float) -> float:
    """Rounded far below what matters, so that writing, reading and writing again changes nothing."""
    return round(100 * value, 10)
