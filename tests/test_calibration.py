"""Calibration: fitted on made evidence whose truth is known, saved with a model, used by Answerer."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyspan.analysis.calibration import measure_reliability, risk_coverage
from polyspan.answering import Answerer
from polyspan.answering.calibration import Calibration, CalibrationError, load_calibration
from polyspan.answering.evidence import Evidence, gather
from polyspan.answering.fit import _for_both, fit_calibration, thresholds
from polyspan.corpus import load_corpus
from polyspan.corpus.mismatched import mismatched
from polyspan.corpus.model import CorpusError, Pair
from polyspan.encoding.predict import predict
from polyspan.encoding.spans import EXCLUDED, UNSCALED
from polyspan.evaluation.evaluate import rules_for
from polyspan.experiments.calibrate import in_first_half, measure
from polyspan.experiments.model_card import CALIBRATED, NOT_CALIBRATED
from test_cli import polyspan, refused
from tiny_models import tiny_bert

PLACES = 8


def made(temperatures: dict[tuple[str, str], float], rows: int, no_answer: float = 0.0, seed: int = 0) -> Evidence:
    """Rows of a model whose logits are too large by a known factor for each pair of languages.

    The end is certain; the start's logits are ``temperature`` times log probabilities, and which start is
    right is drawn from these probabilities. "No answer" has a logit far below where there is an answer.
    """
    generator = np.random.default_rng(seed)
    languages = list(temperatures)
    pairs, answerable, correct, best, null, starts = [], [], [], [], [], []
    for row in range(rows):
        language = languages[row % len(languages)]
        logits = generator.normal(0, 2, PLACES)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        has = generator.random() >= no_answer
        top = int(logits.argmax())
        pairs.append(Pair(str(row), *language))
        answerable.append(has)
        correct.append(has and generator.choice(PLACES, p=probabilities) == top)
        starts.append(logits * temperatures[language])
        best.append(starts[-1][top])
        # Log odds of "no answer" are -4 or -2 here: always far too low.
        null.append(generator.normal(-4.0 if has else -2.0, 0.7) + math.log(np.exp(starts[-1]).sum()))
    ends = np.full((rows, PLACES), EXCLUDED, np.float32)
    ends[:, 0] = 0.0
    return Evidence(
        pairs,
        np.array(answerable, np.bool_),
        np.array(correct, np.bool_),
        np.array(best),
        np.array(null),
        np.arange(rows),
        np.array(starts, np.float32),
        ends,
    )


def test_temperatures_are_found_again_for_each_pair() -> None:
    true = {("en", "de"): 2.0, ("zh", "de"): 4.0}
    found = fit_calibration(made(true, 4000), "made", "made rows")
    assert {(p.question_language, p.context_language): p.rows for p in found.pairs} == dict.fromkeys(true, 2000)
    for pair in found.pairs:
        assert pair.temperature == pytest.approx(true[pair.question_language, pair.context_language], rel=0.15)
    assert 2.0 < found.temperature < 4.0
    assert found.scaling(("de", "en")).temperature == found.temperature
    assert found.scaling(("zh", "de")).temperature > found.scaling(("en", "de")).temperature
    assert (found.null_slope, found.null_bias) == (1.0, 0.0)


def test_a_pair_with_few_rows_stays_near_all_pairs() -> None:
    many, few = made({("en", "de"): 2.0}, 1500), made({("zh", "de"): 8.0}, 5, seed=1)
    both = Evidence(
        many.pairs + few.pairs,
        *(
            np.concatenate([getattr(many, name), getattr(few, name)])
            for name in ("answerable", "correct", "best", "null")
        ),
        np.arange(1505),
        np.concatenate([many.starts, few.starts]),
        np.concatenate([many.ends, few.ends]),
    )
    found = fit_calibration(both, "made", "made rows")
    assert found.scaling(("zh", "de")).temperature == pytest.approx(found.temperature, rel=0.35)


def test_calibration_errors_shrink_on_rows_that_were_not_fitted_on() -> None:
    fitted = fit_calibration(made({("en", "de"): 3.0}, 1500, no_answer=0.5), "made", "made rows")
    measured = measure(made({("en", "de"): 3.0}, 1500, no_answer=0.5, seed=1), fitted)
    assert measured["no_answer_share"] == pytest.approx(0.5, abs=0.05)
    for name in ("answers", "no_answer"):
        before, after = measured[name]["before"], measured[name]["after"]
        assert after["ece"] < before["ece"] / 2, name
        assert after["brier"] < before["brier"]
    assert measured["answers"]["after"]["ece"] < 0.05
    assert [t["precision"] for t in measured["thresholds"]] == [t.precision for t in fitted.thresholds] != []
    for threshold in measured["thresholds"]:
        spread = math.sqrt(
            threshold["precision"] * (1 - threshold["precision"]) / (1500 * threshold["coverage_measured"])
        )
        assert threshold["precision_measured"] >= threshold["precision"] - 3 * spread


def test_too_little_to_fit_on_is_named() -> None:
    with pytest.raises(CalibrationError, match="40 answerable rows to fit on; 50 are needed"):
        fit_calibration(made({("en", "de"): 1.0}, 40), "made", "made rows")
    rows = made({("en", "de"): 1.0}, 60)
    rows.correct[:] = True
    with pytest.raises(CalibrationError, match="all right or all wrong"):
        fit_calibration(rows, "made", "made rows")


def test_thresholds_hold_where_languages_are_not_told_too() -> None:
    correct = np.arange(400) % 10 > 0
    known, unknown = np.where(correct, 0.9, 0.2), np.where(correct, 0.95, 0.6)
    both = {t.precision: t for t in _for_both(known, unknown, correct)}
    assert both[0.95].score == 0.95
    for scores in (known, unknown):
        assert all(both[t.precision].score >= t.score for t in thresholds(scores, correct))
    assert _for_both(known, np.full(400, 0.5), correct)[-1].precision < thresholds(known, correct)[-1].precision


def test_thresholds_are_not_fooled_by_a_lucky_handful() -> None:
    scores = np.linspace(1, 0, 200)
    lucky = np.zeros(200, np.bool_)
    lucky[:5] = True
    assert thresholds(scores, lucky, (0.9,)) == []
    sound = np.zeros(200, np.bool_)
    sound[:100] = True
    (found,) = thresholds(scores, sound, (0.9,))
    given = scores >= found.score
    assert sound[given].mean() >= 0.9
    assert found.coverage == pytest.approx(given.mean(), abs=1e-4)
    # Rows with equal scores are answered together or not at all.
    assert thresholds(np.full(200, 0.5), sound, (0.4, 0.9)) == [
        t for t in thresholds(np.full(200, 0.5), sound, (0.4,)) if t.coverage == 1.0
    ]


def test_reliability_and_risk_by_hand() -> None:
    right = np.array([True] * 8 + [False] * 8)
    found = measure_reliability(np.array([0.9] * 8 + [0.4] * 8), right, bins=2)
    assert found.ece == pytest.approx(0.5 * 0.1 + 0.5 * 0.4)
    assert found.brier == pytest.approx(0.5 * 0.01 + 0.5 * 0.16)
    assert [(b.rows, b.accuracy) for b in found.bins] == [(8, 0.0), (8, 1.0)]
    curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]))
    assert curve.coverage == (0.25, 0.5, 0.75, 1.0)
    assert curve.risk == pytest.approx((0.0, 0.5, 1 / 3, 0.5))
    assert curve.area == pytest.approx((0 + 0.5 + 1 / 3 + 0.5) / 4)


def test_equal_scores_say_the_same_in_any_order() -> None:
    scores, right = np.full(100, 0.5), np.arange(100) < 50
    for order in (right, ~right):
        assert measure_reliability(scores, order).ece == 0
        assert risk_coverage(scores, order).area == pytest.approx(0.5)
        assert measure_reliability(scores, order).brier == 0.25


def test_ids_with_slashes_fall_into_both_halves() -> None:
    halves = {in_first_half(f"corpus/{number}") for number in range(20)}
    assert halves == {True, False}


def test_mismatched_questions_are_over_another_article_of_the_same_language() -> None:
    corpus = load_corpus("commons/dev", languages=("en", "de"))
    pairs = corpus.pairs()
    made_corpus, asked = mismatched(corpus, pairs, 30)
    assert len({pair.id for pair in asked}) == 30
    by_question = {(corpus.question(pair), pair.question_language, pair.context_language): pair for pair in pairs}
    for pair in asked:
        key = made_corpus.question(pair), pair.question_language, pair.context_language
        own = corpus.passage(by_question[key])
        other = made_corpus.passage(pair)
        assert other.language == pair.context_language
        assert other.title != own.title
        assert made_corpus.answers(pair) == ()
        assert in_first_half(pair.id) == in_first_half(by_question[key].id)
    assert mismatched(corpus, pairs, 30)[1] == asked
    with pytest.raises(CorpusError, match="wanted"):
        mismatched(corpus, pairs, len(pairs) + 1)


class CountedTitle(str):
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedTitle.compared += 1
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other


@pytest.mark.parametrize("titles", ["own", "none", "two"])
def test_mismatching_takes_linear_time(titles: str) -> None:
    corpus = load_corpus("commons/train", languages=("en", "de"))
    named = {"own": lambda at: f"article {at}", "none": lambda at: "", "two": lambda at: f"article {at % 2}"}[titles]
    passages = {
        id_: replace(passage, title=CountedTitle(named(at)))
        for at, (id_, passage) in enumerate(corpus.passages.items())
    }
    corpus = replace(corpus, passages=passages)
    pairs = corpus.pairs()
    CountedTitle.compared = 0
    made_corpus, asked = mismatched(corpus, pairs, len(pairs))
    assert CountedTitle.compared < 3 * (len(pairs) + len(passages))
    for pair in asked:
        own = corpus.passage(Pair(pair.id.partition("/")[0], pair.question_language, pair.context_language))
        other = made_corpus.passage(pair)
        assert (other.title or other.id) != (own.title or own.id)


def test_evidence_is_what_prediction_sees(tmp_path: Path) -> None:
    loaded = Answerer(str(tiny_bert(tmp_path / "tiny"))).loaded
    corpus = load_corpus("commons/dev", languages=("en", "zh"))
    pairs = corpus.pairs()[:12]
    evidence = gather(loaded.model, loaded.tokenizer, corpus, pairs, rules_for(None, corpus.languages))
    predicted = predict(loaded.model, loaded.tokenizer, corpus, pairs)
    scores, no_answer = evidence.probabilities(lambda _: UNSCALED)
    assert scores == pytest.approx([found.spans[0].score for found in predicted], rel=1e-3)
    assert no_answer == pytest.approx([found.no_answer for found in predicted], rel=1e-3)


def test_the_command_fits_draws_saves_and_answerer_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, output = tiny_bert(tmp_path / "tiny"), tmp_path / "out"
    arguments = ("calibrate", "--model", model, "--data", "commons/dev", "--languages", "en,de,es", "--output", output)
    assert "--save writes into a model's folder" in refused(
        "calibrate", "--model", "polyspan-qa-en", "--data", "commons/dev", "--output", output, "--save"
    )
    generator = np.random.default_rng(0)

    # A random reader is never right, and nothing can be fitted on that.
    def some_right(*args: object, **kwargs: object) -> Evidence:
        found = gather(*args, **kwargs)  # type: ignore[arg-type]
        found.correct[:] = found.answerable & (generator.random(len(found)) < 0.4)
        return found

    monkeypatch.setattr("polyspan.answering.evidence.gather", some_right)
    (model / "README.md").write_text(f"- {NOT_CALIBRATED}\n", encoding="utf-8")
    printed = json.loads(polyspan(*arguments, "--save", "--json").stdout)
    assert (model / "README.md").read_text(encoding="utf-8") == f"- {CALIBRATED}\n"
    written = json.loads((output / "calibration.json").read_text(encoding="utf-8"))
    assert written["measured"] == printed["measured"]
    assert {path.name for path in output.iterdir()} >= {"calibration.json", "reliability.svg", "risk-coverage.svg"}
    saved = load_calibration(model)
    assert saved == Calibration(**{key: value for key, value in printed.items() if key != "measured"})
    assert Answerer(str(model)).calibration == load_calibration(output) == saved
    assert printed["no_answer_share"] == pytest.approx(0.5, abs=0.15)
