"""Answers on a CPU: one question over one 200-token context, and 64 at once.

    python benchmarks/answering.py [--quick] [--json FILE] [--old-python PYTHON]

Contestants, each in a process of its own that keeps its model loaded:

- ``old-pipeline``: ``pipeline("question-answering")`` of transformers 4.57, fp32, as its users call it, in an
  environment of its own (see ``old_pipeline.py``), made where it is missing;
- ``torch-fp32`` and, where the processor multiplies faster in it, ``torch-bf16``: ``Answerer`` in these precisions;
- ``onnx-fp32`` and ``onnx-int8``: ``Answerer`` on what ``polyspan export`` writes;
- ``openvino``: ``Answerer`` with OpenVINO, which takes bf16 where the processor multiplies faster in it, else fp32;
  and ``openvino-int8``, on what ``polyspan export`` writes in 8 bits.

All read the same weights and take the same calls, in turn, round after round. Contexts and questions are the
shipped corpus's, in nine languages, joined and cut to 200 tokens. F1 is measured on the shipped corpus as well, on
2,106 rows or 648 of them: between two precisions a row's F1 differs by 10 points as standard deviation, so that 81
rows would tell a loss only to 1.2 points and these tell it to 0.2 or 0.4.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import IO, Any
from unittest import mock

from old_pipeline import environment

CONTESTANTS = (
    "old-pipeline",
    "torch-fp32",
    "torch-bf16",
    "onnx-fp32",
    "onnx-int8",
    "openvino",
    "openvino-int8",
)
ITEMS = 64
TOKENS = 200
ALONE = 16
"""Questions asked one at a time, in a row; the first of a row finds other contestants' data in the caches."""
REST = 0.5
"""Seconds between contestants: some runtimes keep their threads spinning for a while after their work."""

# Runs in the other environment: nothing of Polyspan may be imported there.
OLD = """
import json, os, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from transformers import logging, pipeline
logging.set_verbosity_error()
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
reader = pipeline("question-answering", model=sys.argv[1], device="cpu")
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    begin = time.perf_counter()
    found = reader(question=asked["questions"], context=asked["contexts"])
    seconds = time.perf_counter() - begin
    found = found if isinstance(found, list) else [found]
    print(json.dumps({"seconds": seconds, "answers": [item["answer"] for item in found]}), flush=True)
"""


def main() -> None:
    """Run the contestants in turn, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and rows, some minutes on two cores")
    parser.add_argument("--rounds", type=int, help="of 64 at once and 16 alone; 10 by default, 2 with --quick")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="polyspan-qa-en", help="shipped name or folder")
    parser.add_argument("--old-python", type=Path, help="python of an environment with transformers 4.57")
    parser.add_argument("--exports", type=Path, help="folder to keep the exports in; the cache by default")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        serve(arguments.contestant, arguments.folder)
        return
    from polyspan.encoding.precision import faster_in_bf16
    from polyspan.models.load import resolve_model

    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    folder = resolve_model(arguments.model)
    exports = make_exports(folder, arguments.exports, arguments.quick)
    old = arguments.old_python or environment(None)
    contestants = [name for name in CONTESTANTS if name != "torch-bf16" or faster_in_bf16("cpu")]
    racers = {name: start(name, old, exports.get(name, folder)) for name in contestants}
    questions, contexts = items(folder)
    rounds = arguments.rounds or (2 if arguments.quick else 10)
    times: dict[str, dict[str, list[float]]] = {name: {"single": [], "batch": []} for name in racers}
    for number in range(rounds + 1):  # the first warms up
        for name, racer in racers.items():
            time.sleep(REST)
            picked = [(number * ALONE + at) % ITEMS for at in range(ALONE)]
            single = [ask(racer, [questions[at]], [contexts[at]])["seconds"] for at in picked]
            batch = ask(racer, questions, contexts)["seconds"]
            if number:
                times[name]["single"] += single
                times[name]["batch"].append(batch)
        print(f"round {number} of {rounds}", file=sys.stderr)
    f1 = measure_f1(racers, 8 if arguments.quick else None)
    report = summary(times, f1, arguments)
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def make_exports(folder: str, place: Path | None, quick: bool) -> dict[str, str]:
    """The model in both precisions of ONNX, exported first where it is missing; any loss is let through."""
    from polyspan.answering.onnx_export import EXPORT_FILE, export_model
    from polyspan.answering.onnx_gate import Gate
    from polyspan.corpus import load_corpus
    from polyspan.evaluation.evaluate import limit_pairs
    from polyspan.models.cache import cache_folder

    corpus = load_corpus("commons/test")
    gate = Gate(corpus, limit_pairs(corpus.pairs(), 1 if quick else 5), "squad", 100.0)
    made = {}
    for precision in ("fp32", "int8"):
        target = (place or cache_folder() / "benchmark-exports") / f"{Path(folder).name}-{precision}"
        if not (target / EXPORT_FILE).is_file():
            print(f"exporting {target}", file=sys.stderr)
            export_model(folder, target, precision, gate)  # type: ignore[arg-type]
        made[f"onnx-{precision}"] = str(target)
    return {**made, "openvino-int8": made["onnx-int8"]}


def items(folder: str) -> tuple[list[str], list[str]]:
    """Questions of the shipped corpus and contexts of 200 tokens: passages of one language, joined and cut."""
    from polyspan.corpus import load_corpus
    from polyspan.models.load import load_tokenizer

    corpus, tokenizer = load_corpus("commons/test"), load_tokenizer(folder, folder)
    generator = random.Random(1)
    pairs = generator.sample(corpus.pairs(), ITEMS)
    contexts = []
    for pair in pairs:
        others = [p.text for p in corpus.passages.values() if p.language == pair.context_language]
        text = " ".join([corpus.context(pair), *generator.sample(others, len(others))])
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        contexts.append(text[: offsets["offset_mapping"][TOKENS - 1][1]])
    return [corpus.question(pair) for pair in pairs], contexts


def start(name: str, old: Path, folder: str) -> subprocess.Popen[str]:
    """A contestant's process, once its model is loaded."""
    ours = [sys.executable, __file__, "--contestant", name, "--folder", folder]
    command = [str(old), "-c", OLD, folder] if name == "old-pipeline" else ours
    racer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    if _pipe(racer.stdout).readline().strip() != "ready":
        sys.exit(f"{name} did not start")
    return racer


def ask(racer: subprocess.Popen[str], questions: list[str], contexts: list[str]) -> dict[str, Any]:
    """Seconds and answers of one call."""
    _pipe(racer.stdin).write(json.dumps({"questions": questions, "contexts": contexts}) + "\n")
    _pipe(racer.stdin).flush()
    reply: dict[str, Any] = json.loads(_pipe(racer.stdout).readline())
    return reply


def serve(name: str, folder: str) -> None:
    """Answer calls from standard input until it ends."""
    import torch

    from polyspan import Answerer

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    answerer = Answerer(folder, "openvino" if name.startswith("openvino") else None)
    plain = mock.patch("polyspan.encoding.predict.inference_precision", return_value=nullcontext())
    with plain if name == "torch-fp32" else nullcontext():
        print("ready", flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            begin = time.perf_counter()
            found = answerer(question=asked["questions"], context=asked["contexts"])
            seconds = time.perf_counter() - begin
            found = found if isinstance(found, list) else [found]
            answers = [item["answer"] if isinstance(item, dict) else "" for item in found]
            print(json.dumps({"seconds": seconds, "answers": answers}), flush=True)


def measure_f1(racers: dict[str, subprocess.Popen[str]], limit: int | None) -> dict[str, float]:
    """Mean F1 on the shipped corpus, `limit` questions of a pair of languages, in points of 100, by SQuAD's rules."""
    from polyspan.corpus import load_corpus
    from polyspan.evaluation import score_answer
    from polyspan.evaluation.evaluate import limit_pairs

    corpus = load_corpus("commons/test")
    pairs = limit_pairs(corpus.pairs(), limit)
    questions, contexts = [corpus.question(pair) for pair in pairs], [corpus.context(pair) for pair in pairs]
    f1 = {}
    for name, racer in racers.items():
        answers = ask(racer, questions, contexts)["answers"]
        scores = [
            score_answer(found, [gold.text for gold in corpus.answers(pair)], pair.context_language, rules="squad").f1
            for found, pair in zip(answers, pairs, strict=True)
        ]
        f1[name] = 100 * sum(scores) / len(scores)
    return f1


def summary(
    times: dict[str, dict[str, list[float]]], f1: dict[str, float], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Milliseconds, F1, and the ratios of the fastest contestant that loses no more than 0.5 F1."""
    rows = {
        name: {
            "single_median_ms": 1000 * median(found["single"]),
            "single_p95_ms": 1000 * _p95(found["single"]),
            "batch_median_ms": 1000 * median(found["batch"]),
            "batch_p95_ms": 1000 * _p95(found["batch"]),
            "answers_per_second": ITEMS / median(found["batch"]),
            "f1": f1[name],
        }
        for name, found in times.items()
    }
    fit = [name for name in rows if name != "old-pipeline" and f1["torch-fp32"] - f1[name] <= 0.5]
    old = rows["old-pipeline"]
    fastest = {key: min(fit, key=lambda name: rows[name][f"{key}_median_ms"]) for key in ("single", "batch")}
    return {
        "model": arguments.model,
        "threads": arguments.threads,
        "contestants": rows,
        "fastest": fastest,
        "ratios": {
            "batch_throughput_over_old_pipeline": old["batch_median_ms"] / rows[fastest["batch"]]["batch_median_ms"],
            "single_latency_over_old_pipeline": old["single_median_ms"] / rows[fastest["single"]]["single_median_ms"],
        },
    }


def show(report: dict[str, Any]) -> None:
    """Print the table and the ratios."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, title=f"{report['model']}, {report['threads']} threads")
    for heading in ("", "one, ms", "p95", f"{ITEMS}, ms", "p95", "answers/s", "F1"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, row in report["contestants"].items():
        figures = [
            f"{row[key]:.0f}" for key in ("single_median_ms", "single_p95_ms", "batch_median_ms", "batch_p95_ms")
        ]
        table.add_row(name, *figures, f"{row['answers_per_second']:.1f}", f"{row['f1']:.1f}")
    console = Console(width=100, highlight=False)
    console.print(table)
    for key, value in report["ratios"].items():
        console.print(f"{key}: {value:.2f} ({report['fastest'][key.split('_')[0]]})")


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * (len(values) - 1)))]


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # both are opened as pipes
    return stream


if __name__ == "__main__":
    main()
