"""Exact match and F1 of one answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from polyspan.evaluation.normalise import Rules, normalised_tokens


@dataclass(frozen=True, slots=True)
class Score:
    """Token F1 and exact match, both in [0, 1]."""

    f1: float
    em: float


def score_answer(
    prediction: str | None,
    golds: Sequence[str],
    language: str,
    rules: Rules = "mlqa",
    strict: bool = True,
) -> Score:
    """Score an answer against its gold answers; the best of them counts, for F1 and EM apart.

    EM is 1 where the normal forms are equal. F1 is the harmonic mean of precision and recall over
    the multisets of normalised tokens. Where both sides normalise to nothing EM is 1 and F1 is 0,
    as in the published scripts.

    Args:
        prediction: the answer. None means that there is none, which scores 0.
        golds: gold answers. An empty sequence means that the context holds no answer: both scores
            are 1 if the prediction is None or the empty string, and 0 otherwise.
        language: of the context, for MLQA's rules.
        rules: "mlqa" (Lewis et al. 2020), "squad" (Rajpurkar et al. 2016, v1.1) or
            "language_aware" (ours).
        strict: refuse a language that MLQA has no rules for; otherwise split it on white space.

    Raises:
        ScoringError: unknown rules or, when strict, an unknown language.
        TypeError: ``golds`` is a single string, whose characters would be taken for answers.
    """
    if isinstance(golds, str):
        raise TypeError("golds is a sequence of answers, not one string")
    # Before the short cuts, so that wrong rules or languages never pass unseen.
    given = normalised_tokens(prediction or "", language, rules, strict)
    if not golds:
        right = float(not prediction)
        return Score(right, right)
    if prediction is None:
        return Score(0.0, 0.0)
    wanted = [normalised_tokens(gold, language, rules, strict) for gold in golds]
    return Score(
        f1=max(_token_f1(given, gold) for gold in wanted),
        em=float(given in wanted),
    )


def _token_f1(given: list[str], gold: list[str]) -> float:
    common = (Counter(given) & Counter(gold)).total()
    return 2 * common / (len(given) + len(gold)) if common else 0.0
