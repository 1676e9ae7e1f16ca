"""The option ``--backend`` of every command that has one."""

from __future__ import annotations

from typing import Annotated

import typer

BackendOption = Annotated[
    str | None,
    typer.Option(help="What runs the model: torch, onnx or openvino.", show_default="what its folder is made for"),
]
