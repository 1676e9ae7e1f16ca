"""The G-XLT matrix: mean scores by question and context language, and every average under its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.table import Table

Metric = Literal["f1", "em"]
AVERAGES = ("gxlt", "gxlt_off_diagonal", "xlt", "micro")
AVERAGE_NAMES = {
    "gxlt": "G-XLT (all pairs)",
    "gxlt_off_diagonal": "G-XLT off the diagonal",
    "xlt": "XLT (diagonal)",
    "micro": "micro (all questions)",
}


@dataclass(frozen=True, slots=True)
class RowScore:
    """Scores of one pair, in [0, 1]."""

    id: str
    question_language: str
    context_language: str
    f1: float
    em: float


@dataclass(frozen=True, slots=True)
class Cell:
    """Means of one pair of languages, in [0, 1]; a difference may be negative."""

    questions: int
    f1: float
    em: float


@dataclass(frozen=True)
class ScoreMatrix:
    """Cells by (question language, context language)."""

    cells: dict[tuple[str, str], Cell]

    @staticmethod
    def from_rows(rows: Iterable[RowScore]) -> ScoreMatrix:
        """Group rows by their pair of languages."""
        groups: defaultdict[tuple[str, str], list[RowScore]] = defaultdict(list)
        for row in rows:
            groups[row.question_language, row.context_language].append(row)
        return ScoreMatrix(
            {
                key: Cell(
                    len(groups[key]), _mean([r.f1 for r in groups[key]]), _mean([r.em for r in groups[key]])
                )
                for key in sorted(groups)
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

    def average(self, name: str, metric: Metric) -> float | None:
        """One average in [0, 1]; None where no pair belongs to it.

        ``gxlt``
            mean over all pairs, diagonal included: what the paper's Table 2 reports.
        ``gxlt_off_diagonal``
            mean over pairs of two different languages.
        ``xlt``
            mean over pairs of the same language.
        ``micro``
            mean over questions, so that pairs with many count for more.
        """
        if name == "micro":
            total = sum(cell.questions for cell in self.cells.values())
            return sum(getattr(c, metric) * c.questions for c in self.cells.values()) / total if total else None
        belongs: dict[str, Callable[[str, str], bool]] = {
            "gxlt": lambda question, context: True,
            "gxlt_off_diagonal": lambda question, context: question != context,
            "xlt": lambda question, context: question == context,
        }
        values = [getattr(cell, metric) for key, cell in self.cells.items() if belongs[name](*key)]
        return _mean(values) if values else None

    def by_language(self, side: Literal["question", "context"], metric: Metric) -> dict[str, float]:
        """Mean over the pairs of each question or context language, in [0, 1]."""
        at = 0 if side == "question" else 1
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for key, cell in self.cells.items():
            groups[key[at]].append(getattr(cell, metric))
        return {language: _mean(values) for language, values in sorted(groups.items())}

    def to_dict(self) -> dict[str, Any]:
        """Everything in percent, ready for JSON."""
        return {
            "averages": {
                name: {metric: _percent(self.average(name, metric)) for metric in ("f1", "em")}
                for name in AVERAGES
            },
            "pairs": [
                {
                    "question_language": question,
                    "context_language": context,
                    "questions": cell.questions,
                    "f1": 100 * cell.f1,
                    "em": 100 * cell.em,
                }
                for (question, context), cell in self.cells.items()
            ],
            **{
                f"by_{side}_language": {
                    language: {"f1": 100 * f1, "em": 100 * self.by_language(side, "em")[language]}
                    for language, f1 in self.by_language(side, "f1").items()
                }
                for side in ("context", "question")
            },
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ScoreMatrix:
        """Read what `to_dict` gave."""
        return ScoreMatrix(
            {
                (pair["question_language"], pair["context_language"]): Cell(
                    pair["questions"], pair["f1"] / 100, pair["em"] / 100
                )
                for pair in data["pairs"]
            }
        )

    def minus(self, other: ScoreMatrix) -> ScoreMatrix:
        """The difference on the pairs that both have."""
        return ScoreMatrix(
            {
                key: Cell(cell.questions, cell.f1 - other.cells[key].f1, cell.em - other.cells[key].em)
                for key, cell in self.cells.items()
                if key in other.cells
            }
        )


def render_matrix(
    matrix: ScoreMatrix, metric: Metric = "f1", title: str | None = None, signed: bool = False
) -> Table:
    """A table for the terminal: question languages down, context languages across, means at the edge."""
    from rich.table import Table

    table = Table(title=title or f"{metric.upper()} by question (rows) and context (columns) language", box=None)
    table.add_column("", style="bold")
    contexts = matrix.context_languages
    for context in [*contexts, "mean"]:
        table.add_column(context, justify="right")
    by_question = matrix.by_language("question", metric)
    for question in matrix.question_languages:
        cells = []
        for context in contexts:
            cell = matrix.cells.get((question, context))
            text = _shown(getattr(cell, metric), signed) if cell else "–"
            cells.append(f"[bold]{text}[/bold]" if question == context else text)
        table.add_row(question, *cells, _shown(by_question[question], signed), end_section=False)
    by_context = matrix.by_language("context", metric)
    total = matrix.average("gxlt", metric) or 0.0
    table.add_row("mean", *(_shown(by_context[c], signed) for c in contexts), _shown(total, signed))
    return table


def render_averages(matrix: ScoreMatrix, signed: bool = False) -> Table:
    """Each average under its name, F1 and EM."""
    from rich.table import Table

    table = Table(box=None)
    for heading, justify in (("average", "left"), ("F1", "right"), ("EM", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name in AVERAGES:
        f1, em = matrix.average(name, "f1"), matrix.average(name, "em")
        if f1 is not None and em is not None:
            table.add_row(AVERAGE_NAMES[name], _shown(f1, signed), _shown(em, signed))
    return table


def _shown(value: float, signed: bool) -> str:
    if not signed:
        return f"{100 * value:.1f}"
    colour = "green" if value > 0 else "red" if value < 0 else "dim"
    return f"[{colour}]{100 * value:+.1f}[/{colour}]"


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
