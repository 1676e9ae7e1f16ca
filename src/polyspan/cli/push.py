"""``polyspan push``: a finished model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[Path, typer.Argument(help="A run folder or a model folder.")],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; made if it is not there.")],
    public: Annotated[bool, typer.Option("--public", help="A new repository can be seen by all.")] = False,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
) -> None:
    """Send a model with its card to the Hugging Face hub.

    Log in with `hf auth login` or set HF_TOKEN. A new repository is private unless --public is given.
    """
    from polyspan.experiments.push import push_model

    print(push_model(folder, repository, public, message))
