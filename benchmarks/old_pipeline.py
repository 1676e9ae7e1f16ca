"""Do calls written for transformers 4's question-answering pipeline give the same answers here?

    POLYSPAN_DATA=... python benchmarks/old_pipeline.py [--pairs 500] [--json FILE]

The same checkpoint answers the same XQuAD pairs twice: in transformers 4.57's
``pipeline("question-answering")``, in an environment of its own that is made where it is missing, and in
``Answerer``'s call of the same shape, with the same weights in fp32 and then in the precision that
``Answerer`` chooses on this machine. Half of the pairs have the question in the context's language, half
in another. Every pair whose best answer differs is listed with a reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import venv
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

LANGUAGES = ["ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh"]
PACKAGES = ["torch==2.13.0", "transformers>=4.57,<4.58", "numpy"]
ALTERNATIVES = 5
NEAR = 0.02
"""Two answers are a near tie when their scores differ by less than this share of the better one."""

# Runs in the other environment: nothing of Polyspan may be imported there.
OLD = """
import json, sys, warnings
warnings.simplefilter("ignore")
from transformers import __version__, logging, pipeline
logging.set_verbosity_error()
asked = json.load(sys.stdin)
reader = pipeline("question-answering", model=asked["model"], device="cpu")
found = []
for number, pair in enumerate(asked["pairs"], start=1):
    answers = [reader(question=pair["question"], context=pair["context"], top_k=k) for k in (1, asked["top_k"])]
    found.append({"best": answers[0], "ranked": answers[1] if isinstance(answers[1], list) else [answers[1]]})
    if number % 50 == 0:
        print(f"transformers {__version__}: {number} of {len(asked['pairs'])}", file=sys.stderr)
json.dump({"version": __version__, "found": found}, sys.stdout)
"""


def main() -> None:
    """Ask both, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=500, help="how many; 500 by default")
    parser.add_argument("--model", default="polyspan-qa-en", help="shipped name or folder")
    parser.add_argument("--environment", type=Path, help="virtual environment with transformers 4.57")
    parser.add_argument("--json", type=Path, help="write every figure and difference to this file")
    arguments = parser.parse_args()
    from polyspan.models.load import resolve_model

    pairs = choose_pairs(arguments.pairs)
    folder = resolve_model(arguments.model)
    old = ask_old(environment(arguments.environment), folder, pairs)
    windows, found = ask_ours(folder, pairs)
    report: dict[str, Any] = {"model": arguments.model, "transformers": old["version"], "pairs": len(pairs)}
    exact: list[bool] = []
    for precision, answers in found.items():
        rows = [compare(*row) for row in zip(pairs, old["found"], answers, windows, strict=True)]
        for row, same in zip(rows, exact, strict=False):
            if same and not row["same"]:
                row["reason"] = "rounding: the same in fp32"
        exact = exact or [row["same"] for row in rows]
        report[precision] = summary(rows)
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def choose_pairs(count: int) -> list[dict[str, str]]:
    """XQuAD pairs drawn with a fixed seed, first those of one language, then those of two."""
    from polyspan.corpus import load_corpus

    data = os.environ.get("POLYSPAN_DATA")
    if not data:
        sys.exit("POLYSPAN_DATA is not set: it names the folder that holds xquad/")
    corpus = load_corpus(Path(data) / "xquad", kind="xquad", languages=LANGUAGES)
    generator = random.Random(1)
    every = corpus.pairs()
    same = [pair for pair in every if pair.question_language == pair.context_language]
    crossed = [pair for pair in every if pair.question_language != pair.context_language]
    drawn = generator.sample(same, count - count // 2) + generator.sample(crossed, count // 2)
    return [
        {
            "id": pair.id,
            "languages": f"{pair.question_language}-{pair.context_language}",
            "question": corpus.question(pair),
            "context": corpus.context(pair),
        }
        for pair in drawn
    ]


def environment(folder: Path | None) -> Path:
    """Python of an environment with transformers 4.57, made first if it is not there."""
    from polyspan.models.cache import cache_folder

    folder = folder or cache_folder() / "transformers-4.57"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
    probe = [str(python), "-c", "import torch, transformers; assert transformers.__version__.startswith('4.57')"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr)
    return python


def ask_old(python: Path, folder: str, pairs: list[dict[str, str]]) -> dict[str, Any]:
    """The pipeline's best answers, and its next best ones to tell reasons by."""
    asked = json.dumps({"model": folder, "pairs": pairs, "top_k": ALTERNATIVES})
    done = subprocess.run(
        [str(python), "-c", OLD], input=asked, stdout=subprocess.PIPE, text=True, check=True, encoding="utf-8"
    )
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def ask_ours(folder: str, pairs: list[dict[str, str]]) -> tuple[list[int], dict[str, list[dict[str, Any]]]]:
    """How many windows each pair takes, and the best answers in fp32 and in `Answerer`'s own precision."""
    from polyspan import Answerer
    from polyspan.encoding.predict import inference_precision

    answerer = Answerer(folder)
    windows = [answerer.windows(pair["question"], pair["context"]) for pair in pairs]
    questions, contexts = ([pair[part] for pair in pairs] for part in ("question", "context"))
    found = {}
    with mock.patch("polyspan.encoding.predict.inference_precision", return_value=nullcontext()):
        found["fp32"] = answerer(question=questions, context=contexts)
    if not isinstance(inference_precision(answerer.loaded.model), nullcontext):
        found["bf16"] = answerer(question=questions, context=contexts)
    return windows, found


def compare(pair: dict[str, str], old: dict[str, Any], new: dict[str, Any], windows: int) -> dict[str, Any]:
    """One pair: whether the best answers are the same but for white space at the edges, and why not."""
    best = old["best"]
    lead = len(best["answer"]) - len(best["answer"].lstrip())
    trimmed = best["answer"].strip()
    same = new["answer"] == trimmed
    row = {
        "id": pair["id"],
        "languages": pair["languages"],
        "same": same,
        "same_offsets": same and new["start"] == best["start"] + lead,
        "white_space": best["answer"] != trimmed,
        "score_difference": new["score"] - best["score"],
        "windows": windows,
    }
    if not same:
        row |= {"old": best, "new": new, "reason": reason(best, old["ranked"], new, windows)}
    return row


def reason(best: dict[str, Any], ranked: list[dict[str, Any]], new: dict[str, Any], windows: int) -> str:
    """Why the best answers differ, as far as the old pipeline's own ranking tells."""
    of_new = next((item for item in ranked if item["answer"].strip() == new["answer"]), None)
    if of_new and best["score"] - of_new["score"] <= NEAR * best["score"]:
        return "a tie but for rounding"
    if of_new and of_new["score"] > best["score"]:
        return "the old pipeline's best depends on top_k"
    if windows > 1:
        return "several windows: the chance of no answer weighs on spans here, on starts and ends there"
    return "other"


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates, and every difference."""
    different = [row for row in rows if not row["same"]]

    def rate(chosen: list[dict[str, Any]], key: str = "same") -> float | None:
        return sum(row[key] for row in chosen) / len(chosen) if chosen else None

    one = [row["languages"].split("-") for row in rows]
    return {
        "same": rate(rows),
        "same_offsets": rate(rows, "same_offsets"),
        "same_one_language": rate([row for row, (a, b) in zip(rows, one, strict=True) if a == b]),
        "same_two_languages": rate([row for row, (a, b) in zip(rows, one, strict=True) if a != b]),
        "same_one_window": rate([row for row in rows if row["windows"] == 1]),
        "same_several_windows": rate([row for row in rows if row["windows"] > 1]),
        "several_windows": sum(row["windows"] > 1 for row in rows),
        "white_space_cut": sum(row["white_space"] for row in rows),
        "mean_score_difference": sum(row["score_difference"] for row in rows) / len(rows),
        "reasons": dict(Counter(row["reason"] for row in different)),
        "different": different,
    }


def show(report: dict[str, Any]) -> None:
    """Print what was found."""
    from rich.console import Console

    console = Console(width=120, highlight=False, markup=False)
    console.print(f"{report['model']}, {report['pairs']} XQuAD pairs, against transformers {report['transformers']}")
    for precision in [key for key, value in report.items() if isinstance(value, dict)]:
        found = report[precision]
        console.print(f"\n{precision}: same best answer {found['same']:.2%}, same offsets {found['same_offsets']:.2%}")
        for key in ("one_language", "two_languages", "one_window", "several_windows"):
            value = found[f"same_{key}"]
            console.print(f"  {key.replace('_', ' ')}: {'-' if value is None else f'{value:.2%}'}")
        for row in found["different"]:
            console.print(f"  {row['languages']} {row['id']}, {row['windows']} windows: {row['reason']}")
            for name in ("old", "new"):
                console.print(f"    {name} {row[name]['score']:.4f} {row[name]['answer']!r}")


if __name__ == "__main__":
    main()
