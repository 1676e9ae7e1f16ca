"""``polyspan calibrate``: scores that are probabilities, and how far they can be trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from polyspan.cli.backend_option import BackendOption
from polyspan.cli.listed import listed


def calibrate(
    model: Annotated[str, typer.Option("--model", help="Shipped name, folder or hub id.")],
    data: Annotated[str, typer.Option("--data", help="What to fit on: a file, folder or name, such as commons/dev.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for calibration.json and the figures.")],
    backend: BackendOption = None,
    kind: Annotated[
        str | None, typer.Option(help="Layout of --data: squad, mlqa, xquad, tydiqa, table or hub; guessed.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Measure on this data set; without it, on half of the questions of --data.")
    ] = None,
    test_kind: Annotated[str | None, typer.Option(help="Layout of --test; guessed.")] = None,
    languages: Annotated[str | None, typer.Option(help="Keep only these, such as en,de,zh.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each pair of languages.")] = None,
    no_answer_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            help="Share of rows without an answer, made of questions over other articles' texts."
            " Take what the model will meet: scores hold for that mixture.",
        ),
    ] = 0.5,
    save: Annotated[
        bool, typer.Option("--save", help="Also write it into the model's folder, where Answerer finds it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Fit a model's scores so that they say how often an answer is right, and measure them on other questions."""
    from rich.console import Console

    from polyspan.answering.backend import choose_backend, load_reader_for, move_to_accelerator
    from polyspan.experiments.calibrate import CalibrateError, Rows
    from polyspan.experiments.calibrate import calibrate as run
    from polyspan.experiments.leakage import check_evaluation
    from polyspan.experiments.model_card import note_calibration
    from polyspan.experiments.recipe import Evaluation
    from polyspan.models.load import local_path

    if save and not local_path(model).is_dir():
        raise CalibrateError(f"{model}: --save writes into a model's folder, and this is a name; use a folder")
    kept = tuple(listed(languages) or ()) or None
    for path, layout in ((data, kind), (test, test_kind)):
        if path is not None:
            asked = Evaluation.model_validate({"path": path, "kind": layout, "languages": kept and list(kept)})
            check_evaluation(model, asked, None, "warn", Console(stderr=True))
    loaded = load_reader_for(model, choose_backend(model, backend))
    move_to_accelerator(loaded)
    calibration, measured = run(
        loaded,
        Rows(data, kind, kept, limit, no_answer_share),
        Rows(test, test_kind, kept, limit, no_answer_share) if test else None,
        output,
        Console(stderr=True),
    )
    if save:
        calibration.save(local_path(model))
        note_calibration(local_path(model))
    if as_json:
        print(json.dumps({**calibration.model_dump(mode="json"), "measured": measured}))
        return
    console = Console(highlight=False)
    console.print(
        f"temperature {calibration.temperature:.2f} on {calibration.rows} rows of {data};"
        f" measured on {measured['rows']} of {measured['data']}",
        markup=False,
    )
    for name, label in (("answers", "answers"), ("answerable", "where there is one"), ("no_answer", "no answer")):
        if name in measured:
            before, after = measured[name]["before"], measured[name]["after"]
            console.print(
                f"{label:>20}: ECE {100 * before['ece']:.1f} -> {100 * after['ece']:.1f}"
                f" (perfect scores have about {100 * after['ece_floor']:.1f} on so few rows)"
            )
    for row in measured["thresholds"]:
        if row["precision_measured"] is not None:
            console.print(
                f"  precision {row['precision']:g}: score {row['score']:.3f} and more, measured"
                f" {row['precision_measured']:.3f} with {100 * row['coverage_measured']:.1f}% answered"
            )
    console.print(str(output), markup=False)
