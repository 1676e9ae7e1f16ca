"""Exact match and F1 of one answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from polyspan.evaluation.normalise import Rules, normalised_tokens


@dataclass(frozen=True, slots=True)
class Score:
    """Both in [0, 1]."""

    f1: float
    em: float


def score_answer(prediction: str | None, golds: Sequence[str], language: str, rules: Rules = "mlqa") -> Score:
    """Score an answer against its gold answers, the best of them counting.

    EM is 1 where the normalised strings are equal; F1 is the overlap of the multisets of
    normalised tokens. Where both normalise to nothing EM is 1 and F1 is 0, as published.

    Args:
        prediction: the answer; None where there is none, which scores 0.
        golds: gold answers. Without any the context holds no answer, and no prediction is right.
        language: of the context.
        rules: "mlqa" (Lewis et al. 2020) or "squad" (Rajpurkar et al. 2016, v1.1).

    Raises:
        ScoringError: unknown rules, or a language that MLQA has no rules for.
    """
    if not golds:
        right = float(not prediction)
        return Score(right, right)
    if prediction is None:
        normalised_tokens("", language, rules)  # an unknown language is an error all the same
        return Score(0.0, 0.0)
    given = normalised_tokens(prediction, language, rules)
    scores = [_against(given, normalised_tokens(gold, language, rules)) for gold in golds]
    return Score(max(score.f1 for score in scores), max(score.em for score in scores))


def _against(given: list[str], gold: list[str]) -> Score:
    common = sum((Counter(given) & Counter(gold)).values())
    f1 = 2 * common / (len(given) + len(gold)) if common else 0.0
    return Score(f1, float(_joined(given) == _joined(gold)))


def _joined(tokens: list[str]) -> str:
    return " ".join(tokens)
