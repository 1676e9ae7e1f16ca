"""The ``polyspan`` command: each sub-command is a thin module beside this one."""

from __future__ import annotations

import sys

import typer

from polyspan.cli import ask, compare, data, demo, doctor, evaluate, recipe, train
from polyspan.errors import PolyspanError

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
app.command("ask")(ask.ask)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data", help="List, fetch and check data sets.")
app.add_typer(recipe.app, name="recipe", help="List, copy and check recipes.")


def run() -> None:
    """Run the command; an error that a user can mend is one line and exit code 1."""
    try:
        app()
    except PolyspanError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
