"""A model over a data set: every pair asked, scored, and kept in a folder."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from polyspan.corpus.load import guess_kind, is_shipped, load_corpus
from polyspan.corpus.model import CorpusError
from polyspan.errors import Difference, first_difference
from polyspan.evaluation.normalise import ScoringError
from polyspan.evaluation.record import EVALUATION_FILE, EvaluationRecord, full_path
from polyspan.evaluation.rows import PREDICTIONS
from polyspan.experiments.counting import counting
from polyspan.experiments.recipe import Evaluation
from polyspan.files import read_text, remove_leftovers, write_text
from polyspan.processes import is_main_process, join_group, join_shares, share

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from polyspan.evaluation.matrix import ScoreMatrix

SCORES = "scores.json"


def evaluate_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    evaluation: Evaluation,
    folder: Path | None,
    console: Console,
    name: str = "",
    backend: str = "torch",
) -> ScoreMatrix:
    """Ask every pair and score it, on the device there is and divided among the processes there are.

    Args:
        model, tokenizer: of the reader.
        evaluation: what it is asked.
        folder: gets ``predictions.jsonl``, ``scores.json`` and ``evaluation.json``; nothing is written when None.
        console: where progress goes.
        name, backend: of the model, for the record in the folder.
    """
    from polyspan.encoding.predict import inference_precision, predict
    from polyspan.evaluation.evaluate import limit_pairs, rules_for, score_rows, usual_window, write_predictions
    from polyspan.evaluation.matrix import ScoreMatrix
    from polyspan.evaluation.other_scores import other_scores

    began = time.monotonic()
    model.to(join_group())  # type: ignore[arg-type]
    console.quiet = console.quiet or not is_main_process()
    corpus = load_corpus(evaluation.path, kind=evaluation.kind, languages=evaluation.languages)
    kind = evaluation.kind or guess_kind(evaluation.path)
    pairs = limit_pairs(corpus.pairs(), evaluation.limit)
    window = usual_window(model.config, tokenizer)
    with counting(console, "evaluating") as count, inference_precision(model):
        mine = predict(model, tokenizer, corpus, share(pairs), evaluation.top_k, window, progress=count)
    predictions = join_shares(mine, len(pairs))
    seconds = time.monotonic() - began
    rules = rules_for(None if is_shipped(evaluation.path) else kind, corpus.languages)
    rows = score_rows(corpus, predictions, rules)
    others = other_scores(corpus, predictions, rows, kind, rules)
    matrix = replace(ScoreMatrix.from_rows(rows), other=others, rules=rules)
    if folder is not None and is_main_process():
        # The predictions come last, and earlier ones go first: where they are, all is there and belongs together.
        (folder / PREDICTIONS).unlink(missing_ok=True)
        remove_leftovers(folder / PREDICTIONS)
        EvaluationRecord(
            model=name,
            path=full_path(evaluation.path),
            kind=kind,
            languages=evaluation.languages,
            limit=evaluation.limit,
            rules=rules,
            top_k=evaluation.top_k,
            seconds=round(seconds, 2),
            backend=backend,
            data=corpus.digest(pairs),
        ).write(folder)
        write_text(folder / SCORES, json.dumps(matrix.to_dict(), indent=1) + "\n")
        write_predictions(folder / PREDICTIONS, predictions, rows)
    return matrix


def is_evaluated(folder: Path, model: str | None, evaluation: Evaluation) -> bool:
    """Whether a folder holds all of this evaluation, of the data as they are now; arguments as in `what_differs`."""
    from polyspan.evaluation.evaluate import limit_pairs

    record = EvaluationRecord.read(folder)
    if record is None or not (folder / PREDICTIONS).is_file() or what_differs(record, model, evaluation):
        return False
    if record.data is None:
        return True
    try:
        corpus = load_corpus(evaluation.path, kind=evaluation.kind, languages=evaluation.languages)
    except CorpusError:  # gone: there is nothing to compare
        return True
    return corpus.digest(limit_pairs(corpus.pairs(), evaluation.limit)) == record.data


def read_scores(folder: Path) -> ScoreMatrix:
    """The scores of a folder that was evaluated.

    Raises:
        ScoringError: they cannot be read.
    """
    from polyspan.evaluation.matrix import ScoreMatrix

    path = folder / SCORES
    text = read_text(path, ScoringError)
    try:
        return ScoreMatrix.from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise ScoringError(f"{path}: cannot be read ({error}); delete {PREDICTIONS} beside it and run again") from error


def refuse_other_evaluation(folder: Path, model: str, evaluation: Evaluation, backend: str = "torch") -> None:
    """See that a folder holds no evaluation of something else, which would be written over.

    Args:
        folder: where this one is to go; what else lies there does not matter.
        model, evaluation, backend: what is to be asked what, and what runs it.

    Raises:
        ScoringError: it holds another one; says what differs.
    """
    there = EvaluationRecord.read(folder)
    instead = f"choose another folder, or delete {PREDICTIONS}, {SCORES} and {EVALUATION_FILE} there"
    if there is not None and (differs := what_differs(there, model, evaluation, backend)):
        raise ScoringError(f"{folder}: holds another evaluation ({differs}); {instead}")
    if there is None and (folder / PREDICTIONS).exists():
        raise ScoringError(f"{folder}: holds an evaluation, and nothing says of what; {instead}")


def what_differs(
    there: EvaluationRecord, model: str | None, evaluation: Evaluation, backend: str = "torch"
) -> Difference | None:
    """The first thing in which an evaluation is another than the recorded one; None if it is the same.

    Args:
        there: what was recorded.
        model, evaluation, backend: what is to be asked what, and what runs it. The model of a run folder,
            which may have been moved, is None.
    """
    kind = evaluation.kind or guess_kind(evaluation.path)
    asked = {**evaluation.model_dump(), "path": full_path(evaluation.path), "kind": kind, "backend": backend}
    if model is not None:
        asked = {"model": full_path(model), **asked}
    return first_difference({name: getattr(there, name) for name in asked}, asked)
