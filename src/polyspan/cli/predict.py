"""``polyspan predict``: a file of questions to a file of answers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyspan.cli.backend_option import BackendOption

if TYPE_CHECKING:
    from rich.console import Console


def predict(
    data: Annotated[
        Path,
        typer.Argument(help="Questions with contexts: .jsonl, .csv or .tsv (question, context), or SQuAD's .json."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Answers, one JSON object a line, in order.")],
    model: Annotated[
        str | None, typer.Option(help="Shipped name, folder or hub id.", show_default="polyspan-small")
    ] = None,
    backend: BackendOption = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many answers each.")] = 1,
    max_answer_len: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 30,
    precision: Annotated[
        float | None, typer.Option(help="Withhold unsure answers so that this share of the rest is right.")
    ] = None,
    guess_languages: Annotated[
        bool, typer.Option("--guess-languages", help="Say what languages question and context seem to be in.")
    ] = False,
    on_bad: Annotated[
        str, typer.Option(help="Lines that cannot be asked: fail before anything is done, or skip them.")
    ] = "fail",
    shard: Annotated[
        str | None, typer.Option(help="Do only this part, such as 2/8; under accelerate launch it is set.")
    ] = None,
    join: Annotated[bool, typer.Option("--join", help="Only join the finished shards of --output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Answer every question of a file. The same command goes on where a stopped or killed one was."""
    from rich.console import Console

    from polyspan.answering import Answerer, Reading
    from polyspan.answering.asked import AskedError
    from polyspan.answering.backend import check_backend
    from polyspan.answering.output import join_shards
    from polyspan.answering.predict_file import predict_file
    from polyspan.cli.predict_progress import FileProgress
    from polyspan.processes import is_main_process, join_group, process_count, process_index, wait_for_all

    if on_bad not in ("fail", "skip"):
        raise AskedError(f"--on-bad is fail or skip, not {on_bad!r}")
    console = Console(stderr=True, highlight=False, quiet=not is_main_process())
    if join:
        rows = join_shards(output)
        _tell(console, as_json, {"output": str(output), "answers": rows}, f"{rows} answers in {output}")
        return
    part = (process_index() + 1, process_count()) if shard is None else _read_shard(shard)
    join_group()
    reading = Reading(top_k=top_k, max_answer_len=max_answer_len, precision=precision, guess_languages=guess_languages)
    began = time.monotonic()
    answerer = Answerer(model, check_backend(backend))
    with FileProgress(console) as bar:
        done = predict_file(answerer, data, output, reading, part, on_bad, bar.begin, bar.update)  # type: ignore[arg-type]
    for bad in done.skipped:
        console.print(f"skipped: {data}: line {bad.line}: {bad.message}", markup=False, soft_wrap=True)
    path, rows = done.path, done.records
    if shard is None and process_count() > 1:
        wait_for_all()
        path = output
        rows = join_shards(output) if is_main_process() else rows
    _tell(
        console,
        as_json,
        {
            "output": str(path),
            "answers": rows,
            "answered_before": done.resumed,
            "skipped": [{"line": bad.line, "message": bad.message} for bad in done.skipped],
            "seconds": round(time.monotonic() - began, 3),
        },
        f"{rows} answers in {path}" + (f", {done.resumed} of them from before" if done.resumed else ""),
    )


def _tell(console: Console, as_json: bool, report: dict[str, object], sentence: str) -> None:
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        console.print(sentence, markup=False, soft_wrap=True)


def _read_shard(text: str) -> tuple[int, int]:
    from polyspan.answering.asked import AskedError

    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise AskedError(f"--shard is a part of all, such as 2/8, not {text!r}")
    return int(found[1]), int(found[2])
