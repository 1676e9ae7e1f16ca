"""Small folders as ``polyspan evaluate --output`` and ``polyspan train`` write them, without any model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from polyspan.corpus import Pair, load_corpus
from polyspan.encoding.predict import Prediction
from polyspan.encoding.spans import Span
from polyspan.evaluation.evaluate import score_rows, write_predictions
from polyspan.evaluation.matrix import ScoreMatrix
from polyspan.evaluation.record import EvaluationRecord
from polyspan.experiments.recipe import Recipe, dump_recipe

LANGUAGES = ("ar", "de", "en")
SEEDS = 6
TOP_K = 3
SCRIPT = "</script><img src=x onerror=alert(1)>"
"""Stands in a question and in a passage, and must never become markup."""
# Emoji are two units of a JavaScript string and one of Python's.
PASSAGES = {
    "en": "😀😀 Number {n} of the bridges was paid for by Anna Keller & sons in 19{n}2. " + SCRIPT,
    "de": "😀 Brücke Nummer {n} bezahlte Anna Keller im Jahr 19{n}2, wie man sagt.",
    "ar": "دفعت آنا كيلر ثمن الجسر رقم {n} في عام 19{n}2 كما يقال 😀.",
}
QUESTIONS = {
    "en": "Who paid for bridge {n}? " + SCRIPT,
    "de": "Wer bezahlte Brücke {n}?",
    "ar": "من دفع ثمن الجسر {n}؟",
}
ANSWERS = {"en": "Anna Keller", "de": "Anna Keller", "ar": "آنا كيلر"}


def write_mlqa(folder: Path, languages: Sequence[str] = LANGUAGES) -> Path:
    """A parallel set of six questions in MLQA's layout, one passage each; other languages read English."""
    folder.mkdir(parents=True)
    for context, question in product(languages, languages):
        paragraphs = []
        for n in range(SEEDS):
            text, gold = PASSAGES.get(context, PASSAGES["en"]).format(n=n), ANSWERS.get(context, ANSWERS["en"])
            answer = {"text": gold, "answer_start": text.index(gold)}
            words = QUESTIONS.get(question, QUESTIONS["en"]).format(n=n)
            asked = {"id": f"q{n}", "question": words, "answers": [answer]}
            paragraphs.append({"context": text, "qas": [asked]})
        tree = {"version": 1.0, "data": [{"title": "Bridges", "paragraphs": paragraphs}]}
        path = folder / f"dev-context-{context}-question-{question}.json"
        path.write_text(json.dumps(tree, ensure_ascii=False), encoding="utf-8")
    return folder


def write_evaluation(
    folder: Path, data: Path, rank: Callable[[Pair], int], languages: list[str] | None = None, model: str = "made-up"
) -> Path:
    """Predictions whose right answer stands at a rank of three, 0 for none."""
    corpus = load_corpus(data, kind="mlqa", languages=languages)
    predictions = []
    for pair in corpus.pairs():
        text, gold = corpus.context(pair), corpus.answers(pair)[0]
        at = rank(pair)
        # Wrong answers: the gold one and a word more, then the year, then the end of the text.
        wrong = [(gold.start, text.index(" ", gold.end + 1)), (text.index("19"), text.index("19") + 4), (-3, len(text))]
        ends = [(start % len(text), end) for start, end in wrong]
        if at:
            ends.insert(at - 1, (gold.start, gold.end))
        spans = [Span(text[s:e], s, e, 0.5 / 2**n) for n, (s, e) in enumerate(ends[:TOP_K])]
        predictions.append(Prediction(pair, spans, 0.05))
    rows = score_rows(corpus, predictions, "mlqa")
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.jsonl", predictions, rows)
    (folder / "scores.json").write_text(json.dumps(ScoreMatrix.from_rows(rows).to_dict()), encoding="utf-8")
    EvaluationRecord(
        model=model,
        path=str(data.resolve()),
        kind="mlqa",
        languages=languages,
        rules="mlqa",
        top_k=TOP_K,
        seconds=12.5,
    ).write(folder)
    return folder


def write_training(folder: Path, **changes: Any) -> Path:
    """What ``polyspan train`` leaves beside the predictions: recipe, data, steps, leakage, machine."""
    settings: dict[str, Any] = {
        "run_dir": folder,
        "model": "polyspan-qa-en",
        "data": {"path": "commons/train", "target_languages": 3},
        "objective": {"alpha_kl": 1, "coefficient": "first_hit"},
    }
    for section, values in changes.items():
        settings[section] = {**settings[section], **values}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(dump_recipe(Recipe.model_validate(settings)), encoding="utf-8")
    steps = [
        {"step": s, "epoch": s / 10, "loss": 2.0 - s / 20, "ce": 1.8, "kl": 0.2, "coefficient": 0.6 + s / 60}
        for s in range(1, 21)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")
    found = {"ids": 0, "passages": 0, "near_passages": 2, "parallel_questions": 6}
    sizes = {"train": "/far/away/xquad", "test": "/far/away/mlqa/dev", "questions": 6, "test_passages": 18}
    files: dict[str, Any] = {
        "data.json": {"languages": ["ar", "de", "en"], "seeds": 76, "pairs": 1216, "dropped_seeds": {"no answer": 3}},
        "leakage.json": {"policy": "warn", "compared": [{**found, **sizes}], "not_compared": [], "origins": []},
        "environment.json": {"torch": "2.13.0", "processors": 2},
        "timing.json": {"training_seconds": 4000.0},
    }
    for name, tree in files.items():
        (folder / name).write_text(json.dumps(tree), encoding="utf-8")
    return folder
