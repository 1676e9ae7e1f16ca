"""``polyspan train``: a recipe to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, a YAML file.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as training.epochs=2; repeatable.")
    ] = None,
) -> None:
    """Train a model from a recipe. The same command goes on where a stopped run was."""
    from rich.console import Console

    from polyspan.evaluation.matrix import render_averages, render_matrix
    from polyspan.experiments.recipe import load_recipe
    from polyspan.experiments.run import run_recipe

    console = Console(stderr=True)
    result = run_recipe(load_recipe(recipe, settings), console)
    if result.matrix is not None:
        console.print(render_matrix(result.matrix))
        console.print(render_averages(result.matrix))
    print(result.model)
