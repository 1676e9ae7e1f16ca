"""Fit a calibration: temperatures, the chance of "no answer", thresholds for a precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyspan.answering.calibration import Calibration, CalibrationError, PairTemperature, Threshold
from polyspan.answering.evidence import Evidence, Floats

LOG_RANGE = 2.3
"""Temperatures are looked for between exp(-2.3), a tenth, and exp(2.3), ten."""
PAIR_SPREAD = 0.2
"""How far, in log temperature, a pair of languages is expected to be from all pairs pooled."""
FEWEST_ROWS = 50
RIDGE = 0.5
"""On slope - 1 and bias: keeps them finite where the two kinds of rows can be told apart without error."""
PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
CONFIDENCE = 0.9


def fit_calibration(evidence: Evidence, model: str, data: str) -> Calibration:
    """Fit on rows whose answers are known.

    The temperatures maximise the likelihood of "the best span is right" under its share of all spans,
    on the rows that can be answered: one for all pairs of languages, and one for each pair with a
    normal prior of its logarithm around the former, so that a pair with few rows stays near it. The
    probability of "no answer" is a logistic regression on its log odds (Platt 1999); without rows that
    have no answer it stays as the model has it.

    Args:
        evidence: rows to fit on.
        model, data: their names, for the file.

    Raises:
        CalibrationError: too few rows, or the best spans are all right or all wrong.
    """
    answered = evidence.rows(evidence.answerable)
    if len(answered) < FEWEST_ROWS:
        raise CalibrationError(f"{data}: {len(answered)} answerable rows to fit on; {FEWEST_ROWS} are needed")
    if len({*answered.correct.tolist()}) < 2:
        raise CalibrationError(f"{data}: answers of {model} are all right or all wrong; nothing can be fitted")
    pooled = _temperature(answered, None)
    by_pair: dict[tuple[str, str], NDArray[np.bool_]] = {}
    languages = np.array([[pair.question_language, pair.context_language] for pair in answered.pairs])
    for question, context in sorted({(str(q), str(c)) for q, c in languages}):
        by_pair[question, context] = (languages == [question, context]).all(axis=1)
    pairs = [
        PairTemperature(
            question_language=question,
            context_language=context,
            temperature=round(_temperature(answered.rows(chosen), pooled), 4),
            rows=int(chosen.sum()),
        )
        for (question, context), chosen in by_pair.items()
    ]
    unsure = Calibration(
        model=model,
        data=data,
        rows=len(evidence),
        no_answer_share=round(float(1 - evidence.answerable.mean()), 4),
        temperature=round(pooled, 4),
        null_slope=1.0,
        null_bias=0.0,
        pairs=tuple(pairs),
    )
    if not evidence.answerable.all():
        slope, bias = _null(evidence, unsure)
        unsure = unsure.model_copy(update={"null_slope": round(slope, 4), "null_bias": round(bias, 4)})
    known, _ = evidence.probabilities(lambda pair: unsure.scaling((pair.question_language, pair.context_language)))
    unknown, _ = evidence.probabilities(lambda _: unsure.scaling(None))
    return unsure.model_copy(update={"thresholds": _for_both(known, unknown, evidence.correct)})


def _for_both(known: Floats, unknown: Floats, correct: NDArray[np.bool_]) -> tuple[Threshold, ...]:
    """Thresholds that hold whether or not it is said what languages are asked: the higher of the two."""
    of_unknown = {threshold.precision: threshold for threshold in thresholds(unknown, correct)}
    return tuple(
        max(threshold, of_unknown[threshold.precision], key=lambda one: one.score)
        for threshold in thresholds(known, correct)
        if threshold.precision in of_unknown
    )


def thresholds(scores: Floats, correct: NDArray[np.bool_], precisions: Sequence[float] = PRECISIONS) -> list[Threshold]:
    """For each precision the lowest score from which on it is reached, as long as there is one.

    Reached means that the lower end of the one-sided Clopper-Pearson interval is no less, so that a
    lucky handful of rows does not pass for a precision.

    Args:
        scores, correct: (rows,).
        precisions: rising.
    """
    from scipy.stats import beta

    order = np.argsort(-scores, kind="stable")
    given = np.arange(1, len(order) + 1)
    right = np.cumsum(correct[order])
    lower = np.where(right > 0, beta.ppf(1 - CONFIDENCE, np.maximum(right, 1), given - right + 1), 0.0)
    # Rows with one score are answered together or not at all.
    last = np.append(np.diff(scores[order]) != 0, True)
    found = []
    for precision in precisions:
        reached = np.flatnonzero((lower >= precision) & last)
        if len(reached):
            at = int(reached[-1])
            found.append(
                Threshold(
                    precision=precision, score=float(scores[order[at]]), coverage=round(given[at] / len(order), 4)
                )
            )
    return found


def _temperature(evidence: Evidence, around: float | None) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        log_share, _ = evidence.shares(float(np.exp(log_temperature)))
        prior = 0.0 if around is None else 0.5 * ((log_temperature - np.log(around)) / PAIR_SPREAD) ** 2
        return float(-log_likelihood(log_share, evidence.correct).sum() + prior)

    found: Any = minimize_scalar(loss, bounds=(-LOG_RANGE, LOG_RANGE), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def _null(evidence: Evidence, calibration: Calibration) -> tuple[float, float]:
    from scipy.optimize import minimize

    temperatures = [calibration.scaling((p.question_language, p.context_language)).temperature for p in evidence.pairs]
    _, odds = evidence.shares(np.array(temperatures))
    sign = np.where(evidence.answerable, 1.0, -1.0)

    def loss(parameters: Floats) -> float:
        slope, bias = parameters
        return float(
            np.logaddexp(0.0, sign * (slope * odds + bias)).sum() + RIDGE * ((slope - 1) ** 2 + (bias / 10) ** 2)
        )

    found: Any = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(1e-3, None), (None, None)])
    return float(found.x[0]), float(found.x[1])


def log_likelihood(log_probability: Floats, happened: NDArray[np.bool_]) -> Floats:
    """log p where it happened, log (1 - p) where not; never below log 1e-12."""
    probability = np.clip(np.exp(log_probability), 1e-12, 1 - 1e-12)
    return np.log(np.where(happened, probability, 1 - probability))
