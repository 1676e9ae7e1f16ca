"""Scores beside the matrix, each under its own name, so that none is taken for the published one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from polyspan.corpus.model import ParallelCorpus
from polyspan.encoding.predict import Prediction
from polyspan.evaluation.evaluate import score_rows
from polyspan.evaluation.matrix import METRICS, RowScore, ScoreMatrix
from polyspan.evaluation.normalise import UNSPACED, Rules, primary_language

if TYPE_CHECKING:
    from rich.table import Table

TYDIQA_ZERO_SHOT = ("bn", "fi", "id", "ko", "ru", "sw", "te")
"""TyDiQA-GoldP's languages that are in no training set: without ar and en."""


def other_scores(
    corpus: ParallelCorpus, predictions: Sequence[Prediction], rows: Sequence[RowScore], kind: str | None, rules: Rules
) -> dict[str, Any]:
    """Those of the scores below that the data allow, by name, in percent; ready for JSON.

    Args:
        corpus, predictions: what was asked and answered.
        rows: the predictions' scores, in their order.
        kind: layout of the data, None for our own.
        rules: by which the rows were scored.

    ``language_aware``
        `language_aware`, where a context is in a language without spaces that ``rules`` take for
        one long word.
    ``squad_v2``
        `squad_v2`, where a context holds no answer.
    ``tydiqa_zero_shot``
        `tydiqa_zero_shot`, where the data are TyDiQA-GoldP.
    """
    found: dict[str, Any] = {}
    badly_cut = {*UNSPACED, "zh"} if rules == "squad" else set(UNSPACED)
    if badly_cut & {primary_language(row.context_language) for row in rows}:
        found["language_aware"] = language_aware(corpus, predictions)
    answerable = [bool(corpus.answers(prediction.pair)) for prediction in predictions]
    if not all(answerable):
        found["squad_v2"] = squad_v2(rows, predictions, answerable)
    if kind == "tydiqa":
        zero_shot = tydiqa_zero_shot(ScoreMatrix.from_rows(rows))
        if zero_shot is not None:
            found["tydiqa_zero_shot"] = zero_shot
    return found


def language_aware(corpus: ParallelCorpus, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Averages by the rules "language_aware": words found in languages without spaces, articles of the language.

    Where the extra ``segment`` is missing, it says so under ``needs`` and gives no scores.
    """
    if find_spec("icu4py") is None:
        return {"needs": "polyspan[segment]"}
    scores = ScoreMatrix.from_rows(score_rows(corpus, predictions, "language_aware")).to_dict()
    return {name: scores[name] for name in ("averages", "by_context_language")}


def tydiqa_zero_shot(matrix: ScoreMatrix) -> dict[str, float] | None:
    """Mean F1 and EM over the seven languages of `TYDIQA_ZERO_SHOT`, each of the same weight; None if one is missing.

    The average of Carrino et al. (2023), Table 4.
    """
    cells = [matrix.cells.get((language, language)) for language in TYDIQA_ZERO_SHOT]
    present = [cell for cell in cells if cell is not None]
    if len(present) < len(cells):
        return None
    return {metric: round(100 * fmean(cell.value(metric) for cell in present), 10) for metric in METRICS}


def squad_v2(
    rows: Sequence[RowScore], predictions: Sequence[Prediction], answerable: Sequence[bool]
) -> dict[str, float | int]:
    """SQuAD 2.0's scores (Rajpurkar et al. 2018), by their names there, over all rows alike.

    A row is scored by SQuAD 1.1's rules. They differ from 2.0's where nothing is left of an answer without
    its articles and punctuation: 2.0 takes it for no answer.

    ``exact`` and ``f1``
        of the answers as they are: a model that always names a span is wrong wherever there is none.
    ``HasAns_*`` and ``NoAns_*``
        the same over the rows whose context holds an answer, and over the others.
    ``best_*`` and ``best_*_thresh``
        the best that a threshold gives: an answer stands where its ``no_answer`` is at most the
        threshold, which is -1 where it is best that none stands. Chosen on these same rows, so it is
        an upper bound.
    """
    import numpy as np

    has_answer = np.array(answerable)
    no_answer = np.array([prediction.no_answer for prediction in predictions])
    is_named = np.array([bool(prediction.spans) for prediction in predictions])
    found: dict[str, float | int] = {}
    best: dict[str, float | int] = {}
    for name, metric in (("exact", "em"), ("f1", "f1")):
        scores = np.array([getattr(row, metric) for row in rows])
        found[name] = _percent(scores.mean())
        for part, members in (("HasAns", has_answer), ("NoAns", ~has_answer)):
            if members.any():
                found[f"{part}_{name}"] = _percent(scores[members].mean())
                found[f"{part}_total"] = int(members.sum())
        # Below every threshold all rows are left without an answer, which is right where there is none.
        gain = np.where(has_answer, scores, -1.0 * is_named)
        thresholds, place = np.unique(np.append(no_answer, -1.0), return_inverse=True)
        totals = (~has_answer).sum() + np.cumsum(np.bincount(place, np.append(gain, 0.0)))
        top = int(totals.argmax())
        best[f"best_{name}"] = _percent(totals[top] / len(rows))
        best[f"best_{name}_thresh"] = float(thresholds[top])
    return {**found, "total": len(rows), **best}


def render_other_scores(scores: Mapping[str, Any]) -> Table:
    """One line a score, F1 and EM in percent, for the terminal."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("other scores (%)")
    for heading in ("F1", "EM"):
        table.add_column(heading, justify="right", min_width=5)
    for line in other_score_lines(scores):
        table.add_row(line.name, *("" if value is None else f"{value:.1f}" for value in (line.f1, line.em)))
    return table


class OtherScore(NamedTuple):
    """One of the scores above in percent; without a value where a library is missing, which the name says."""

    name: str
    f1: float | None
    em: float | None


def other_score_lines(scores: Mapping[str, Any]) -> Iterator[OtherScore]:
    """What `other_scores` found, or `ScoreMatrix.other` holds, one score after the other."""
    for name, found in scores.items():
        if name == "squad_v2":
            for part in ("HasAns_", "NoAns_", "best_"):
                if f"{part}f1" in found:
                    yield OtherScore(f"{name} {part[:-1]}", found[f"{part}f1"], found[f"{part}exact"])
        elif "needs" in found:
            yield OtherScore(f"{name}: pip install '{found['needs']}'", None, None)
        elif name == "language_aware":
            for average, label in (("gxlt", "all pairs"), ("xlt", "same language")):
                if found["averages"][average]["f1"] is not None:
                    yield OtherScore(f"{name}, {label}", *found["averages"][average].values())
        else:
            yield OtherScore(name, found["f1"], found["em"])


def _percent(value: float) -> float:
    return round(100 * float(value), 10)
