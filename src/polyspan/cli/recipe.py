"""``polyspan recipe``: the recipes that ship."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


def shipped_recipes() -> dict[str, Path]:
    """Recipes by name, such as ``small/skd``; beside the sources in a checkout."""
    installed = Path(str(resources.files("polyspan.experiments"))) / "recipes"
    folder = installed if installed.is_dir() else Path(__file__).parents[3] / "recipes"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


@app.command("list")
def list_recipes() -> None:
    """Names of the recipes, with their first words."""
    for name, path in shipped_recipes().items():
        comments = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
        print(f"{name:<22} {comments[1] if len(comments) > 1 else ''}")


@app.command("copy")
def copy(
    name: Annotated[str, typer.Argument(help="As `polyspan recipe list` shows it.")],
    to: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Copy a recipe, to change it."""
    from polyspan.experiments.recipe import RecipeError
    from polyspan.files import write_text

    found = shipped_recipes()
    if name not in found:
        raise RecipeError(f"no recipe {name!r}; there are {', '.join(found)}")
    if to.exists():
        raise RecipeError(f"{to}: exists already; name another file")
    write_text(to, found[name].read_text(encoding="utf-8"))
    print(to)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A recipe.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, repeatable.")] = None,
) -> None:
    """Read a recipe and print it whole, defaults written out."""
    from polyspan.experiments.recipe import dump_recipe, load_recipe

    print(dump_recipe(load_recipe(file, settings)), end="")
