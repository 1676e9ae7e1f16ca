"""``polyspan export``: a model in another format, written only if it still answers as it did."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyspan.cli.listed import listed

if TYPE_CHECKING:
    from rich.table import Table


class Format(StrEnum):
    """What can be written."""

    onnx = "onnx"


class Precision(StrEnum):
    """Of the arithmetic."""

    fp32 = "fp32"
    int8 = "int8"


def export(
    model: Annotated[str, typer.Argument(help="Shipped name, folder or hub id.")],
    format_: Annotated[Format, typer.Option("--format", help="The format.")] = Format.onnx,
    precision: Annotated[Precision, typer.Option(help="fp32, or int8: smaller and faster.")] = Precision.fp32,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write; MODEL-onnx or MODEL-onnx-int8 here by default.")
    ] = None,
    data: Annotated[str, typer.Option(help="Measure on this: a file, folder or name.")] = "commons/test",
    kind: Annotated[
        str | None, typer.Option(help="Layout of --data: squad, mlqa, xquad, tydiqa, table or hub; guessed.")
    ] = None,
    languages: Annotated[str | None, typer.Option(help="Keep only these of --data, such as en,de,zh.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each pair of languages.")] = None,
    max_f1_loss: Annotated[
        float, typer.Option(min=0, help="Points of F1 that a language may lose; more, and nothing is written.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Export a model; F1 by language and its answers are measured before and after."""
    from rich.console import Console

    from polyspan.answering.onnx_export import export_model
    from polyspan.answering.onnx_gate import Gate
    from polyspan.answering.onnx_model import require
    from polyspan.corpus.load import guess_kind, is_shipped, load_corpus
    from polyspan.evaluation.evaluate import limit_pairs, rules_for
    from polyspan.experiments.recipe import MODEL_FOLDER

    require("onnx", "onnxscript", "onnxruntime")
    layout: Any = kind or guess_kind(data)
    corpus = load_corpus(data, kind=layout, languages=listed(languages))
    corpus = replace(corpus, name=data)
    rules = rules_for(None if is_shipped(data) else layout, corpus.languages)
    gate = Gate(corpus, limit_pairs(corpus.pairs(), limit), rules, max_f1_loss)
    suffix = "-int8" if precision is Precision.int8 else ""
    named = Path(model).resolve() if Path(model).is_dir() else Path(model)
    called = (
        named.parent.name if named.name == MODEL_FOLDER and named.parent.name else named.name
    )  # a run's is called so
    folder = output or Path(f"{called}-{format_.value}{suffix}")
    with Console(stderr=True).status("loading") as status:
        report = export_model(model, folder, precision.value, gate, status.update)
    if as_json:
        print(json.dumps({"output": str(folder), **report}))
        return
    console = Console(highlight=False)
    console.print(_table(report))
    console.print(str(folder), markup=False)


def _table(report: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, title=f"{report['precision']} on {report['rows']} rows of {report['data']}")
    for heading in ("context", "rows", "F1 before", "F1 after", "same best answer"):
        table.add_column(heading, justify="left" if heading == "context" else "right")
    for row in report["languages"]:
        before, after = f"{100 * row['before']:.1f}", f"{100 * row['after']:.1f}"
        table.add_row(row["language"], str(row["rows"]), before, after, f"{100 * row['same']:.1f}%")
    return table
