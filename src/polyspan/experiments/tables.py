"""A table of results on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyspan.analysis.table import Number, Table
from polyspan.evaluation.matrix import NOTHING

if TYPE_CHECKING:
    from rich.console import Console


def show(table: Table, console: Console) -> None:
    """Print a table with its notes; the paper's rows are dim, the best of a column bold."""
    from rich import box
    from rich.table import Table as Shown
    from rich.text import Text

    shown = Shown(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for at, name in enumerate(table.flat_columns):
        shown.add_column(name, justify="left" if at < table.labels else "right", overflow="fold")
    for row in table.rows:
        cells = []
        for cell in row.cells:
            if isinstance(cell, Number):
                text = cell.text + (f" ({cell.interval})" if cell.interval else "")
                cells.append(Text(text, style="bold" if cell.best else ""))
            else:
                cells.append(Text(NOTHING if cell is None else str(cell)))
        shown.add_row(*cells, style="dim" if row.source == "paper" else "")
    console.print(Text(table.title, style="bold"))
    console.print(shown)
    for note in table.notes:
        console.print(Text(note, style="dim"))
