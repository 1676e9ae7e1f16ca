"""``polyspan average``: one model of several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def average(
    models: Annotated[list[str], typer.Argument(help="Shipped names, folders or hub ids, two or more.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    shares: Annotated[
        str | None, typer.Option(help="One number for each model, such as 0.25,0.75 or 1,1,-1; equal by default.")
    ] = None,
) -> None:
    """Average the weights of models that began with the same ones: a run and its start, or several runs."""
    from rich.console import Console

    from polyspan.experiments.leakage import save_average
    from polyspan.models import ModelError
    from polyspan.models.average import average_models

    if output.exists():
        raise ModelError(f"{output}: is there already; choose another folder")
    try:
        numbers = [float(share) for share in shares.split(",")] if shares else None
    except ValueError:
        raise ModelError(f"--shares {shares}: write numbers with commas between, such as 0.25,0.75") from None
    save_average(average_models(models, numbers), models, numbers, output)
    Console(soft_wrap=True).print(str(output), markup=False, highlight=False)
