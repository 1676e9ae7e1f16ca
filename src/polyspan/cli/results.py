"""``polyspan results``: small files out of run folders, and tables out of those."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def collect(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, what evaluate --output wrote, or folders of such folders."),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the small files.")] = Path("results"),
) -> None:
    """Write one small JSON a run, with the scores of its questions packed beside it."""
    from polyspan.experiments.results import collect

    for path in collect(runs, output):
        print(path)


@app.command()
def table(
    folder: Annotated[Path, typer.Argument(help="What `polyspan results collect` wrote.")] = Path("results"),
    into: Annotated[
        Path | None,
        typer.Option(
            help="A Markdown page that gets the tables between its lines <!-- results --> and <!-- /results -->."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Name of a run: compare all others with it.", show_default="zero-shot")
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX in place of Markdown.")] = False,
    draws: Annotated[int, typer.Option(min=100, help="Of the bootstrap and the permutation test.")] = 10_000,
) -> None:
    """Print every table of collected results: means over seeds, with intervals and differences."""
    from polyspan.analysis.table import to_latex, to_markdown
    from polyspan.experiments.results import around_marks, put_between, read_results
    from polyspan.experiments.results_tables import all_tables

    if into is not None and latex:
        raise typer.BadParameter("a Markdown page takes no LaTeX", param_hint="--into")
    if into is not None:
        around_marks(into)  # a page that cannot take them is told of before they are computed
    write = to_latex if latex else to_markdown
    text = "\n".join(write(table) for table in all_tables(read_results(folder), draws, baseline))
    if into is None:
        print(text, end="")
    else:
        put_between(into, text)
        print(into)


@app.command()
def figures(
    folder: Annotated[Path, typer.Argument(help="What `polyspan results collect` wrote.")] = Path("results"),
    output: Annotated[Path, typer.Option(help="Folder of the figures, as SVG.")] = Path("docs/results"),
) -> None:
    """Draw collected results: heat maps of scores and of gains over zero-shot, and sweeps over ntl and T."""
    from polyspan.experiments.results import read_results
    from polyspan.experiments.results_figures import draw_results

    for path in draw_results(read_results(folder), output):
        print(path)
