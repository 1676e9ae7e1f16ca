"""``polyspan reproduce``: the paper's rows with one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polyspan.cli.listed import listed


def reproduce(
    group: Annotated[str, typer.Argument(help="paper (mBERT, for a GPU) or small (two cores).")],
    rows: Annotated[str | None, typer.Option(help="Only these, such as zero-shot,ce,skd.", show_default="all")] = None,
    seeds: Annotated[str, typer.Option(help="Each row is run with each of these, such as 1,2,3.")] = "1",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value for every recipe; phase 1 takes those of its evaluation. Repeatable."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data sets lie.", show_default="data")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where all runs go.", show_default="runs/GROUP")] = None,
    report: Annotated[bool, typer.Option("--report", help="Run nothing; the table as it stands.")] = False,
    leakage: Annotated[
        str, typer.Option(help="Where training data and evaluation share something: fail, warn or ignore.")
    ] = "warn",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Run the paper's rows, pass over those that are there, and print the paper's numbers beside ours.

    A stopped reproduction goes on with the same command.
    """
    from rich.console import Console

    from polyspan.experiments.reproduce import ReproduceError, plan_steps, run_steps
    from polyspan.experiments.reproduce_report import lay_beside, tables, write_reproduction
    from polyspan.experiments.tables import show

    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError as error:
        raise ReproduceError(f"--seeds {seeds}: write whole numbers, such as 1,2,3") from error
    chosen = listed(rows)
    if chosen == []:
        raise ReproduceError(f"--rows {rows}: names no row; `polyspan reproduce --help` shows how")
    console = Console(stderr=True)
    steps = plan_steps(group, chosen, numbers, settings or [], folder, data)
    failed = {} if report else run_steps(steps, console, leakage)
    lines = lay_beside(steps)
    if not lines:
        raise ReproduceError(
            f"{steps[0].folder.parent}: no row is there yet" + (f"; {next(iter(failed.values()))}" if failed else "")
        )
    made = tables(lines, group)
    written = write_reproduction(lines, made, steps[0].folder.parent)
    if as_json:
        print(json.dumps([line.to_dict() for line in lines]))
    else:
        for table in made:
            show(table, Console())
        for path in written:
            console.print(str(path), markup=False, soft_wrap=True)
    if missing := [step.folder for step in steps if not step.done]:
        console.print(f"not there: {', '.join(map(str, missing))}", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
