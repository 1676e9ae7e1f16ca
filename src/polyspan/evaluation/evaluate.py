"""Predictions to scores: which rows are asked, by which rules they are judged, what is kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polyspan.corpus.model import Pair, ParallelCorpus
from polyspan.encoding.predict import Prediction
from polyspan.encoding.windows import MAX_LENGTH
from polyspan.evaluation.matrix import RowScore, ScoreMatrix
from polyspan.evaluation.normalise import MLQA_LANGUAGES, Rules, primary_language
from polyspan.evaluation.scores import score_answer
from polyspan.files import write_text
from polyspan.models.load import longest_window

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


def rules_for(kind: str | None, languages: Iterable[str]) -> Rules:
    """The rules a data set is published with; MLQA's for our own data where they cover it.

    SQuAD, XQuAD and TyDiQA-GoldP are scored by SQuAD's rules in every language, for comparability;
    so is a set in languages that MLQA has no rules for.
    """
    if kind in {"squad", "xquad", "tydiqa"} or not MLQA_LANGUAGES.keys() >= set(map(primary_language, languages)):
        return "squad"
    return "mlqa"


def usual_window(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """The tokens of a window that a model is asked in: 384, or the most that it reads at once."""
    return min(MAX_LENGTH, longest_window(config, tokenizer))


def limit_pairs(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    """The first ``limit`` questions of each pair of languages; all when it is None."""
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for pair in pairs:
        key = (pair.question_language, pair.context_language)
        if limit is None or seen[key] < limit:
            seen[key] += 1
            kept.append(pair)
    return kept


def score_predictions(corpus: ParallelCorpus, predictions: Sequence[Prediction], rules: Rules) -> ScoreMatrix:
    """EM and F1 of the best span of each prediction, by the context's language."""
    return ScoreMatrix.from_rows(score_rows(corpus, predictions, rules))


def score_rows(corpus: ParallelCorpus, predictions: Sequence[Prediction], rules: Rules) -> list[RowScore]:
    """EM and F1 of the best span of each prediction, one row a prediction, in their order."""
    digests = {id_: passage_digest(passage.text) for id_, passage in corpus.passages.items()}
    rows = []
    for prediction in predictions:
        pair = prediction.pair
        golds = [answer.text for answer in corpus.answers(pair)]
        best = prediction.spans[0].text if prediction.spans else None
        score = score_answer(best, golds, pair.context_language, rules=rules)
        passage = digests[corpus.passage(pair).id]
        rows.append(RowScore(pair.id, pair.question_language, pair.context_language, score.f1, score.em, passage))
    return rows


def passage_digest(text: str) -> str:
    """A name for a context that is the same wherever it is read: 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_predictions(path: Path, predictions: Sequence[Prediction], rows: Sequence[RowScore]) -> None:
    """One JSON object a line, in the order of the pairs: who was asked what, the answers and their scores.

    Args:
        path: the file.
        predictions: what was answered.
        rows: their scores, as `score_rows` gives them: ``f1`` and ``em`` of the best answer in
            [0, 1] and ``passage``, which `polyspan.evaluation.rows.read_rows` reads again.
    """
    lines = [
        json.dumps(
            {
                "id": prediction.pair.id,
                "question_language": prediction.pair.question_language,
                "context_language": prediction.pair.context_language,
                "answers": [
                    {"answer": s.text, "start": s.start, "end": s.end, "score": round(s.score, 6)}
                    for s in prediction.spans
                ],
                "no_answer": round(prediction.no_answer, 6),
                "f1": round(row.f1, 6),
                "em": int(row.em),
                "passage": row.passage,
            },
            ensure_ascii=False,
        )
        for prediction, row in zip(predictions, rows, strict=True)
    ]
    write_text(path, "".join(line + "\n" for line in lines))
