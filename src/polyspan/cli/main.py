"""The ``polyspan`` command: each sub-command is a thin module beside this one."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from io import TextIOWrapper
from typing import Annotated

import typer

from polyspan.cli import (
    ask,
    average,
    calibrate,
    compare,
    data,
    demo,
    doctor,
    evaluate,
    export,
    predict,
    push,
    recipe,
    report,
    reproduce,
    results,
    serve,
    sweep,
    train,
)
from polyspan.errors import PolyspanError
from polyspan.processes import is_main_process, process_index

app = typer.Typer(
    help="Question answering across languages: train, measure and serve span readers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("sweep")(sweep.sweep)
app.command("reproduce")(reproduce.reproduce)
app.command("report")(report.report)
app.command("calibrate")(calibrate.calibrate)
app.command("ask")(ask.ask)
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)
app.command("push")(push.push)
app.command("average")(average.average)
app.command("export")(export.export)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data", help="List, fetch and check data sets.")
app.add_typer(results.app, name="results", help="Keep the scores of runs in small files; make tables of them.")
app.add_typer(recipe.app, name="recipe", help="List, copy and check recipes.")


def _version(asked: bool) -> None:
    if asked:
        print(metadata.version("polyspan"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before the name of a command."""


def run() -> None:
    """Run the command; an error that a user can mend is one line and exit code 1."""
    if not is_main_process():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (for as long as it runs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without the answer's script
    try:
        app()
    except PolyspanError as error:
        _complain(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        _complain(f"error: {error.filename or 'input and output'}: {error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _complain("stopped")
        sys.exit(130)


def _complain(message: str) -> None:
    """On standard error; of several processes that work on one command, those after the first give their number."""
    print(message if is_main_process() else f"process {process_index()}: {message}", file=sys.stderr)
