"""``polyspan sweep``: many runs of one recipe, by any number of workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep, a YAML file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for the recipe of every trial; repeatable.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where the trials go, instead of the file's folder.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="POLYSPAN_STORAGE",
            help="What the workers share: a journal file, or a database (postgresql://...).",
            show_default="FOLDER/study.journal",
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Run nothing; table and figures as they stand.")] = False,
    stay: Annotated[
        bool, typer.Option(help="Wait for the trials of other workers, to take them up if a worker dies.")
    ] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try what went wrong once more.")] = False,
    heartbeat: Annotated[
        int, typer.Option(min=1, help="Seconds between signs of life; after three a worker is taken for dead.")
    ] = 60,
    leakage: Annotated[
        str, typer.Option(help="Where training data and evaluation share something: fail, warn or ignore.")
    ] = "warn",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a grid or a search over the keys of a recipe.

    Start the same command as often as there are machines: they share the trials.

    A stopped sweep goes on with the same command.
    """
    from rich.console import Console

    from polyspan.errors import PolyspanError
    from polyspan.experiments.plan import load_plan

    plan = load_plan(file, settings, folder)
    try:
        from polyspan.experiments.storage import open_storage
        from polyspan.experiments.study import load_study, open_study, tally
        from polyspan.experiments.sweep import work
        from polyspan.experiments.sweep_report import read_sweep, sweep_table, to_dict, write_sweep
    except ImportError as error:
        raise PolyspanError(f"sweeps need {error.name}; install it with: pip install 'polyspan[tune]'") from error

    console = Console(stderr=True)
    opened = open_storage(storage, plan.file.folder, heartbeat, existing=report)
    study = load_study(plan, opened) if report else open_study(plan, opened)
    failed = 0
    if not report:
        before = tally(study, plan)
        console.print(f"{before.done} of {before.planned} trials are done, {before.waiting} wait")
        failed = work(plan, study, console, stay, retry_failed, heartbeat, leakage).failed
    found = read_sweep(study, plan)
    written = write_sweep(found)
    if as_json:
        print(json.dumps(to_dict(found), ensure_ascii=False))
    else:
        from polyspan.experiments.tables import show

        show(sweep_table(found), Console())
        for path in written:
            console.print(str(path), markup=False, soft_wrap=True)
    if failed:
        console.print(f"{failed} trials failed; --retry-failed tries them once more")
        for setting, message in found.errors:
            console.print(f"  {setting}: {message}", markup=False, soft_wrap=True)
        raise typer.Exit(1)
