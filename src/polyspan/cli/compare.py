"""``polyspan compare``: which of two or more methods is better, and how surely."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer


def compare(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Run folders or `evaluate --output` folders, one run a method.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(help="A method with several runs, as NAME=FOLDER,FOLDER,...; repeatable; after the folders."),
    ] = None,
    metric: Annotated[str, typer.Option(help="f1 or em, for tables and sentence; --json has both.")] = "f1",
    by: Annotated[str, typer.Option(help="What is resampled whole: seed (question) or passage.")] = "seed",
    correction: Annotated[str, typer.Option(help="holm or bh, across pairs of languages; --json has both.")] = "holm",
    level: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Confidence of the intervals.")] = 0.95,
    draws: Annotated[
        int, typer.Option(min=100, help="Random draws of the bootstrap and of the permutation test.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare methods over the same questions: intervals, tests, effect sizes, and a sentence."""
    from rich.console import Console

    from polyspan.analysis.runs import read_seed
    from polyspan.evaluation.compare import CORRECTIONS, compare_all
    from polyspan.evaluation.matrix import METRICS
    from polyspan.evaluation.normalise import ScoringError
    from polyspan.evaluation.rows import Method, read_rows
    from polyspan.evaluation.verdict import note, render_comparison, sentence

    for option, value, allowed in (
        ("--metric", metric, METRICS),
        ("--by", by, ("seed", "passage")),
        ("--correction", correction, tuple(CORRECTIONS)),
    ):
        if value not in allowed:
            raise ScoringError(f"{option} is {' or '.join(allowed)}, not {value!r}")
    single = [(_name(folder, folders or []), [folder]) for folder in folders or []]
    methods = single + [_group(text) for text in group or []]
    if len(methods) < 2:
        raise ScoringError("name two or more methods: folders, or --group NAME=FOLDER,FOLDER")
    if repeated := [name for name, count in Counter(name for name, _ in methods).items() if count > 1]:
        raise ScoringError(f"two methods are called {repeated[0]!r}; name them with --group NAME=FOLDER")
    _check_rules([run for _, runs in methods for run in runs])
    comparisons = compare_all(
        [Method(name, [read_rows(run) for run in runs], [read_seed(run) for run in runs]) for name, runs in methods],
        by,  # type: ignore[arg-type]
        draws,
        level,
        seed,
    )
    if as_json:
        found = [
            {
                **comparison.to_dict(),
                "note": note(comparison),
                "sentence": sentence(comparison, metric, correction),  # type: ignore[arg-type]
            }
            for comparison in comparisons
        ]
        print(json.dumps({"comparisons": found}, ensure_ascii=False))
        return
    console = Console()
    for comparison in comparisons:
        console.print(render_comparison(comparison, metric, correction))  # type: ignore[arg-type]
        verdict = sentence(comparison, metric, correction)  # type: ignore[arg-type]
        console.print(verdict, style="bold", markup=False, highlight=False, soft_wrap=True)


def _check_rules(folders: list[Path]) -> None:
    from polyspan.evaluation.normalise import ScoringError
    from polyspan.evaluation.record import EvaluationRecord

    records = [(folder, record) for folder in folders if (record := EvaluationRecord.read(folder)) is not None]
    for folder, record in records[1:]:
        first, known = records[0]
        if record.rules != known.rules:
            raise ScoringError(
                f"{folder}: scored by the rules of {record.rules}, {first} by those of {known.rules};"
                " evaluate both again with the same --kind and --languages"
            )


def _group(text: str) -> tuple[str, list[Path]]:
    from polyspan.evaluation.normalise import ScoringError

    name, _, runs = text.partition("=")
    if not name or not runs:
        raise ScoringError(f"--group {text}: write it as NAME=FOLDER,FOLDER")
    folders = [Path(run) for run in runs.split(",")]
    if "" in runs.split(","):
        raise ScoringError(f"--group {text}: a folder between its commas has no name")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ScoringError(f"--group {text}: a folder is named twice; one run tells nothing of the luck of training")
    return name, folders


def _name(folder: Path, folders: list[Path]) -> str:
    """The folder's own name; with its parents where others are called the same."""
    own = folder.resolve().name
    return str(folder) if [other.resolve().name for other in folders].count(own) > 1 else own
