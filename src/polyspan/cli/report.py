"""``polyspan report``: run folders to a page, tables and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, or what evaluate --output wrote; the first is what others are compared with."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Folder for the report; RUN/report of the first run by default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the texts lie now, if they were moved since the evaluation.")
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(help="Draw where one answer is seen: its id, question and text language, such as q7:de:hi."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the page; the names of the runs by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write one HTML page on runs, with all tables (Markdown, LaTeX) and figures (SVG, PNG, PDF) beside it."""
    from rich.console import Console

    from polyspan.analysis.report import write_report
    from polyspan.analysis.runs import ReportError, read_runs
    from polyspan.analysis.study import group_runs
    from polyspan.corpus.model import Pair

    pair = None
    if example is not None:
        parts = example.rsplit(":", 2)
        if len(parts) != 3 or not all(parts):
            raise ReportError(f"--example {example}: write it as ID:QUESTION:CONTEXT, such as q7:de:hi")
        pair = Pair(*parts)
    console = Console(stderr=True)
    groups = group_runs(read_runs(runs), data)
    with console.status("reading") as status:
        written = write_report(groups, output or runs[0] / "report", pair, title, lambda step: status.update(step))
    if as_json:
        print(json.dumps({"page": str(written[0]), "files": [str(path) for path in written[1:]]}))
        return
    console.print(f"{len(written) - 1} tables and figures beside the page", highlight=False)
    print(written[0])
