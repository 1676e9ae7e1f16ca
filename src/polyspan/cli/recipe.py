"""``polyspan recipe``: the recipes and sweeps that ship."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from polyspan.experiments.shipped import shipped_recipes

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """Names of the recipes, with their first words."""
    # A terminal's lines are filled; whatever else reads this gets a line for each recipe.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for name, path in shipped_recipes().items():
        comments = [line[1:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
        about = comments[1] if len(comments) > 1 else ""
        line = f"{name:<28} {about}"
        print(textwrap.fill(line, max(width, 60), subsequent_indent=29 * " ", break_on_hyphens=False))


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
        close = get_close_matches(name, found, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise RecipeError(f"no recipe {name!r}; {hint}`polyspan recipe list` names all")
    if to.exists():
        raise RecipeError(f"{to}: exists already; name another file")
    first, _, rest = found[name].read_text(encoding="utf-8").partition("\n")
    command = "sweep" if first.startswith("# polyspan sweep ") else "train"
    write_text(to, f"# polyspan {command} {shlex.quote(str(to))}\n{rest}")
    print(to)
    print("name another run_dir in it before it is changed and run: a folder holds one recipe's run", file=sys.stderr)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="A recipe.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, repeatable.")] = None,
) -> None:
    """Read a recipe and print it whole, defaults written out; of a sweep, the recipe that it varies."""
    from polyspan.experiments.plan import is_plan, load_plan
    from polyspan.experiments.recipe import dump_recipe, load_recipe

    if is_plan(file):
        plan = load_plan(file, settings)
        print(f"# {plan.trials} trials that vary {', '.join(plan.varied)} of this recipe")
        print(dump_recipe(plan.recipe), end="")
        return
    print(dump_recipe(load_recipe(file, settings)), end="")
