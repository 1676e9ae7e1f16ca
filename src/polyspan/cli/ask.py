"""``polyspan ask``: one question over one text."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from polyspan.cli.backend_option import BackendOption

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a text could move the cursor or change the window's title with."""


def ask(
    question: Annotated[str, typer.Option("--question", "-q", help="In any language.")],
    context_file: Annotated[Path, typer.Option(help="A UTF-8 text file, in any language; - reads what is piped.")],
    top_k: Annotated[int, typer.Option(min=1, help="How many answers.")] = 1,
    model: Annotated[
        str | None, typer.Option(help="Shipped name, folder or hub id.", show_default="polyspan-small")
    ] = None,
    backend: BackendOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a question about a text; answers come with character offsets and probabilities."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from polyspan.answering import Answerer, AskedError
    from polyspan.answering.backend import check_backend
    from polyspan.files import decoded, read_text

    if str(context_file) == "-":
        context = decoded(sys.stdin.buffer.read(), "standard input", AskedError)
    else:
        context = read_text(context_file, AskedError)
    answers = Answerer(model, check_backend(backend)).answer(question, context, top_k)
    if as_json:
        print(json.dumps(answers.to_dict(), ensure_ascii=False))
        return
    console = Console()
    table = Table(box=None)
    for heading in ("score", "characters", "answer"):
        table.add_column(heading)
    for span in answers.spans:
        table.add_row(f"{span.score:.3f}", f"{span.start}–{span.end}", Text(CONTROL.sub("�", span.text)))
    console.print(table)
    console.print(f"no answer in this text: {answers.no_answer:.3f}")
    if answers.question_cut:
        console.print("only the beginning of the question was read: it takes more than half of what is read at once")
