"""Preparing training data: each text tokenised once, against tokenising each pair.

    POLYSPAN_DATA=... python benchmarks/preparation.py [--quick] [--json FILE]

XQuAD in seven languages is sampled with 1, 3 and 5 target languages, and made ready for training in two
ways, each time in a process of its own:

- ``pairs``: as the ``run_qa`` example does, question and context of every pair are tokenised together, with
  offsets, in batches of 1,000, windows cut by the tokeniser, labels found from the offsets; kept as arrays
  of 32-bit numbers;
- ``texts``: Polyspan: every text tokenised once, windows laid over them as numbers.

A simulated set of 1,000,041 pairs follows: XQuAD's questions under up to 18 ids each, 6 target languages. Seconds
are from the corpus in memory to the windows. Memory is what the process holds more than before, so texts
themselves and the libraries are not in it; of Polyspan's, the columns of pairs and windows are shown apart.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

LANGUAGES = ["en", "es", "de", "ar", "vi", "hi", "zh"]
MAX_LENGTH, OVERLAP = 384, 128
COPIES, MOST_SEEDS = 18, 20_409
MODEL = "embedded"


def main() -> None:
    """Prepare every set in both ways, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only 150 of the 1,190 questions of XQuAD")
    parser.add_argument("--model", default=MODEL, help="whose tokeniser; the embedded encoder's by default")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--set", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seeds = 150 if arguments.quick else 1190
    if arguments.set:
        way, targets = arguments.set.split("-")
        print(json.dumps(measure(way, targets, seeds, arguments.model)))
        return
    rows = []
    for name in ("pairs-1", "texts-1", "pairs-3", "texts-3", "pairs-5", "texts-5", "texts-simulated"):
        command = [sys.executable, __file__, "--set", name, "--model", arguments.model]
        done = subprocess.run([*command, *["--quick"] * arguments.quick], check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{name}: {rows[-1]['seconds']:.1f} s", file=sys.stderr)
    found = {row["set"]: row for row in rows}
    report = {
        "sets": rows,
        "ratios": {
            "speed_up": found["pairs-5"]["seconds"] / found["texts-5"]["seconds"],
            "memory_pairs_5_over_1": found["pairs-5"]["mib"] / found["pairs-1"]["mib"],
            "memory_texts_5_over_1": found["texts-5"]["mib"] / found["texts-1"]["mib"],
            "simulated_bytes_a_pair": found["texts-simulated"]["bytes_a_pair"],
            "collation_microseconds_a_window": found["texts-5"]["collation_microseconds"],
        },
    }
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def show(report: dict[str, Any]) -> None:
    """Print the table and the ratios."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for heading in ("", "texts", "pairs", "windows", "seconds", "memory, MiB", "of it for pairs, MiB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in report["sets"]:
        table.add_row(
            row["set"],
            f"{row['texts']:,}",
            f"{row['pairs']:,}",
            f"{row['windows']:,}",
            f"{row['seconds']:.1f}",
            f"{row['mib']:.1f}",
            f"{row['pairs_mib']:.1f}",
        )
    console = Console(width=100)
    console.print(table)
    for name, value in report["ratios"].items():
        console.print(f"{name}: {value:.1f}", highlight=False)


def measure(way: str, targets: str, count: int, model: str) -> dict[str, Any]:
    """Prepare one set in one way."""
    from transformers import AutoTokenizer

    from polyspan.corpus import load_corpus, sample_pairs
    from polyspan.models.load import resolve_model

    data = os.environ.get("POLYSPAN_DATA")
    if not data:
        sys.exit("POLYSPAN_DATA is not set: it names the folder that holds xquad/")
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(model))
    corpus = load_corpus(Path(data) / "xquad", kind="xquad", languages=LANGUAGES)
    corpus = corpus.subset(list(corpus.seeds)[:count])
    if targets == "simulated":
        corpus = many_questions(corpus)
    tokenizer(["warm", "up"])
    before = resident()
    began = time.perf_counter()
    pairs = sample_pairs(corpus, 6 if targets == "simulated" else int(targets), seed=1)
    row = by_texts(corpus, pairs, tokenizer, before) if way == "texts" else by_pairs(corpus, pairs, tokenizer, before)
    seconds = row.pop("ended") - began
    questions = {(pair.id, pair.question_language) for pair in pairs}
    passages = {corpus.passage(pair).id for pair in pairs}
    return {
        "set": f"{way}-{targets}",
        "texts": len(questions) + len(passages),
        "pairs": len(pairs),
        "seconds": seconds,
        "bytes_a_pair": row["pairs_mib"] * 2**20 / len(pairs),
        **row,
    }


def many_questions(corpus: Any) -> Any:
    """Every question under many ids, over the same passages: as many texts and pairs as a large set has."""
    from polyspan.corpus import ParallelCorpus, Seed

    seeds = {
        f"{seed.id}-{copy}": Seed(f"{seed.id}-{copy}", seed.questions, seed.passages, seed.answers)
        for copy in range(COPIES)
        for seed in corpus.seeds.values()
    }
    few = dict(islice(seeds.items(), MOST_SEEDS))
    return ParallelCorpus(f"{corpus.name}, {COPIES} times", few, corpus.passages)


def by_texts(corpus: Any, pairs: Any, tokenizer: Any, before: float) -> dict[str, float]:
    """Polyspan's way."""
    from polyspan.encoding import build_batch, make_windows, token_batches, tokenise_corpus

    tokenised = tokenise_corpus(corpus, pairs, tokenizer)
    windows = make_windows(tokenised, pairs, MAX_LENGTH, OVERLAP)
    ended = time.perf_counter()
    after = resident()
    batches = token_batches(windows.lengths().tolist(), 4096, seed=1)[:300]
    began = time.perf_counter()
    for batch in batches:
        build_batch(windows, batch)
    collation = (time.perf_counter() - began) / sum(map(len, batches))
    return {
        "windows": len(windows),
        "ended": ended,
        "mib": after - before,
        "pairs_mib": (size_of(vars(windows).values()) + size_of(vars(pairs).values())) / 2**20,
        "collation_microseconds": collation * 1e6,
    }


def by_pairs(corpus: Any, pairs: Any, tokenizer: Any, before: float) -> dict[str, float]:
    """The ordinary way: `run_qa`'s preparation of training features."""
    import numpy as np

    rows: list[tuple[Any, int, int]] = []
    for start in range(0, len(pairs), 1000):
        chunk = pairs[start : start + 1000]
        encoded = tokenizer(
            [corpus.question(pair) for pair in chunk],
            [corpus.context(pair) for pair in chunk],
            truncation="only_second",
            max_length=MAX_LENGTH,
            stride=OVERLAP,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for at, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            answer = corpus.answers(chunk[owner])[0]
            span = label(encoded["offset_mapping"][at], encoded.sequence_ids(at), answer.start, answer.end)
            rows.append((np.asarray(encoded["input_ids"][at], np.int32), *span))
    ended = time.perf_counter()
    del encoded
    held = resident() - before
    return {"windows": len(rows), "ended": ended, "mib": held, "pairs_mib": held}


def label(offsets: list[tuple[int, int]], owners: list[int | None], start: int, end: int) -> tuple[int, int]:
    """First and last token of the answer; 0 and 0 where the window does not hold it."""
    first = owners.index(1)
    last = len(owners) - 1 - owners[::-1].index(1)
    if offsets[first][0] > start or offsets[last][1] < end:
        return 0, 0
    while first <= last and offsets[first][0] <= start:
        first += 1
    while offsets[last][1] >= end:
        last -= 1
    return first - 1, last + 1


def size_of(values: Any) -> int:
    """Bytes of the arrays among these."""
    return sum(memoryview(value).nbytes for value in values if hasattr(value, "itemsize"))


def resident() -> float:
    """MiB that this process holds now."""
    import psutil

    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


if __name__ == "__main__":
    main()
