"""Training speed on real XQuAD pairs, against transformers' Trainer.

    POLYSPAN_DATA=... python benchmarks/training.py [--quick] [--json FILE]

Contestants, each in a process of its own, one after the other, in several rounds:

- ``trainer-padded``: ``Trainer`` as users of the ``run_qa`` example have it: padded to 384, fp32;
- ``trainer-best``: the strongest ordinary alternative: dynamic padding, grouped by length, and bf16 where the
  processor multiplies faster in it, as Polyspan chooses too;
- ``polyspan-ce``: `SpanTrainer` with cross-entropy;
- ``polyspan-skd``: the same with a teacher and the mAP@k coefficient, in its first epoch, in which the teacher reads
  every window;
- ``polyspan-recall``: the same in an epoch after the first, with ``teacher: recall``.

All train every layer of the embedded encoder on the same windows with AdamW; Polyspan's leave out the dropout and
the word embeddings, as its recipes do. The rate counts the steps after the first few.

``skd_cost_over_ce`` is what two epochs of self-distillation with ``teacher: recall`` cost, one of each of the last two
contestants; ``paper_skd_cost_over_ce`` is the cost of the paper's teacher, which reads every window in every epoch.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

LANGUAGES = ["en", "es", "de", "ar", "vi", "hi", "zh"]
CONTESTANTS = {
    "trainer-padded": 96,
    "trainer-best": 288,
    "polyspan-ce": 640,
    "polyspan-skd": 640,
    "polyspan-recall": 640,
}
"""Contestants and how many windows each trains on in a round, of which those of two steps do not count."""
QUICK = dict.fromkeys(CONTESTANTS, 192)
"""The same with ``--quick``, of which a contestant leaves those that are too many for `QUICK_SECONDS`."""
QUICK_SECONDS = 8
"""With ``--quick``, one step does not count, and the first after this long is the last."""


def main() -> None:
    """Run the contestants in turn, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of few steps, under four minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--profile", action="store_true", help="only show where Polyspan's time goes")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--windows", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.profile:
        profile()
        return
    if arguments.contestant:
        limits = (1, QUICK_SECONDS) if arguments.quick else (2, math.inf)
        print(json.dumps(race(arguments.contestant, arguments.windows, *limits)))
        return
    peak = matmul_peak()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(1 if arguments.quick else arguments.rounds):
        for name, count in (QUICK if arguments.quick else CONTESTANTS).items():
            command = [sys.executable, __file__, "--contestant", name, "--windows", str(count)]
            command += ["--quick"] * arguments.quick
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name}: {found[name][-1]['examples_per_second']:.2f} examples/s", file=sys.stderr)
        again = matmul_peak()
        peak = {name: max(value, again[name]) for name, value in peak.items()}
    rows = {
        name: {key: statistics.median(round_[key] for round_ in rounds) for key in rounds[0]}
        for name, rounds in found.items()
    }
    rate = {name: row["examples_per_second"] for name, row in rows.items()}
    reading, recalling = (rate["polyspan-ce"] / rate[name] for name in ("polyspan-skd", "polyspan-recall"))
    report = {
        "matmul_peak_gflops": peak,
        "contestants": rows,
        "ratios": {
            "ce_over_best_trainer": rate["polyspan-ce"] / rate["trainer-best"],
            "ce_over_padded_fp32": rate["polyspan-ce"] / rate["trainer-padded"],
            "skd_cost_over_ce": (reading + recalling) / 2,
            "paper_skd_cost_over_ce": reading,
            "share_of_peak": rows["polyspan-ce"]["gflops"] / max(peak.values()),
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
    for heading in ("", "examples/s", "tokens/s", "GFLOP/s", "peak memory, GiB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, row in report["contestants"].items():
        table.add_row(
            name,
            f"{row['examples_per_second']:.2f}",
            f"{row['tokens_per_second']:.0f}",
            f"{row['gflops']:.0f}",
            f"{row['peak_gib']:.1f}",
        )
    console = Console(width=100)
    console.print(table)
    peak = report["matmul_peak_gflops"]
    peaks = ", ".join(f"{name} {value:.0f}" for name, value in peak.items())
    console.print(f"matrix product peak: {peaks} GFLOP/s", highlight=False)
    for name, value in report["ratios"].items():
        console.print(f"{name}: {value:.2f}", highlight=False)


def matmul_peak() -> dict[str, float]:
    """GFLOP/s of square matrix products, the best of several, in fp32, and in bf16 where it is not emulated."""
    import torch

    from polyspan.encoding.precision import faster_in_bf16

    precisions = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if faster_in_bf16("cpu") else {})
    peak = {}
    for name, dtype in precisions.items():
        a = torch.randn(2048, 2048).to(dtype)
        best = float("inf")
        for _ in range(12):
            began = time.perf_counter()
            for _ in range(4):
                a @ a
            best = min(best, (time.perf_counter() - began) / 4)
        peak[name] = 2 * 2048**3 / best / 1e9
    return peak


def race(contestant: str, count: int, warm_steps: int = 2, seconds: float = math.inf) -> dict[str, float]:
    """Train on ``count`` windows, and measure what comes after the first steps for about so many seconds."""
    import torch
    import transformers
    from transformers import TrainerCallback

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    class Clock(TrainerCallback):
        began = ended = 0.0
        warm = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.ended = time.perf_counter()
            if state.global_step == warm_steps:
                self.began, self.warm = self.ended, seen["windows"]
                seen["warm_tokens"] = seen["tokens"]
            elif state.global_step > warm_steps:
                control.should_training_stop = self.ended - self.began > seconds

    seen = {"windows": 0, "tokens": 0, "warm_tokens": 0}
    trainer = (
        polyspan_trainer(contestant, count) if contestant.startswith("polyspan") else plain_trainer(contestant, count)
    )
    model = trainer.model
    lengths: list[int] = []
    forward = model.forward

    @functools.wraps(forward)  # the trainer reads off the signature what a model takes
    def counted(*args: Any, **kwargs: Any) -> Any:
        mask = kwargs["attention_mask"]
        seen["windows"] += len(mask)
        seen["tokens"] += int(mask.sum())
        lengths.extend(mask.sum(1).tolist())
        return forward(*args, **kwargs)

    model.forward = counted
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    seconds = clock.ended - clock.began
    examples = seen["windows"] - clock.warm
    return {
        "examples_per_second": examples / seconds,
        "tokens_per_second": (seen["tokens"] - seen["warm_tokens"]) / seconds,
        "gflops": sum(flops(model.config, n) for n in lengths[clock.warm :]) / seconds / 1e9,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "threads": torch.get_num_threads(),
    }


def flops(config: Any, tokens: int) -> float:
    """Operations of a training step for one window without its padding, without those of a teacher.

    A layer takes three times its forward pass, of which its matrices take 2 x (4 h^2 + 2 h f) x tokens and its
    attention 4 h x tokens^2.
    """
    h, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    return 3 * layers * (2 * (4 * h * h + 2 * h * f) * tokens + 4 * h * tokens * tokens)


def windows_of(count: int, tokenizer: Any) -> Any:
    """The first windows of a sample of XQuAD with ntl 5."""
    from polyspan.corpus import load_corpus, sample_pairs
    from polyspan.encoding import make_windows, tokenise_corpus

    data = os.environ.get("POLYSPAN_DATA")
    if not data:
        sys.exit("POLYSPAN_DATA is not set: it names the folder that holds xquad/")
    corpus = load_corpus(Path(data) / "xquad", kind="xquad", languages=LANGUAGES)
    pairs = sample_pairs(corpus, target_languages=5, seed=1)
    pairs = pairs[:: max(1, len(pairs) // count)][:count]
    return make_windows(tokenise_corpus(corpus, pairs, tokenizer), pairs)


def polyspan_trainer(contestant: str, count: int) -> Any:
    """Polyspan's trainer from a recipe."""
    from rich.console import Console

    from polyspan.experiments.prepare import Prepared
    from polyspan.experiments.recipe import Recipe
    from polyspan.experiments.set_up import make_trainer, training_attention
    from polyspan.models import load_model

    recipe = Recipe.model_validate(
        {
            "run_dir": tempfile.mkdtemp(),
            "data": {"path": "xquad"},
            "objective": {}
            if contestant == "polyspan-ce"
            else {"alpha_kl": 1, "coefficient": "first_hit", "teacher": "recall"},
            "training": {"save_steps": 100_000},
        }
    )
    loaded = load_model("embedded", attn_implementation=training_attention(0.0), dropout=0.0)
    windows = windows_of(count, loaded.tokenizer)
    prepared = Prepared(windows.tokenised.corpus, list(windows.pairs), {}, [])
    trainer = make_trainer(recipe, loaded.model, loaded.tokenizer, prepared, Console(file=StringIO()))
    if contestant == "polyspan-recall":
        trainer.generations.generation = 1  # as if an epoch lay behind
    return trainer


def plain_trainer(contestant: str, count: int) -> Any:
    """transformers' own trainer on the same windows, everything trained, its default dropout."""
    import transformers
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    from polyspan.encoding import build_batch
    from polyspan.encoding.precision import faster_in_bf16
    from polyspan.models import load_model

    loaded = load_model("embedded")
    windows = windows_of(count, loaded.tokenizer)
    rows = []
    for index in range(len(windows)):
        batch = build_batch(windows, [index], multiple=1)
        rows.append(
            {
                "input_ids": batch.inputs["input_ids"][0].tolist(),
                "attention_mask": batch.inputs["attention_mask"][0].tolist(),
                "start_positions": int(batch.gold[0]),
                "end_positions": int(batch.gold[1]),
                "length": int(batch.inputs["attention_mask"].sum()),
            }
        )
    best = contestant == "trainer-best"
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=16 if best else 8,
        num_train_epochs=1,
        learning_rate=5e-5,
        bf16=best and faster_in_bf16("cpu"),
        train_sampling_strategy="group_by_length" if best else "random",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    collator = DataCollatorWithPadding(
        loaded.tokenizer,
        padding="longest" if best else "max_length",
        max_length=384,
        pad_to_multiple_of=8 if best else None,
    )
    trainer = Trainer(loaded.model, arguments, train_dataset=rows, data_collator=collator)
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def profile() -> None:
    """Where the time of a self-distillation step goes, by operator."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    with record(activities=[ProfilerActivity.CPU]) as profiler:
        race("polyspan-skd", 192)
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))


if __name__ == "__main__":
    main()
