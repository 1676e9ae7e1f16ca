"""``polyspan evaluate``: the G-XLT matrix of a model on a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polyspan.cli.backend_option import BackendOption
from polyspan.cli.listed import listed


def evaluate(
    model: Annotated[str, typer.Option("--model", help="Shipped name, folder or hub id.")],
    data: Annotated[str, typer.Option("--data", help="File, folder or name, such as commons/test.")],
    backend: BackendOption = None,
    kind: Annotated[
        str | None, typer.Option(help="squad, mlqa, xquad, tydiqa, table or hub; guessed when left out.")
    ] = None,
    languages: Annotated[str | None, typer.Option(help="Keep only these, such as en,de,zh.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask this many questions of each pair of languages; all by default.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="Answers of each row to keep, best first.")] = 10,
    output: Annotated[Path | None, typer.Option(help="Folder for predictions.jsonl and scores.json.")] = None,
    leakage: Annotated[
        str, typer.Option(help="Where the model's training data and this share something: fail, warn or ignore.")
    ] = "warn",
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Ask a model every question over every context and score the answers."""
    from pydantic import ValidationError
    from rich.console import Console

    from polyspan.answering.backend import choose_backend, load_reader_for
    from polyspan.evaluation.matrix import render_averages, render_matrix
    from polyspan.evaluation.other_scores import render_other_scores
    from polyspan.evaluation.record import full_path
    from polyspan.experiments.evaluate import evaluate_model, refuse_other_evaluation
    from polyspan.experiments.leakage import check_evaluation
    from polyspan.experiments.recipe import Evaluation, RecipeError

    try:
        evaluation = Evaluation.model_validate(
            {
                "path": data,
                "kind": kind,
                "languages": listed(languages),
                "limit": limit,
                "top_k": top_k,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"--{first['loc'][0]}: {first['msg']}") from error
    runs_on = choose_backend(model, backend)
    console = Console(stderr=True)
    if output is not None:
        refuse_other_evaluation(output, model, evaluation, runs_on)
    loaded = load_reader_for(model, runs_on)
    check_evaluation(model, evaluation, output, leakage, console)
    matrix = evaluate_model(loaded.model, loaded.tokenizer, evaluation, output, console, full_path(model), runs_on)
    if as_json:
        print(json.dumps(matrix.to_dict()))
        return
    console = Console()
    console.print(render_matrix(matrix))
    console.print(render_averages(matrix))
    if matrix.rules:
        whose = {"mlqa": "MLQA's", "squad": "SQuAD's"}[matrix.rules]
        console.print(f"answers are judged by {whose} rules", style="dim")
    if matrix.other:
        console.print(render_other_scores(matrix.other))
