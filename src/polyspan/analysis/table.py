"""A table of results and its forms: Markdown, LaTeX (booktabs), and cells for HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from polyspan.evaluation.matrix import NOTHING, one_decimal


@dataclass(frozen=True, slots=True)
class Number:
    """A score or difference in percent, with its interval where there is one.

    Attributes:
        value: in percent.
        low, high: ends of the interval, in percent.
        signed: show a plus sign.
        best: the best of its column among the measured rows.
    """

    value: float
    low: float | None = None
    high: float | None = None
    signed: bool = False
    best: bool = False

    @property
    def text(self) -> str:
        """One decimal; what rounds to nothing has no sign."""
        return one_decimal(self.value, self.signed)

    @property
    def interval(self) -> str:
        """``43.9 to 47.2``, or nothing."""
        if self.low is None or self.high is None:
            return ""
        return f"{one_decimal(self.low, self.signed)} to {one_decimal(self.high, self.signed)}"


Cell = str | int | Number | None
"""None is shown as a dash: not measured or not printed."""


@dataclass(frozen=True)
class Row:
    """Cells of a row, the first its label; ``source`` says whose numbers they are."""

    cells: Sequence[Cell]
    source: Literal["measured", "paper"] = "measured"


@dataclass(frozen=True)
class Table:
    """Rows under columns, with what must be known to read them.

    Attributes:
        key: file name without its ending.
        title: one line.
        columns: headings, one a cell.
        rows: measured ones, then the paper's.
        notes: sentences below the table.
        groups: (heading, columns it spans), over the columns; their spans add up to all columns.
        labels: how many columns on the left name the row.
    """

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    groups: Sequence[tuple[str, int]] = field(default=())
    labels: int = 1

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row.cells) != len(self.columns)]
        if wrong or (self.groups and sum(span for _, span in self.groups) != len(self.columns)):
            raise ValueError(f"table {self.key}: rows, columns and groups are of different widths")

    @property
    def flat_columns(self) -> list[str]:
        """Headings with their group's in front, for forms that have one line of them."""
        groups = [name for name, span in self.groups for _ in range(span)] or [""] * len(self.columns)
        return [
            " ".join(part for part in (group, name) if part) for group, name in zip(groups, self.columns, strict=True)
        ]


def mark_best(rows: Sequence[Row]) -> list[Row]:
    """Mark the highest measured number of each column where there are two or more to choose from.

    Numbers that are printed alike are alike; where all are, none is marked.
    """
    best = {}
    for column in range(len(rows[0].cells)) if rows else ():
        values = [
            cell.value for row in rows if row.source == "measured" and isinstance(cell := row.cells[column], Number)
        ]
        if len({one_decimal(value) for value in values}) > 1:
            best[column] = one_decimal(max(values))
    return [
        Row(
            [
                Number(cell.value, cell.low, cell.high, cell.signed, best=True)
                if row.source == "measured" and isinstance(cell, Number) and one_decimal(cell.value) == best.get(column)
                else cell
                for column, cell in enumerate(row.cells)
            ],
            row.source,
        )
        for row in rows
    ]


def to_markdown(table: Table) -> str:
    """A pipe table with its title and notes; the paper's rows in italics. Ends with a line break."""
    alignment = ["---" if column < table.labels else "--:" for column in range(len(table.columns))]
    lines = [[_md(name) for name in table.flat_columns], alignment]
    for row in table.rows:
        cells = [_markdown_cell(cell) for cell in row.cells]
        lines.append([f"*{cell}*" if row.source == "paper" and cell not in ("", NOTHING) else cell for cell in cells])
    body = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    notes = "".join(f"\n{_md(note)}\n" for note in table.notes)
    return f"**{_md(table.title)}**\n\n{body}{notes}"


def to_latex(table: Table) -> str:
    """A ``table`` environment for the packages booktabs and adjustbox; ends with a line break."""
    align = "".join("l" if column < table.labels else "r" for column in range(len(table.columns)))
    lines = [
        r"% \usepackage{booktabs,adjustbox}",
        r"\begin{table}[t]",
        r"  \centering",
        rf"  \caption{{{' '.join([_tex(table.title) + '.', *map(_tex, table.notes)])}}}",
        rf"  \label{{tab:{table.key}}}",
        r"  \begin{adjustbox}{max width=\linewidth}",
        rf"  \begin{{tabular}}{{{align}}}",
        r"    \toprule",
    ]
    if table.groups:
        heads, rules, at = [], [], 1
        for name, span in table.groups:
            heads.append(rf"\multicolumn{{{span}}}{{c}}{{{_tex(name)}}}" if name else " & ".join([""] * span))
            if name:
                rules.append(rf"\cmidrule(lr){{{at}-{at + span - 1}}}")
            at += span
        lines += [f"    {' & '.join(heads)} \\\\", f"    {' '.join(rules)}"]
    lines += [f"    {' & '.join(map(_tex, table.columns))} \\\\", r"    \midrule"]
    before = table.rows[0].source if table.rows else "measured"
    for row in table.rows:
        if row.source != before:
            lines.append(r"    \midrule")
        before = row.source
        lines.append(f"    {' & '.join(_latex_cell(cell) for cell in row.cells)} \\\\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"  \end{adjustbox}", r"\end{table}"]) + "\n"


def plain_text(cell: str | int) -> str:
    """Words as they are, whole numbers with separators of thousands."""
    return f"{cell:,}" if isinstance(cell, int) else cell


def _markdown_cell(cell: Cell) -> str:
    if cell is None:
        return NOTHING
    if isinstance(cell, Number):
        shown = f"**{cell.text}**" if cell.best else cell.text
        return f"{shown} ({cell.interval})" if cell.interval else shown
    return _md(plain_text(cell))


def _latex_cell(cell: Cell) -> str:
    if cell is None:
        return "--"
    if isinstance(cell, Number):
        shown = cell.text.replace("-", "$-$").replace("+", "$+$")
        shown = rf"\textbf{{{shown}}}" if cell.best else shown
        interval = cell.interval.replace("-", "$-$").replace("+", "$+$")
        return rf"{shown} {{\scriptsize ({interval})}}" if interval else shown
    text = _tex(plain_text(cell))
    return text.replace("-", "$-$") if re.fullmatch(r"-[\d.]+", text) else text


# What would become markup; an underscore within a word does not.
_MARKDOWN = re.compile(r"[|*<`\[~&$]|(?<!\w)_|_(?!\w)")


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.splitlines()))


_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after a line's end it would begin an option
        "−": "$-$",
        "×": r"$\times$",
        "±": r"$\pm$",
    }
)


def _tex(text: str) -> str:
    return text.translate(_TEX)
