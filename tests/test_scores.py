"""Scores of answers against a second version of both published rules, and cases worked out by hand."""

from __future__ import annotations

import hashlib
import json
import string
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyspan.corpus import Answer, Pair, ParallelCorpus, Passage, Seed
from polyspan.encoding.predict import Prediction
from polyspan.encoding.spans import Span
from polyspan.evaluation import RowScore, Score, ScoreMatrix, ScoringError, score_answer
from polyspan.evaluation.evaluate import rules_for, score_predictions, score_rows, write_predictions
from polyspan.evaluation.normalise import MLQA_LANGUAGES, Rules, normalised_tokens

ARTICLES = {
    "en": {"a", "an", "the"},
    "es": {"un", "una", "unos", "unas", "el", "la", "los", "las"},
    "vi": {"của", "là", "cái", "chiếc", "những"},
    "de": {"ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"},
}
LANGUAGES = ["ar", "de", "en", "es", "hi", "vi", "zh"]
RULES: list[Rules] = ["mlqa", "squad"]


def runs(text: Iterable[str], of_kind: str) -> list[tuple[bool, str]]:
    """Longest stretches of characters that are, or are not, ``of_kind``, the name of a str method."""
    return [(kind, "".join(run)) for kind, run in groupby(text, lambda c: bool(getattr(c, of_kind)()))]


def plain_tokens(text: str, language: str, rules: Rules) -> list[str]:
    kept = []
    for character in text.lower():
        in_unicode = unicodedata.category(character).startswith("P")
        if character not in string.punctuation and not (rules == "mlqa" and in_unicode):
            kept.append(character)
    articles = ARTICLES["en"] if rules == "squad" else ARTICLES.get(language, set())
    plain = "".join(" " if run in articles else run for _, run in runs(kept, "isalnum"))
    if rules == "mlqa" and language == "ar":
        plain = " ".join(plain.split("ال"))
    words = [run for blank, run in runs(plain, "isspace") if not blank]
    if rules == "squad" or language != "zh":
        return words
    tokens = []
    for word in words:
        for is_han, characters in groupby(word, lambda c: 0x4E00 <= ord(c) <= 0x9FA5):
            run = list(characters)
            tokens.extend(run if is_han else ["".join(run)])
    return tokens


def plain_score(prediction: str, golds: Sequence[str], language: str, rules: Rules) -> Score:
    f1 = em = 0.0
    given = plain_tokens(prediction, language, rules)
    for gold in golds:
        left = plain_tokens(gold, language, rules)
        wanted, same = len(left), 0
        em = max(em, float(" ".join(given) == " ".join(left)))
        for token in given:
            if token in left:
                left.remove(token)
                same += 1
        if same:
            precision, recall = same / len(given), same / wanted
            f1 = max(f1, 2 * precision * recall / (precision + recall))
    return Score(f1, em)


# language, prediction, gold, then F1 and EM by MLQA's rules and F1 and EM by SQuAD's.
CASES = [
    ("en", "The Cat, sat!", "cat sat", (1, 1), (1, 1)),
    ("en", "an anthem", "anthem", (1, 1), (1, 1)),
    ("en", "cat the cat", "a cat", (2 / 3, 0), (2 / 3, 0)),
    ("en", "red red blue", "red red red", (2 / 3, 0), (2 / 3, 0)),
    ("en", "U.S.-based", "usbased", (1, 1), (1, 1)),
    ("en", "“Paris”", "Paris", (1, 1), (0, 0)),
    ("en", "$5+1", "51", (1, 1), (1, 1)),
    ("en", "€5", "5", (0, 0), (0, 0)),
    ("en", "new\u00a0\u3000york\n", "New York", (1, 1), (1, 1)),
    ("en", "the, a; an", "…", (0, 1), (0, 0)),
    ("es", "El niño", "niño", (1, 1), (2 / 3, 0)),
    ("es", "¿unas casas?", "las casas", (1, 1), (1 / 2, 0)),
    ("es", "ella", "el la", (0, 0), (0, 0)),
    ("es", "a la playa", "a playa", (1, 1), (2 / 3, 0)),
    ("de", "dem Haus", "das Haus", (1, 1), (1 / 2, 0)),
    ("de", "Des Kaisers Kleider", "kaisers neue kleider", (4 / 5, 0), (2 / 3, 0)),
    ("de", "„einsame Derwische“", "einsame derwische", (1, 1), (0, 0)),
    ("de", "die Straße", "strasse", (0, 0), (0, 0)),
    ("vi", "những con mèo", "con mèo", (1, 1), (4 / 5, 0)),
    ("vi", "Của là, CÁI chiếc", "những", (0, 1), (0, 0)),
    ("vi", "làng", "ng", (0, 0), (0, 0)),
    ("hi", "नई दिल्ली।", "नई दिल्ली", (1, 1), (1 / 2, 0)),
    ("hi", "the दिल्ली", "दिल्ली", (2 / 3, 0), (1, 1)),
    ("ar", "الكتاب", "كتاب", (1, 1), (0, 0)),
    ("ar", "جمال", "جم", (1, 1), (0, 0)),
    ("ar", "بالبيت", "ب بيت", (1, 1), (0, 0)),
    ("ar", "نعم، لا", "نعم لا", (1, 1), (1 / 2, 0)),
    ("zh", "北京市", "北京", (4 / 5, 0), (0, 0)),
    ("zh", "《红楼梦》", "红楼梦", (1, 1), (0, 0)),
    ("zh", "NBA总决赛", "nba 总 决 赛", (1, 1), (0, 0)),
    ("zh", "the 北京", "北京", (4 / 5, 0), (1, 1)),
    ("zh", "\u4e00\u9fa5", "\u9fa5\u4e00", (1, 0), (0, 0)),
    ("zh", "\u4dff\u9fa6", "\u9fa6\u4dff", (0, 0), (0, 0)),
]


@pytest.mark.parametrize(("language", "prediction", "gold", "mlqa", "squad"), CASES)
def test_cases_by_hand(
    language: str, prediction: str, gold: str, mlqa: tuple[float, int], squad: tuple[float, int]
) -> None:
    for rules, (f1, em) in zip(RULES, (mlqa, squad), strict=True):
        score = score_answer(prediction, [gold], language, rules=rules)
        assert (score.f1, score.em) == pytest.approx((f1, em), abs=1e-9), rules
        assert score_answer(gold, [prediction], language, rules=rules) == score
        again = plain_score(prediction, [gold], language, rules)
        assert (again.f1, again.em) == pytest.approx((f1, em), abs=1e-9), rules


def test_every_language_of_mlqa_has_cases() -> None:
    assert sorted({case[0] for case in CASES}) == sorted(MLQA_LANGUAGES) == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_articles_go_as_whole_words_in_their_language(language: str) -> None:
    for article in set().union(*ARTICLES.values()):
        own = article in ARTICLES.get(language, set())
        assert normalised_tokens(f"x {article.upper()}. x", language) == (["x", "x"] if own else ["x", article, "x"])
        assert normalised_tokens(f"x{article} {article}1", language) == [f"x{article}", f"{article}1"]
        in_english = article in ARTICLES["en"]
        assert normalised_tokens(article, language, "squad") == ([] if in_english else [article])


PIECES = sorted(
    {*" \t\u3000\u200b_-'.,$+€“”«»¿。、《》،؟।־İıßſΣ", *"的一龥㐀龦々〇aAxé", "ال", "ا", "ل", "E\u0301", "the_"}
)
PIECES += sorted(set().union(*ARTICLES.values()) | {"The", "DER", "Là", "THE", "北京", "عالم", "दिल्ली", "word"})
anything = st.lists(st.one_of(st.sampled_from([" ", *PIECES]), st.text(max_size=3)), max_size=9).map("".join)


@settings(max_examples=400, deadline=None)
@given(
    prediction=anything,
    golds=st.lists(anything, min_size=1, max_size=3),
    language=st.sampled_from(LANGUAGES),
    rules=st.sampled_from(RULES),
)
def test_scores_equal_the_second_version(prediction: str, golds: list[str], language: str, rules: Rules) -> None:
    score = score_answer(prediction, golds, language, rules=rules)
    expected = plain_score(prediction, golds, language, rules)
    assert score.f1 == pytest.approx(expected.f1, abs=1e-9)
    assert score.em == expected.em


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), anything), language=st.sampled_from(LANGUAGES), rules=st.sampled_from(RULES))
def test_tokens_equal_the_second_version(text: str, language: str, rules: Rules) -> None:
    tokens = normalised_tokens(text, language, rules)
    assert tokens == plain_tokens(text, language, rules)
    assert " ".join(tokens).split() == tokens


def test_best_gold_answer_counts() -> None:
    golds = ["old grey bridge", "the bridge of stones", "stones"]
    assert score_answer("bridge of wood", golds, "en").f1 == pytest.approx(2 / 3)
    assert score_answer("stones", golds, "en") == Score(1, 1)
    assert score_answer("stones", golds[::-1], "en") == Score(1, 1)
    assert score_answer("stones", golds[:2], "en") == Score(pytest.approx(1 / 2), 0)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(
    ("prediction", "golds", "f1", "em"),
    [
        (None, ["bridge"], 0, 0),
        (None, [""], 0, 0),
        ("", ["bridge"], 0, 0),
        ("bridge", [""], 0, 0),
        ("", [""], 0, 1),
        ("?!", [""], 0, 1),
        (None, [], 1, 1),
        ("", [], 1, 1),
        ("?!", [], 0, 0),
        ("bridge", [], 0, 0),
        ("bridge", ["", "bridge"], 1, 1),
    ],
)
def test_empty_predictions_and_golds(
    prediction: str | None, golds: list[str], f1: float, em: float, rules: Rules
) -> None:
    assert score_answer(prediction, golds, "en", rules=rules) == Score(f1, em)


@pytest.mark.parametrize(("prediction", "golds"), [("x", ["x"]), (None, ["x"]), (None, []), ("", [])])
def test_unknown_languages_and_rules_are_never_passed_over(prediction: str | None, golds: list[str]) -> None:
    with pytest.raises(ScoringError, match=r"'pt'.*en, es, hi, vi, de, ar, zh.*strict=False"):
        score_answer(prediction, golds, "pt")
    with pytest.raises(ScoringError, match=r"'xquad'.*'mlqa', 'squad' or"):
        score_answer(prediction, golds, "en", rules="xquad")  # type: ignore[arg-type]


def test_other_languages_without_strictness_and_by_squad() -> None:
    assert score_answer("«El» vino", ["el vino"], "pt", strict=False) == Score(1, 1)
    assert score_answer("el vino", ["vino"], "pt", strict=False) == Score(pytest.approx(2 / 3), 0)
    assert score_answer("the vino", ["vino"], "pt", strict=False) == Score(pytest.approx(2 / 3), 0)
    assert score_answer("the vino", ["vino"], "pt", rules="squad") == Score(1, 1)


def test_one_string_is_not_taken_for_gold_answers() -> None:
    with pytest.raises(TypeError, match="sequence"):
        score_answer("b", "bridge", "en")


@pytest.mark.parametrize(
    ("kind", "languages", "rules"),
    [
        ("mlqa", ["en", "zh"], "mlqa"),
        ("table", ["de"], "mlqa"),
        (None, LANGUAGES, "mlqa"),
        (None, [*LANGUAGES, "sw"], "squad"),
        ("mlqa", ["th"], "squad"),
        ("squad", ["en"], "squad"),
        ("xquad", ["en", "de"], "squad"),
        ("tydiqa", ["en"], "squad"),
    ],
)
def test_rules_of_data_sets(kind: str | None, languages: list[str], rules: Rules) -> None:
    assert rules_for(kind, iter(languages)) == rules


def predicted() -> tuple[ParallelCorpus, list[Prediction]]:
    texts = {"en": "In el puente.", "es": "En el puente."}
    answers = {"en": (Answer("puente", 6),), "es": (Answer("puente", 6), Answer("En", 0))}
    seed = Seed("q", {"en": "Where?", "es": "¿Dónde?"}, {"en": "p-en", "es": "p-es"}, answers)
    passages = {f"p-{language}": Passage(f"p-{language}", language, "", text) for language, text in texts.items()}
    best, second = Span("el puente", 3, 12, 0.75), Span("puente", 6, 12, 1 / 3)
    spans = {("es", "en"): [best, second], ("en", "es"): [best, second], ("es", "es"): []}
    predictions = [Prediction(Pair("q", *languages), found, 0.125) for languages, found in spans.items()]
    return ParallelCorpus("made", {"q": seed}, passages), predictions


def test_best_span_is_scored_by_the_language_of_the_context() -> None:
    matrix = score_predictions(*predicted(), "mlqa")
    rows = [RowScore("q", "es", "en", 2 / 3, 0), RowScore("q", "en", "es", 1, 1), RowScore("q", "es", "es", 0, 0)]
    assert matrix == ScoreMatrix.from_rows(rows)
    assert score_predictions(*predicted(), "squad").cells["en", "es"].f1 == pytest.approx(2 / 3)


def test_predictions_are_written_in_order(tmp_path: Path) -> None:
    corpus, predictions = predicted()
    predictions = [*predictions, *predictions[:1]]
    rows = score_rows(corpus, predictions, "mlqa")
    write_predictions(tmp_path / "new" / "predictions.jsonl", predictions, rows)
    text = (tmp_path / "new" / "predictions.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert text.endswith("}\n")
    assert [(line["question_language"], line["context_language"]) for line in lines] == [
        ("es", "en"),
        ("en", "es"),
        ("es", "es"),
        ("es", "en"),
    ]
    assert lines[0] == {
        "id": "q",
        "question_language": "es",
        "context_language": "en",
        "answers": [
            {"answer": "el puente", "start": 3, "end": 12, "score": 0.75},
            {"answer": "puente", "start": 6, "end": 12, "score": 0.333333},
        ],
        "no_answer": 0.125,
        "f1": 0.666667,
        "em": 0,
        "passage": hashlib.sha256(b"In el puente.").hexdigest()[:12],
    }
    assert lines[2]["answers"] == []


@pytest.mark.parametrize(("code", "plain"), [("zh-TW", "zh"), ("zh_Hans", "zh"), ("ZH", "zh"), ("de-AT", "de")])
def test_a_variant_of_a_language_is_judged_like_it(code: str, plain: str) -> None:
    for text in ("橋是紅色的", "die Brücke, der Stein"):
        for rules in ("mlqa", "language_aware"):
            assert normalised_tokens(text, code, rules) == normalised_tokens(text, plain, rules)
    assert rules_for("table", ["en", code]) == "mlqa"
    assert rules_for("table", ["en", "zhx"]) == "squad"
