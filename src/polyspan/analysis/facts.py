"""What was run, on which data, and how to make it again, in words for the report's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import join, quote
from typing import Any

import yaml

from polyspan.analysis.cells import METHODS
from polyspan.analysis.runs import Run, data_name, without_homes, without_paths
from polyspan.corpus.leakage import KINDS


def run_facts(run: Run) -> dict[str, Any]:
    facts: list[tuple[str, object]] = []
    record, recipe = run.evaluation, run.recipe
    if run.method is not None:
        facts.append(("method", METHODS[run.method] + (", without cross-entropy" if run.without_cross_entropy else "")))
    if record is not None:
        facts += [
            ("model", data_name(record.model)),
            ("asked", run.data_label()),
            ("scored by", f"{record.rules} rules"),
        ]
    if recipe is not None:
        data, objective, training = recipe["data"], recipe["objective"], recipe["training"]
        facts += [("started from", data_name(str(recipe["model"]))), ("trained on", data_name(str(data["path"])))]
        if run.examples is not None and run.data is not None:
            drawn = f", ntl {run.target_languages}" if run.target_languages else ""
            facts.append(("examples", f"{run.examples:,} of {run.data['seeds']:,} questions{drawn}"))
        if objective["alpha_kl"]:
            facts.append(("distillation", f"T {objective['temperature']:g}, coefficient {objective['coefficient']}"))
        rate = f"{training['learning_rate']:g}"
        facts.append(("training", f"{training['epochs']} epochs at {rate}, seed {recipe['seed']}"))
    if run.timing:
        facts.append(("trained for", _duration(float(run.timing["training_seconds"]))))
    if record is not None:
        facts.append(("evaluated in", _duration(record.seconds)))
    return {
        "name": run.name,
        "facts": facts,
        "recipe": None
        if recipe is None
        else yaml.safe_dump(without_homes(dict(recipe)), sort_keys=False, allow_unicode=True),
        "environment": list((run.environment or {}).items()),
        "leakage": None if run.leakage is None else leakage_lines(run.leakage),
        "data": _losses(run.data) if run.data else None,
    }


def leakage_lines(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines = []
    for entry in found.get("compared", []):
        counts = {kind: entry.get(kind) for kind in KINDS}
        shared = [f"{count:,} {KINDS[kind]}" for kind, count in counts.items() if count]
        names = f"{data_name(str(entry['test']))} against {data_name(str(entry['train']))}"
        what = ", ".join(shared) or "nothing is shared"
        size = f"of {entry['questions']:,} questions and {entry['test_passages']:,} passages"
        unsought = " Near copies were not looked for." if counts["near_passages"] is None else ""
        lines.append({"clean": not shared, "text": f"{names}: {what} ({size}).{unsought}"})
    for entry in found.get("not_compared", []):
        lines.append(
            {
                "clean": False,
                "text": f"Not compared with what {data_name(str(entry['model']))} was trained on:"
                f" {without_paths(entry['why'])}.",
            }
        )
    lines += [{"clean": False, "text": f"{without_paths(known)}."} for known in found.get("by_name", [])]
    origins = ", ".join(data_name(str(origin)) for origin in found.get("origins", []))
    if origins:
        lines.append({"clean": None, "text": f"What {origins} was trained on before is told by no recipe here."})
    return lines


def _losses(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was lost between the files and the windows that were trained on."""
    names = {
        "dropped_seeds": "questions left out",
        "skipped_records": "bad records skipped",
        "answers_in_no_window": "answers in no window",
        "questions_cut": "questions cut",
    }
    facts = (
        [("windows", f"{data['windows']:,} of {data['mean_tokens']} tokens on average")] if "windows" in data else []
    )
    for key, name in names.items():
        found = data.get(key)
        if isinstance(found, Mapping) and found:
            facts.append((name, ", ".join(f"{count:,} ({why})" for why, count in found.items())))
        elif isinstance(found, Sequence) and found:
            facts.append((name, f"{len(found):,}"))
    return facts


def calibration_facts(run: Run) -> list[tuple[str, str]]:
    """What a calibration was fitted on, and the scores that answers can be held to."""
    found = run.calibration
    facts = [
        ("fitted on", f"{found['rows']:,} rows of {data_name(str(found['data']))}"),
        ("temperature", f"{found['temperature']:.2f}"),
    ]
    measured = {row["precision"]: row for row in (found.get("measured") or {}).get("thresholds", [])}
    for row in found.get("thresholds", []):
        text = f"score of {row['score']:.2f} and more, {100 * row['coverage']:.0f}% answered"
        seen = measured.get(row["precision"])
        if seen and seen["precision_measured"] is not None:
            text += f"; measured {100 * seen['precision_measured']:.0f}% right"
        facts.append((f"{100 * row['precision']:g}% right", text))
    return facts


def commands(runs: Sequence[Run]) -> str:
    """Shell commands; data and folders by their short names."""
    lines = []
    for run in runs:
        record = run.evaluation
        if run.recipe is not None and (run.folder / "recipe.yaml").is_file():
            lines += [f"# {run.name}: its recipe is above", f"polyspan train {quote(f'{run.name}/recipe.yaml')}"]
        elif record is not None:
            words = ["polyspan", "evaluate", "--model", data_name(record.model), "--data", data_name(record.path)]
            words += ["--kind", record.kind]
            if record.languages:
                words += ["--languages", ",".join(record.languages)]
            if record.limit:
                words += ["--limit", str(record.limit)]
            if record.backend != "torch":
                words += ["--backend", record.backend]
            lines.append(join([*words, "--top-k", str(record.top_k), "--output", run.name]))
    return "\n".join([*lines, join(["polyspan", "report", *(run.name for run in runs), "--output", "report"])])


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
