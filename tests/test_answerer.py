"""Answers in any script are exact substrings; lists keep their order; options do what they say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from polyspan.answering import Answerer, Answers, AskedError, Reading
from polyspan.answering.calibration import Calibration, CalibrationError, PairTemperature, Threshold
from polyspan.answering.words import Words
from polyspan.encoding.predict import inference_precision
from polyspan.models import ModelError
from polyspan.models.load import load_tokenizer
from tiny_models import TEXTS, tiny_bert, tiny_unigram

SCRIPTS = {
    "arabic": "\u0621-\u064a\u064b-\u0652\u0660-\u0669،؟",
    "hebrew": "\u05d0-\u05ea\u05b0-\u05bc",
    "hindi": "\u0904-\u0939\u093e-\u094d\u0966-\u096f।",
    "thai": "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59",
    "chinese": "\u4e00-\u4fff。，「」",
    "combining": "a-e\u0300-\u036f\u0323",
    "emoji": "😀-🙏👩👨👧🏽🏿❤",
    "invisible": "\u200b-\u200f\u202a-\u202e\u2060\ufeff\u00ad\ufe0f",
    "wide": "ﬀ-ﬆ㎏-㏟½\U0001d400-\U0001d433",
    "latin": "A-Za-z0-9.,!? \u00a0\u3000\n\t",
}


def _characters(ranges: str) -> list[str]:
    found, at = [], 0
    while at < len(ranges):
        if at + 2 < len(ranges) and ranges[at + 1] == "-":
            found += [chr(code) for code in range(ord(ranges[at]), ord(ranges[at + 2]) + 1)]
            at += 3
        else:
            found.append(ranges[at])
            at += 1
    return found


CHARACTERS = {name: _characters(ranges) for name, ranges in SCRIPTS.items()}
texts = st.lists(
    st.one_of(*(st.text(st.sampled_from(characters), min_size=1, max_size=12) for characters in CHARACTERS.values())),
    min_size=1,
    max_size=12,
).map(" ".join)


@pytest.fixture(scope="module", params=[tiny_bert, tiny_unigram], ids=["wordpiece", "unigram"])
def answerer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return decided(request.param(tmp_path_factory.mktemp("model") / "tiny"))


def decided(folder: Path) -> Answerer:
    """A random head hardly prefers anything; make it decided."""
    made = Answerer(str(folder))
    with torch.no_grad():
        made.loaded.model.qa_outputs.weight.mul_(100)  # type: ignore[union-attr, operator]
    return made


def check(found: Answers, context: str) -> None:
    assert len({(span.start, span.end) for span in found.spans}) == len(found.spans)
    for span in found.spans:
        assert 0 <= span.start < span.end <= len(context)
        assert context[span.start : span.end] == span.text
        assert span.text == span.text.strip()
        assert 0 <= span.score <= 1
    assert [s.score for s in found.spans] == sorted((s.score for s in found.spans), reverse=True)
    assert 0 <= found.no_answer <= 1
    assert sum(span.score for span in found.spans) + found.no_answer <= 1 + 1e-6


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=texts, context=texts, top_k=st.integers(1, 5), window=st.sampled_from([16, 48, 384]))
@example(question="?", context="x", top_k=3, window=16)
@example(question="؟", context="\u064b", top_k=3, window=16)
@example(question="q", context="e\u0301\u0301\u0301", top_k=3, window=16)
@example(question="q", context="\u200b\u200d\ufeff", top_k=3, window=16)
@example(question="q", context="👩\u200d👩\u200d👧\u200d👦🏽", top_k=3, window=16)
@example(question="long " * 90, context="शब्द " * 90, top_k=2, window=16)
def test_every_answer_is_an_exact_substring(
    answerer: Answerer, question: str, context: str, top_k: int, window: int
) -> None:
    if not question.strip() or not context.strip():
        with pytest.raises(AskedError, match="is empty"):
            answerer.answer(question, context)
        return
    found = answerer.answer(question, context, top_k, max_seq_len=window, doc_stride=4)
    check(found, context)
    assert len(found.spans) <= top_k
    aligned = answerer(question=question, context=context, top_k=top_k, max_seq_len=window, doc_stride=4)
    for item in aligned if isinstance(aligned, list) else [aligned]:
        assert context[item["start"] : item["end"]] == item["answer"]


@pytest.mark.parametrize("character", ["x", "é", "ب", "א", "क", "ก", "中", "😀", "½", "\u0301", "\u200b", "\ufeff"])
def test_a_context_of_one_character(answerer: Answerer, character: str) -> None:
    found = answerer.answer("?", character, top_k=5)
    check(found, character)
    assert [span.text for span in found.spans] in ([], [character])


@pytest.mark.parametrize("name", ["mixed", "chinese"])
def test_a_context_of_a_million_bytes(tmp_path: Path, name: str) -> None:
    answerer = decided(tiny_unigram(tmp_path / "tiny"))
    piece = " ".join(TEXTS) if name == "mixed" else TEXTS[5].replace(" ", "")
    context = piece * (1_000_000 // len(piece.encode()) + 1)
    assert len(context.encode()) >= 1_000_000
    # Long steps keep it quick: every window is read all the same.
    found = answerer.answer("Who paid for the stones?", context, top_k=3, max_seq_len=512, doc_stride=0)
    check(found, context)
    assert len(found.spans) == 3
    question = "Who paid for the stones?"
    assert answerer.windows(question, context, Reading(max_seq_len=512, doc_stride=0)) > 500


def test_lists_go_together_in_order(answerer: Answerer) -> None:
    questions = ["Who paid?", "When was it opened?", "第几年？"]
    one_by_one = [answerer.answer(question, TEXTS[0]) for question in questions]
    same_words(answerer.answer(questions, TEXTS[0]), one_by_one)
    same_words(answerer.answer("Who?", TEXTS[:3]), [answerer.answer("Who?", text) for text in TEXTS[:3]])
    together = answerer.answer(questions, TEXTS[3:6])
    same_words(together, [answerer.answer(q, t) for q, t in zip(questions, TEXTS[3:6], strict=True)])
    assert answerer.answer([], []) == []
    with pytest.raises(AskedError, match="3 questions and 2 contexts"):
        answerer.answer(questions, TEXTS[:2])


def same_words(found: list[Answers], wanted: list[Answers]) -> None:
    assert [a.spans[0].text for a in found] == [a.spans[0].text for a in wanted]
    assert [a.no_answer for a in found] == pytest.approx([a.no_answer for a in wanted], rel=0.05, abs=1e-4)


def test_the_first_answers_do_not_depend_on_how_many(answerer: Answerer) -> None:
    few, many = (answerer.answer("Who paid?", " ".join(TEXTS), top_k=top_k).spans for top_k in (2, 12))
    assert many[:2] == few
    assert len(many) == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_k": 0}, "top_k must be 1 or more"),
        ({"top_k": "2"}, "top_k must be 1 or more, not '2'"),
        ({"precision": "0.8"}, "precision must be between"),
        ({"max_answer_len": 0}, "max_answer_len"),
        ({"doc_stride": 400}, "doc_stride"),
        ({"max_seq_len": 2}, "max_seq_len"),
        ({"precision": 1.5}, "precision must be between"),
        ({"precision": 0.9}, "not calibrated"),
        ({"languages": "de"}, "languages are a pair"),
        ({"languages": ("de", None)}, "languages are a pair"),
    ],
)
def test_options_that_make_no_sense(answerer: Answerer, options: dict[str, Any], said: str) -> None:
    with pytest.raises(AskedError, match=said):
        answerer.answer("Who?", "Anna.", **options)


def test_texts_that_cannot_be_asked(answerer: Answerer) -> None:
    with pytest.raises(AskedError, match="half of a surrogate pair at character 1"):
        answerer.answer("Who?", "a\ud800")
    for asked in ((None, "x"), ("Who?", 5)):
        with pytest.raises(AskedError, match="must be texts or lists of texts"):
            answerer.answer(*asked)  # type: ignore[call-overload]
    with pytest.raises(AskedError, match="question is not a text but int"):
        answerer.answer_many([(3, "x")])  # type: ignore[list-item]


def test_a_model_without_a_head_is_not_asked(tmp_path: Path) -> None:
    """Its answers would be drawn at random."""
    folder = tiny_bert(tmp_path / "tiny")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "qa_outputs" not in name}, folder / "model.safetensors"
    )
    with pytest.raises(ModelError, match="tiny: has no question-answering head"):
        Answerer(folder)


def test_a_folder_can_be_a_path(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "tiny")
    assert Answerer(folder).name == str(folder)


@pytest.mark.parametrize("tiny", [tiny_bert, tiny_unigram])
def test_words_are_those_of_the_tokenisers_own_look_up(tmp_path: Path, tiny: Any) -> None:
    tokenizer = load_tokenizer("tiny", str(tiny(tmp_path / "tiny")))
    for text in [*TEXTS, "ﬁ ﷺ e\u0301 ½", "  ", ""]:
        words = Words.of(tokenizer, [text])[text]
        encoding = tokenizer(text, add_special_tokens=False).encodings[0]
        for start in range(len(text)):
            for end in range(start + 1, min(start + 12, len(text)) + 1):
                first, last = encoding.char_to_word(start), encoding.char_to_word(end - 1)
                left = start if first is None else min(start, encoding.word_to_chars(first)[0])
                right = end if last is None else max(end, encoding.word_to_chars(last)[1])
                kept = text[left:right]
                left += len(kept) - len(kept.lstrip())
                assert words.around(start, end) == (min(left, right), left + len(kept.strip()))


def test_a_question_that_is_not_read_to_its_end_says_so(answerer: Answerer) -> None:
    long, short = answerer.answer(["Who? " * 400, "Who?"], TEXTS[0])
    assert (long.question_cut, short.question_cut) == (True, False)
    assert long.to_dict()["question_cut"]
    assert "question_cut" not in short.to_dict()


def calibration(**changes: Any) -> Calibration:
    values: dict[str, Any] = {
        "model": "tiny",
        "data": "made",
        "rows": 100,
        "no_answer_share": 0.5,
        "temperature": 3.0,
        "null_slope": 0.5,
        "null_bias": -1.0,
        "pairs": (PairTemperature(question_language="de", context_language="zh", temperature=9.0, rows=50),),
        "thresholds": (Threshold(precision=0.8, score=0.3, coverage=0.5),),
    }
    return Calibration(**{**values, **changes})


def test_calibration_scales_scores_and_keeps_the_order(answerer: Answerer, tmp_path: Path) -> None:
    """Against the formula in plain Python, on one window."""
    from polyspan.models.load import save_model

    question, context = "Who paid?", TEXTS[0]
    save_model(answerer.loaded.model, answerer.loaded.tokenizer, tmp_path / "m")
    calibration().save(tmp_path / "m")
    fitted = Answerer(str(tmp_path / "m"))
    assert fitted.calibration == calibration()
    raw = answerer.answer(question, context, top_k=6)
    encoded = answerer.loaded.tokenizer(question, context, return_tensors="pt")
    with torch.no_grad(), inference_precision(answerer.loaded.model):
        out = answerer.loaded.model(
            **{name: encoded[name] for name in answerer.loaded.tokenizer.model_input_names if name in encoded}
        )
    inside = [at for at, owner in enumerate(encoded.sequence_ids(0)) if owner == 1]
    starts, ends = out.start_logits[0].tolist(), out.end_logits[0].tolist()
    for languages, temperature in ((None, 3.0), (("de", "zh"), 9.0), (["de", "zh"], 9.0), (("zh", "de"), 3.0)):
        (scaled,) = fitted.answer_many([(question, context)], Reading(top_k=6), languages=[languages])  # type: ignore[list-item]
        assert [(s.start, s.end) for s in scaled.spans] == [(s.start, s.end) for s in raw.spans]
        assert scaled.languages == (languages and tuple(languages))
        total = sum(math.exp(starts[i] / temperature) for i in inside) * sum(
            math.exp(ends[i] / temperature) for i in inside
        )
        odds = 0.5 * ((starts[0] + ends[0]) / temperature - math.log(total)) - 1.0
        no_answer = 1 / (1 + math.exp(-odds))
        best = max(starts[i] + ends[j] for i in inside for j in inside if i <= j < i + 30 and context[i:].strip() != "")
        assert scaled.no_answer == pytest.approx(no_answer, rel=0.05)
        assert scaled.spans[0].score == pytest.approx(math.exp(best / temperature) / total * (1 - no_answer), rel=0.1)


def test_a_precision_withholds_unsure_answers(answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = answerer.answer("Who paid?", TEXTS[:4])
    middle = sorted(found.spans[0].score for found in plain)[2]
    fitted = calibration(
        temperature=1.0,
        null_slope=1.0,
        null_bias=0.0,
        thresholds=(Threshold(precision=0.8, score=middle, coverage=0.5),),
    )
    monkeypatch.setattr(answerer, "calibration", fitted)
    kept = answerer.answer("Who paid?", TEXTS[:4], precision=0.75)
    assert [bool(found.spans) for found in kept] == [found.spans[0].score >= middle for found in plain]
    assert sum(bool(found.spans) for found in kept) == 2
    with pytest.raises(CalibrationError, match=r"precision of 0\.9; the highest it reaches is 0\.8"):
        answerer.answer("Who paid?", TEXTS[0], precision=0.9)


def test_calibrations_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "tiny")
    (folder / "calibration.json").write_text('{"temperature": -1}', encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"calibration\.json: .*polyspan calibrate"):
        Answerer(str(folder))


def test_languages_are_guessed_if_asked(answerer: Answerer) -> None:
    pytest.importorskip("py3langid")
    question = "Wer hat für die Steine bezahlt, und wann wurde die Brücke eröffnet?"
    found = answerer.answer(question, TEXTS[5], guess_languages=True)
    assert found.languages == ("de", "zh")
    assert found.to_dict()["question_language"] == "de"
    assert found.to_dict()["context_language"] == "zh"
    assert answerer.answer(question, "17 1902 — 23", guess_languages=True).languages == ("de", "und")
    assert "question_language" not in answerer.answer(question, TEXTS[5]).to_dict()


def test_a_smaller_window_needs_no_other_stride(answerer: Answerer) -> None:
    context = "The bridge was opened by Anna Keller. " * 30
    assert answerer.answer("Who?", context, max_seq_len=128)
    assert answerer.windows("Who?", context, Reading(max_seq_len=64)) > 3
    with pytest.raises(AskedError, match=r"doc_stride \(64\) must be smaller than max_seq_len \(64\)"):
        answerer.answer("Who?", context, max_seq_len=64, doc_stride=64)


@pytest.mark.parametrize("nothing", ["\u200b", "\ufeff", "\x00\x01", "\u200f\u200e"])
def test_nothing_visible_is_no_answer(answerer: Answerer, nothing: str) -> None:
    assert answerer.answer("Who?", nothing, top_k=5).spans == []
    found = answerer.answer("Who?", f"{nothing}Anna{nothing}", top_k=5).spans
    assert all(span.text.strip(nothing) == span.text for span in found)
