"""Scores under other names, against plain sums and cases worked out by hand."""

from __future__ import annotations

import json
import random
import sys
from io import StringIO
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from polyspan.corpus import Answer, Pair, ParallelCorpus, Passage, Seed
from polyspan.encoding.predict import Prediction
from polyspan.encoding.spans import Span
from polyspan.evaluation import RowScore, ScoreMatrix, ScoringError, score_answer
from polyspan.evaluation.evaluate import score_rows
from polyspan.evaluation.matrix import Cell
from polyspan.evaluation.normalise import UNSPACED, normalised_tokens
from polyspan.evaluation.other_scores import (
    TYDIQA_ZERO_SHOT,
    other_scores,
    render_other_scores,
    squad_v2,
    tydiqa_zero_shot,
)


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("th", "ภาษาไทย, เป็นภาษา", ["ภาษา", "ไทย", "เป็น", "ภาษา"]),
        ("ja", "「東京」、日本の首都です。", ["東京", "日本", "の", "首都", "です"]),
        ("ja", "  ", []),
        ("zh", "北京，2008年", ["北", "京", "2008", "年"]),
        ("de", "Die 3 Städte!", ["3", "städte"]),
        ("fi", "The Talo.", ["the", "talo"]),
    ],
)
def test_words_of_each_language(language: str, text: str, tokens: list[str]) -> None:
    assert normalised_tokens(text, language, "language_aware") == tokens


@pytest.mark.parametrize("language", UNSPACED)
@settings(max_examples=40, deadline=None)
@given(st.text("กขคงาิี่东京かなカナກຂາမြန်កខា ab12.,🎉", max_size=30))
def test_segmentation_loses_no_letter(language: str, text: str) -> None:
    """The words put together are the text without white space and punctuation."""
    tokens = normalised_tokens(text, language, "language_aware")
    assert "".join(tokens) == "".join(text.replace(".", "").replace(",", "").split())
    assert all(tokens)


def test_part_of_a_thai_answer_counts_by_words() -> None:
    """SQuAD's rules take the answer for one word, so that a part of it is worth nothing."""
    gold, given_ = ["ภาษาไทยเป็นภาษา"], "ภาษาไทย"
    assert score_answer(given_, gold, "th", "squad").f1 == 0
    assert score_answer(given_, gold, "th", "language_aware").f1 == pytest.approx(2 * 2 / (2 + 4))
    assert score_answer(gold[0], gold, "th", "language_aware").em == 1


def test_the_extra_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    assert normalised_tokens("ein Haus", "de", "language_aware") == ["haus"]
    with pytest.raises(ScoringError, match=r"polyspan\[segment\]"):
        normalised_tokens("ภาษาไทย", "th", "language_aware")


def test_tydiqa_average_leaves_out_english_and_arabic() -> None:
    generator = random.Random(0)
    cells = {
        (language, language): Cell(generator.randint(1, 50), generator.random(), generator.random())
        for language in sorted(["ar", "en", *TYDIQA_ZERO_SHOT])
    }
    found = tydiqa_zero_shot(ScoreMatrix(cells))
    assert found is not None
    assert found["f1"] == pytest.approx(
        100 * fmean(cell.f1 for (language, _), cell in cells.items() if language not in {"ar", "en"})
    )
    assert found["em"] == pytest.approx(
        100 * fmean(cell.em for (language, _), cell in cells.items() if language not in {"ar", "en"})
    )
    del cells["sw", "sw"]
    assert tydiqa_zero_shot(ScoreMatrix(cells)) is None


def v2(rows: list[tuple[bool, float, float, bool]]) -> dict[str, float | int]:
    """Of (has an answer, F1, probability of no answer, names a span)."""
    scored, predictions = [], []
    for number, (has, f1, no_answer, names) in enumerate(rows):
        value = (f1 if names else 0.0) if has else float(not names)
        scored.append(RowScore(str(number), "en", "en", value, float(value == 1)))
        predictions.append(
            Prediction(Pair(str(number), "en", "en"), [Span("x", 0, 1, 1.0)] if names else [], no_answer)
        )
    return squad_v2(scored, predictions, [row[0] for row in rows])


def test_squad_v2_by_hand() -> None:
    found = v2([(True, 1.0, 0.1, True), (True, 0.5, 0.3, True), (False, 0, 0.2, True), (False, 0, 0.9, True)])
    assert found == {
        "exact": 25.0,
        "HasAns_exact": 50.0,
        "HasAns_total": 2,
        "NoAns_exact": 0.0,
        "NoAns_total": 2,
        "f1": 37.5,
        "HasAns_f1": 75.0,
        "NoAns_f1": 0.0,
        "total": 4,
        "best_exact": 75.0,
        "best_exact_thresh": 0.1,
        "best_f1": 75.0,
        "best_f1_thresh": 0.1,
    }


def test_it_can_be_best_that_no_answer_stands() -> None:
    found = v2([(True, 0, 0.0, True), (False, 0, 0.0, True), (False, 0, 0.0, True), (False, 0, 0.0, True)])
    assert (found["best_exact"], found["best_exact_thresh"]) == (75.0, -1.0)


row = st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.booleans())


@settings(max_examples=150, deadline=None)
@given(st.lists(row, min_size=1, max_size=12))
def test_best_threshold_is_the_best_of_all(rows: list[tuple[bool, float, float, bool]]) -> None:
    def at(threshold: float) -> float:
        total = 0.0
        for has, f1, no_answer, names in rows:
            stands = names and no_answer <= threshold
            total += (f1 if stands else 0) if has else float(not stands)
        return 100 * total / len(rows)

    found = v2(rows)
    candidates = [-1.0, *(no_answer for _, _, no_answer, _ in rows)]
    assert found["best_f1"] == pytest.approx(max(map(at, candidates)))
    assert at(float(found["best_f1_thresh"])) == pytest.approx(found["best_f1"])
    for name, has in (("HasAns", True), ("NoAns", False)):
        assert (f"{name}_total" in found) == any(entry[0] == has for entry in rows)


def made(languages: dict[str, tuple[str, str]], answerable: bool = True) -> tuple[ParallelCorpus, list[Prediction]]:
    """Contexts and predicted beginnings of them, by language; the whole context is the gold answer."""
    seed = Seed(
        "q",
        dict.fromkeys(languages, "?"),
        {language: f"p-{language}" for language in languages},
        {language: (Answer(context, 0),) if answerable else () for language, (context, _) in languages.items()},
    )
    passages = {
        f"p-{language}": Passage(f"p-{language}", language, "", text) for language, (text, _) in languages.items()
    }
    predictions = [
        Prediction(Pair("q", language, language), [Span(found, 0, len(found), 0.5)], 0.1)
        for language, (_, found) in languages.items()
    ]
    return ParallelCorpus("made", {"q": seed}, passages), predictions


def test_scores_that_the_data_ask_for() -> None:
    plain = made({"en": ("a house", "house"), "de": ("Haus", "Haus")})
    rows = score_rows(*plain, "squad")
    assert other_scores(*plain, rows, "xquad", "squad") == {}
    thai = made({"en": ("house", "house"), "th": ("ภาษาไทยเป็นภาษา", "ภาษาไทย")})
    rows = score_rows(*thai, "squad")
    found = other_scores(*thai, rows, "xquad", "squad")
    assert list(found) == ["language_aware"]
    assert found["language_aware"]["averages"]["gxlt"]["f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert found["language_aware"]["by_context_language"]["th"]["f1"] == pytest.approx(100 * 2 / 3)
    chinese = made({"zh": ("北京", "北")})
    assert other_scores(*chinese, score_rows(*chinese, "mlqa"), "mlqa", "mlqa") == {}
    assert "language_aware" in other_scores(*chinese, score_rows(*chinese, "squad"), "xquad", "squad")
    empty = made({"en": ("house", "house")}, answerable=False)
    assert other_scores(*empty, score_rows(*empty, "squad"), "squad", "squad")["squad_v2"]["NoAns_total"] == 1
    seven = made(dict.fromkeys(TYDIQA_ZERO_SHOT, ("talo", "talo")))
    rows = score_rows(*seven, "squad")
    assert other_scores(*seven, rows, "tydiqa", "squad") == {"tydiqa_zero_shot": {"f1": 100.0, "em": 100.0}}
    assert other_scores(*seven, rows, "xquad", "squad") == {}


def test_without_the_extra_the_score_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyspan.evaluation.other_scores.find_spec", lambda _: None)
    thai = made({"th": ("ภาษาไทย", "ภาษา")})
    found = other_scores(*thai, score_rows(*thai, "squad"), "xquad", "squad")
    assert found == {"language_aware": {"needs": "polyspan[segment]"}}


def test_they_travel_with_the_matrix_and_are_shown() -> None:
    thai = made({"th": ("ภาษาไทยเป็นภาษา", "ภาษาไทย")}, answerable=True)
    rows = score_rows(*thai, "squad")
    others = {**other_scores(*thai, rows, "xquad", "squad"), "squad_v2": v2([(True, 0.5, 0.1, True)])}
    matrix = ScoreMatrix(ScoreMatrix.from_rows(rows).cells, others)
    written = json.loads(json.dumps(matrix.to_dict()))
    assert written["other_scores"] == others
    assert ScoreMatrix.from_dict(written) == matrix
    assert "other_scores" not in ScoreMatrix.from_rows(rows).to_dict()
    file = StringIO()
    Console(file=file, width=80).print(render_other_scores(others))
    text = file.getvalue()
    assert "language_aware, all pairs" in text
    assert "66.7" in text
    assert "squad_v2 HasAns" in text
    assert "NoAns" not in text
