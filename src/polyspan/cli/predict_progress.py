"""What a person sees while a file is answered: a bar with the time left, or a line now and then."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from polyspan.answering.predict_file import Contents

LINES = 10
"""Where there is no terminal, this many lines are printed over the whole work."""


class FileProgress:
    """Progress by characters of context, as that is what answering takes time for."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = Progress(
            TextColumn("answering"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[records]}/{task.fields[of]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self.printed = 0

    def begin(self, contents: Contents) -> None:
        """Show the bar."""
        if contents.bad:
            self.console.print(f"{len(contents.bad)} bad lines are skipped")
        self.task = self.bar.add_task("", total=max(contents.characters, 1), records=0, of=contents.records)

    def update(self, records: int, characters: int) -> None:
        """Move it."""
        self.bar.update(self.task, completed=characters, records=records)
        task = self.bar.tasks[0]
        tenth = int(LINES * task.percentage / 100)
        if self.bar.disable and tenth > self.printed:
            self.printed = tenth
            left = task.time_remaining
            shown = f", {left / 60:.1f} min left" if left else ""
            self.console.print(f"{int(task.percentage)}% of {task.fields['of']} questions answered{shown}")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.stop()
