"""Fit a calibration on a part of the data, measure it on the rest, write and draw what was found."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polyspan.errors import PolyspanError
from polyspan.experiments.counting import counting
from polyspan.files import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from polyspan.answering.calibration import Calibration
    from polyspan.answering.evidence import Evidence
    from polyspan.models.load import LoadedModel

FEWEST_IN_PAIR = 16
"""Pairs of languages with fewer rows to measure on are left out of the table of pairs."""


class CalibrateError(PolyspanError):
    """Data that a calibration cannot be made from."""


@dataclass(frozen=True)
class Rows:
    """What is asked.

    Attributes:
        path, kind, languages: as `load_corpus` takes them.
        limit: questions of each pair of languages, drawn by chance; all when None.
        no_answer_share: this share of all rows are questions over another article's text, which
            has no answer; 0 to 0.5, so that no question is asked twice.
    """

    path: str
    kind: str | None = None
    languages: tuple[str, ...] | None = None
    limit: int | None = None
    no_answer_share: float = 0.5


def calibrate(
    loaded: LoadedModel, rows: Rows, test: Rows | None, output: Path, console: Console
) -> tuple[Calibration, dict[str, Any]]:
    """Calibrate a model.

    Args:
        loaded: the model.
        rows: what it is fitted on; without ``test`` on half of its questions.
        test: what it is measured on; by default the other half of the questions. All rows of a
            question, in whatever languages, are on the same side.
        output: folder for ``calibration.json`` and three figures.
        console: where progress goes.

    Returns:
        The calibration, and what was measured.

    Raises:
        CalibrateError: shares or data that leave nothing to fit or to measure on.
        CalibrationError: too few rows to fit on.
        CorpusError: data that cannot be read.
    """
    from polyspan.analysis.runs import without_homes
    from polyspan.answering.fit import fit_calibration

    evidence = _ask(loaded, rows, console)
    if test is None:
        chosen = np.array([in_first_half(pair.id) for pair in evidence.pairs])
        fitted_on, measured_on = evidence.rows(chosen), evidence.rows(~chosen)
        data, on = f"{rows.path}, half of the questions", f"{rows.path}, the other half"
    else:
        fitted_on, measured_on = evidence, _ask(loaded, test, console)
        data, on = rows.path, test.path
    if not len(measured_on):
        raise CalibrateError(f"{on}: no rows are left to measure on")
    if shared := {pair.id for pair in fitted_on.pairs} & {pair.id for pair in measured_on.pairs}:
        raise CalibrateError(
            f"{on}: is measured on questions it is fitted on, such as {min(shared)!r}; leave --test out"
        )
    calibration = fit_calibration(fitted_on, without_homes(loaded.name), without_homes(data))
    measured = {"data": without_homes(on), **measure(measured_on, calibration)}
    report = {**calibration.model_dump(mode="json"), "measured": measured}
    write_text(output / "calibration.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    _draw(measured, output, loaded.name)
    return calibration, measured


def measure(evidence: Evidence, calibration: Calibration) -> dict[str, Any]:
    """Reliability and risk before and after, on rows that were not fitted on.

    Returns:
        ``rows`` and ``no_answer_share``; ``answers``, ``answerable`` (only the rows with an answer)
        and ``no_answer``, each with the reliability ``before`` and ``after``; ``pairs``, the same by
        pair of languages; ``risk_coverage``; and what the ``thresholds`` come to.
    """
    from polyspan.analysis.calibration import measure_reliability, risk_coverage
    from polyspan.encoding.spans import UNSCALED

    def sides(rows: Evidence) -> dict[str, tuple[Any, Any]]:
        return {
            "before": rows.probabilities(lambda _: UNSCALED),
            "after": rows.probabilities(lambda p: calibration.scaling((p.question_language, p.context_language))),
        }

    found = sides(evidence)
    answerable = evidence.answerable
    report: dict[str, Any] = {
        "rows": len(evidence),
        "no_answer_share": float(1 - answerable.mean()),
        "answers": {side: measure_reliability(score, evidence.correct).to_dict() for side, (score, _) in found.items()},
    }
    if answerable.any():
        report["answerable"] = {
            side: measure_reliability(score[answerable], evidence.correct[answerable]).to_dict()
            for side, (score, _) in found.items()
        }
    if not answerable.all():
        report["no_answer"] = {
            side: measure_reliability(none, ~answerable).to_dict() for side, (_, none) in found.items()
        }
    report["pairs"] = _by_pair(evidence, sides)
    report["risk_coverage"] = {
        side: risk_coverage(score, evidence.correct).to_dict() for side, (score, _) in found.items()
    }
    score = found["after"][0]
    report["thresholds"] = []
    for threshold in calibration.thresholds:
        given = score >= threshold.score
        report["thresholds"].append(
            {
                "precision": threshold.precision,
                "score": threshold.score,
                "precision_measured": float(evidence.correct[given].mean()) if given.any() else None,
                "coverage_measured": float(given.mean()),
                "answered_without_answer": float(given[~answerable].mean()) if not answerable.all() else None,
            }
        )
    return report


def in_first_half(id_: str) -> bool:
    """Which half a question is in, by a digest of its id; made-up mismatches go with their question."""
    from polyspan.corpus.mismatched import question_of

    return hashlib.sha256(question_of(id_).encode("utf-8")).digest()[0] % 2 == 0


def _by_pair(evidence: Evidence, sides: Any) -> list[dict[str, Any]]:
    from polyspan.analysis.calibration import measure_reliability

    languages = [(pair.question_language, pair.context_language) for pair in evidence.pairs]
    rows = []
    for question, context in sorted(set(languages)):
        part = evidence.rows(np.array([pair == (question, context) for pair in languages]))
        if len(part) < FEWEST_IN_PAIR:
            continue
        rows.append(
            {
                "question_language": question,
                "context_language": context,
                **{
                    side: measure_reliability(score, part.correct, bins=5).to_dict()
                    for side, (score, _) in sides(part).items()
                },
            }
        )
    return rows


def _ask(loaded: LoadedModel, rows: Rows, console: Console) -> Evidence:
    from polyspan.answering.evidence import gather
    from polyspan.corpus.load import guess_kind, is_shipped, load_corpus
    from polyspan.corpus.mismatched import mismatched
    from polyspan.encoding.predict import inference_precision
    from polyspan.evaluation.evaluate import limit_pairs, rules_for

    if not 0 <= rows.no_answer_share < 1:
        raise CalibrateError(
            f"the share of rows without an answer must be at least 0 and less than 1, not {rows.no_answer_share:g}"
        )
    corpus = load_corpus(rows.path, kind=rows.kind, languages=rows.languages)  # type: ignore[arg-type]
    kind = rows.kind or guess_kind(rows.path)
    pairs = corpus.pairs()
    random.Random(1).shuffle(pairs)
    pairs = limit_pairs(pairs, rows.limit)
    with_answer = [pair for pair in pairs if corpus.answers(pair)]
    own = len(pairs) - len(with_answer)
    wanted = round(len(with_answer) * rows.no_answer_share / (1 - rows.no_answer_share)) - own
    corpus, made = mismatched(corpus, with_answer, max(wanted, 0))
    pairs += made
    with counting(console, f"asking {rows.path}") as count, inference_precision(loaded.model):
        return gather(
            loaded.model,
            loaded.tokenizer,
            corpus,
            pairs,
            rules_for(None if is_shipped(rows.path) else kind, corpus.languages),
            progress=count,
        )


def _draw(measured: dict[str, Any], output: Path, name: str) -> None:
    from polyspan.analysis.calibration_figures import draw_pair_reliability, draw_reliability, draw_risk_coverage

    title = Path(name).name
    draw_reliability(measured, output / "reliability.svg", f"Reliability of {title}")
    draw_risk_coverage(measured, output / "risk-coverage.svg", f"Risk and coverage of {title}")
    if measured["pairs"]:
        draw_pair_reliability(measured, output / "reliability-pairs.svg", f"Reliability of {title} by languages; ECE")
