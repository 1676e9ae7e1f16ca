"""Speed of the MLQA-dev matrix, against the way of transformers' question-answering example.

    POLYSPAN_DATA=... python benchmarks/evaluation.py [--quick | --limit N] [--rounds N] [--json FILE]

All ask one model the same questions over the same contexts, in fp32 and, where the processor
multiplies faster in it, in bf16; each in a process of its own, one after the other.

- ``transformers``: what users of the ``run_qa`` example have: every pair tokenised as text, windows
  padded to 384, ``Trainer.predict`` in batches of 8, and for each window the 20 best starts and 20
  best ends paired in Python.
- ``polyspan``: what ``polyspan evaluate`` does: texts tokenised once, batches of windows of like
  length, spans of a whole batch ranked at once, ten answers a row kept.
- ``openvino``: the same with ``--backend openvino``.

All are scored by the same code. Where their answers differ, the reference's logits say why: the two
are a rounding error apart, or they are not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

REFERENCE, OURS = "transformers", ("polyspan", "openvino")
CONTESTANTS = (REFERENCE, *OURS)
PARTS = ("preparation", "model", "decoding", "scoring")
QUICK_LIMIT = 2
MAX_LENGTH, OVERLAP, MAX_ANSWER_TOKENS = 384, 128, 30
REFERENCE_BATCH = 8
REFERENCE_BEST = 20
ROUNDING = {"fp32": 1e-3, "bf16": 0.5}
"""Logits of the sum of start and end that padding alone may move, by precision."""


def main() -> None:
    """Run the contestants in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="polyspan-qa-en", help="shipped name, folder or hub id")
    parser.add_argument("--limit", type=int, help="questions of each pair of languages; all when left out")
    parser.add_argument("--quick", action="store_true", help=f"the same as --limit {QUICK_LIMIT}")
    parser.add_argument("--rounds", type=int, default=1, help="of every contestant; times are medians")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--precision", choices=ROUNDING, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    limit = QUICK_LIMIT if arguments.quick else arguments.limit
    if arguments.contestant:
        print(json.dumps(race(arguments.contestant, arguments.precision, arguments.model, limit)))
        return
    report: dict[str, Any] = {"model": arguments.model, "limit": limit, "precisions": {}}
    for precision in precisions():
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTESTANTS}
        for _ in range(arguments.rounds):
            for name, found in rounds.items():
                command = [sys.executable, __file__, "--model", arguments.model]
                command += ["--contestant", name, "--precision", precision]
                command += ["--limit", str(limit)] if limit else []
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
        report["precisions"][precision] = judge(rounds, precision)
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def precisions() -> list[str]:
    """fp32, and bf16 where `polyspan evaluate` would take it on this machine."""
    from polyspan.encoding.precision import faster_in_bf16

    return ["fp32", "bf16"] if faster_in_bf16("cpu") else ["fp32"]


def race(contestant: str, precision: str, model: str, limit: int | None) -> dict[str, Any]:
    """Evaluate once: seconds by part, every answer, the scores."""
    import transformers

    from polyspan.answering.openvino_model import load_openvino
    from polyspan.corpus import load_corpus
    from polyspan.evaluation.evaluate import limit_pairs
    from polyspan.models import load_model

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    data = os.environ.get("POLYSPAN_DATA")
    if not data:
        sys.exit("POLYSPAN_DATA is not set: it names the folder that holds mlqa/dev")
    corpus = load_corpus(Path(data) / "mlqa" / "dev", kind="mlqa")
    pairs = limit_pairs(corpus.pairs(), limit)
    with mock.patch("polyspan.answering.openvino_model.faster_in_bf16", return_value=precision == "bf16"):
        loaded = load_openvino(model) if contestant == "openvino" else load_model(model)
    clock, began = Clock(), time.process_time()
    run = ask_with_transformers if contestant == REFERENCE else ask_with_polyspan
    result = run(loaded.model, loaded.tokenizer, corpus, pairs, precision, clock)
    processor = time.process_time() - began
    return {
        "rows": len(pairs),
        "seconds": clock.seconds,
        "processor_seconds": processor,
        "ids": [list_of(pair) for pair in pairs],
        **result,
    }


class Clock:
    """Seconds by part of the work; what is timed inside another part is taken off that one."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inner = [0.0]

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Time a block."""
        self._inner.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self.seconds[part] += took - self._inner.pop()
            self._inner[-1] += took

    def wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.on(part):
                return function(*args, **kwargs)

        return timed


def ask_with_polyspan(
    model: Any, tokenizer: Any, corpus: Any, pairs: Sequence[Any], precision: str, clock: Clock
) -> dict[str, Any]:
    """`predict` and `score_rows`, with clocks around the parts of the former."""
    from polyspan.encoding import predict as module
    from polyspan.evaluation import ScoreMatrix
    from polyspan.evaluation.evaluate import score_rows

    model.forward = clock.wrap("model", model.forward)
    with ExitStack() as patches:
        for name in ("tokenise_corpus", "make_windows", "build_batch"):
            patched = clock.wrap("preparation", getattr(module, name))
            patches.enter_context(mock.patch.object(module, name, patched))
        patches.enter_context(module.inference_precision(model) if precision == "bf16" else nullcontext())
        # Whatever is neither of the other parts counts as decoding.
        with clock.on("decoding"):
            predictions = module.predict(model, tokenizer, corpus, pairs, top_k=10)
    with clock.on("scoring"):
        matrix = ScoreMatrix.from_rows(score_rows(corpus, predictions, "mlqa"))
    answers = [prediction.spans[0].text if prediction.spans else "" for prediction in predictions]
    return {"answers": answers, "scores": matrix.to_dict()["averages"]}


def ask_with_transformers(
    model: Any, tokenizer: Any, corpus: Any, pairs: Sequence[Any], precision: str, clock: Clock
) -> dict[str, Any]:
    """Padded windows through ``Trainer.predict``, spans joined in Python."""
    from transformers import Trainer, TrainingArguments, default_data_collator

    from polyspan.evaluation import RowScore, ScoreMatrix
    from polyspan.evaluation.scores import score_answer

    with clock.on("preparation"):
        encoded = tokenizer(
            [corpus.question(pair) for pair in pairs],
            [corpus.context(pair) for pair in pairs],
            truncation="only_second",
            max_length=MAX_LENGTH,
            stride=OVERLAP,
            padding="max_length",
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        owners = encoded["overflow_to_sample_mapping"]
        offsets = [
            [offset if sequence == 1 else None for offset, sequence in zip(row, encoded.sequence_ids(i), strict=True)]
            for i, row in enumerate(encoded["offset_mapping"])
        ]
        names = [name for name in tokenizer.model_input_names if name in encoded]
        windows = [{name: encoded[name][i] for name in names} for i in range(len(owners))]
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_eval_batch_size=REFERENCE_BATCH,
        bf16=precision == "bf16",
        report_to="none",
        disable_tqdm=True,
        use_cpu=next(model.parameters()).device.type == "cpu",
    )
    trainer = Trainer(model, arguments, data_collator=default_data_collator)
    with clock.on("model"):
        starts, ends = trainer.predict(windows).predictions[:2]  # type: ignore[arg-type]
    with clock.on("decoding"):
        windows_of: list[list[int]] = [[] for _ in pairs]
        for window, owner in enumerate(owners):
            windows_of[owner].append(window)
        answers = [
            best_by_pairing(corpus.context(pair), [(starts[w], ends[w], offsets[w]) for w in of_pair])
            for pair, of_pair in zip(pairs, windows_of, strict=True)
        ]
    with clock.on("scoring"):
        rows = []
        for pair, (answer, _) in zip(pairs, answers, strict=True):
            golds = [gold.text for gold in corpus.answers(pair)]
            score = score_answer(answer, golds, pair.context_language)
            rows.append(RowScore(pair.id, pair.question_language, pair.context_language, score.f1, score.em))
        matrix = ScoreMatrix.from_rows(rows)
    return {
        "answers": [answer for answer, _ in answers],
        "values": [values for _, values in answers],
        "scores": matrix.to_dict()["averages"],
        "tokens_with_padding": len(windows) * MAX_LENGTH,
        "tokens": int(sum(map(sum, encoded["attention_mask"]))),
    }


def best_by_pairing(context: str, windows: Sequence[tuple[Any, Any, Sequence[Any]]]) -> tuple[str, dict[str, float]]:
    """The likeliest span of one context, and the values of the 20 best by their text.

    Args:
        context: its characters.
        windows: start logits, end logits and offsets into the context, None outside it, each (tokens,).
    """
    import numpy as np

    spans = []
    for start_logits, end_logits, offsets in windows:
        best_starts = np.argsort(start_logits)[: -REFERENCE_BEST - 1 : -1].tolist()
        best_ends = np.argsort(end_logits)[: -REFERENCE_BEST - 1 : -1].tolist()
        for first in best_starts:
            for last in best_ends:
                if offsets[first] is None or offsets[last] is None:
                    continue
                if last < first or last - first + 1 > MAX_ANSWER_TOKENS:
                    continue
                value = float(start_logits[first] + end_logits[last])
                spans.append((value, offsets[first][0], offsets[last][1]))
    spans.sort(key=lambda span: -span[0])
    best = [(value, context[start:end]) for value, start, end in spans[:REFERENCE_BEST]]
    # The example writes the probabilities of the best among themselves to a file of their own.
    total = sum(math.exp(value - best[0][0]) for value, _ in best) if best else 1.0
    _ = [math.exp(value - best[0][0]) / total for value, _ in best]
    values: dict[str, float] = {}
    for value, text in best:
        values.setdefault(text.strip(), value)
    return best[0][1] if best else "", values


def list_of(pair: Any) -> list[str]:
    """A pair for JSON."""
    return [pair.id, pair.question_language, pair.context_language]


def judge(rounds: dict[str, list[dict[str, Any]]], precision: str) -> dict[str, Any]:
    """Medians of the times, and where and why answers differ."""
    report: dict[str, Any] = {}
    for name, found in rounds.items():
        seconds = {part: statistics.median(run["seconds"][part] for run in found) for part in PARTS}
        total = sum(seconds.values())
        report[name] = {
            "seconds": {part: round(value, 3) for part, value in seconds.items()},
            "processor_seconds": round(statistics.median(run["processor_seconds"] for run in found), 2),
            "rows_per_second": round(found[0]["rows"] / total, 2),
            "decoding_and_scoring_%": round(100 * (seconds["decoding"] + seconds["scoring"]) / total, 2),
            "scores": found[0]["scores"],
        }
    reference = rounds[REFERENCE][0]
    report["rows"] = reference["rows"]
    report["padding_%"] = round(100 * (1 - reference["tokens"] / reference["tokens_with_padding"]), 1)
    for name in OURS:
        ours, base = report[name], report[REFERENCE]
        ours["times_faster"] = round(ours["rows_per_second"] / base["rows_per_second"], 2)
        ours["times_less_processor_time"] = round(base["processor_seconds"] / ours["processor_seconds"], 2)
        ours["differing"] = differences(reference, rounds[name][0], precision)
        ours["same_answers_%"] = round(100 * (1 - len(ours["differing"]) / reference["rows"]), 3)
    return report


def differences(reference: dict[str, Any], ours: dict[str, Any], precision: str) -> list[dict[str, Any]]:
    """Rows whose best answers differ, and why: the reference's values of both are a rounding error apart, or not."""
    differing: list[dict[str, Any]] = []
    for key, theirs, answer, values in zip(
        reference["ids"], reference["answers"], ours["answers"], reference["values"], strict=True
    ):
        if theirs.strip() != answer.strip():
            gap = values[theirs.strip()] - values[answer.strip()] if answer.strip() in values else None
            why = "rounding" if gap is not None and gap <= ROUNDING[precision] else "other"
            differing.append({"pair": key, "transformers": theirs, "polyspan": answer, "gap": gap, "why": why})
    return differing


def show(report: dict[str, Any]) -> None:
    """Print the table and what is to be known of it."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=120, highlight=False)
    table = Table(box=None)
    for heading in ("", "rows/s", *(f"{part}, s" for part in PARTS), "processor, s", "dec. + scoring"):
        table.add_column(heading, justify="right" if heading else "left")
    for precision, found in report["precisions"].items():
        for name in CONTESTANTS:
            row = found[name]
            table.add_row(
                f"{name}, {precision}",
                f"{row['rows_per_second']:.2f}",
                *(f"{row['seconds'][part]:.2f}" for part in PARTS),
                f"{row['processor_seconds']:.2f}",
                f"{row['decoding_and_scoring_%']:.2f}%",
            )
    console.print(table)
    for precision, found in report["precisions"].items():
        for name in OURS:
            ours = found[name]
            reasons = [entry["why"] for entry in ours["differing"]]
            console.print(
                f"{name}, {precision}: {ours['times_faster']:.2f} times as fast, with"
                f" {ours['times_less_processor_time']:.2f} times less processor time; {ours['same_answers_%']:.2f}% of"
                f" {found['rows']:,} answers are the same, {reasons.count('rounding')} differ by rounding,"
                f" {reasons.count('other')} otherwise; {found['padding_%']:.0f}% of the padded tokens are padding",
                soft_wrap=True,
            )


if __name__ == "__main__":
    main()
