"""``polyspan train``: a recipe to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, a YAML file, or the folder of a run to go on with.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as training.epochs=2; repeatable.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only go on with a run: an error where none was begun.")
    ] = False,
    leakage: Annotated[
        str, typer.Option(help="Where training data and evaluation share something: fail, warn or ignore.")
    ] = "warn",
) -> None:
    """Train a model from a recipe. The same command goes on from the newest whole checkpoint of a stopped run."""
    from rich.console import Console

    from polyspan.evaluation.matrix import render_averages, render_matrix
    from polyspan.experiments.recipe import RECIPE_FILE, load_recipe, split_setting
    from polyspan.experiments.run import run_recipe
    from polyspan.experiments.set_up import RunError

    console = Console(stderr=True)
    chosen = load_recipe(recipe / RECIPE_FILE if recipe.is_dir() else recipe, settings)
    if recipe.is_dir():  # which may have been moved
        if any(split_setting(setting)[0] == "run_dir" for setting in settings or []):
            raise RunError(f"--set run_dir: a run goes on where it is, in {recipe}; name a recipe to begin another")
        chosen = chosen.model_copy(update={"run_dir": recipe})
    if resume and not (chosen.run_dir / RECIPE_FILE).is_file():
        raise RunError(f"{chosen.run_dir}: no run was begun here; leave out --resume to begin it")
    result = run_recipe(chosen, console, leakage)
    if result.matrix is not None:
        console.print(render_matrix(result.matrix))
        console.print(render_averages(result.matrix))
    print(result.model)
