"""Decoding: against a plain search over every span, and exact substrings in any script."""

from __future__ import annotations

import math
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from polyspan.corpus import Answer, Pair, ParallelCorpus, Passage, Seed
from polyspan.encoding import make_windows, tokenise_corpus
from polyspan.encoding.predict import predict
from polyspan.encoding.spans import Candidates, best_token_spans, rank_spans, window_candidates
from polyspan.encoding.tokens import TokenisedText
from polyspan.models import load_model
from tiny_models import TEXTS, tiny_bert, tiny_unigram

TRICKY = [
    "  The river — 120 km 😀👩‍👩‍👧 long — is called e\u0301clair.  ",
    "يبلغ طول النّهرِ ١٢٠ كيلومترًا، واسمُه «النّور».",
    "แม่น้ำสายนี้ยาว ๑๒๐ กิโลเมตรและไหลผ่านเมืองเก่า",
    "यह नदी १२० किलोमीटर लंबी है और पुराने शहर से होकर बहती है।",
    "这条河长120公里，流经旧城。\u3000它叫“光”。",
    "a\u200bb\u00a0c\ufeffd \U0001d518\U0001d52b\U0001d526 ﬁn ㎞ ½",
]


@pytest.fixture(scope="module", params=[tiny_bert, tiny_unigram], ids=["wordpiece", "unigram"])
def reader(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    loaded = load_model(str(request.param(tmp_path_factory.mktemp("model") / "tiny")))
    with torch.no_grad():  # a random head hardly prefers anything; make it decided
        loaded.model.qa_outputs.weight.mul_(100)  # type: ignore[union-attr, operator]
    return loaded.model, loaded.tokenizer


def one(question: str, context: str) -> tuple[ParallelCorpus, Pair]:
    seed = Seed("q", {"en": question}, {"de": "p"}, {"de": (Answer("x", 0),)})
    return ParallelCorpus("made", {"q": seed}, {"p": Passage("p", "de", "", context)}), Pair("q", "en", "de")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 24).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(-9, 9, width=32), min_size=n, max_size=n),
            st.lists(st.floats(-9, 9, width=32), min_size=n, max_size=n),
            st.lists(st.booleans(), min_size=n, max_size=n),
        )
    ),
    st.integers(1, 8),
    st.integers(1, 6),
)
def test_best_spans_are_those_of_a_plain_search(
    logits: tuple[list[float], list[float], list[bool]], width: int, top_k: int
) -> None:
    starts, ends, mask = logits
    n = len(starts)
    every = sorted(
        (starts[i] + ends[j] for i in range(n) for j in range(i, min(n, i + width)) if mask[i] and mask[j]),
        reverse=True,
    )[:top_k]
    values, begins, finishes = best_token_spans(
        torch.tensor([starts]), torch.tensor([ends]), torch.tensor([mask]), top_k, width
    )
    found = [
        (v, i, j) for v, i, j in zip(*(t[0].tolist() for t in (values, begins, finishes)), strict=True) if v > -5000
    ]
    assert [v for v, _, _ in found] == pytest.approx(every, abs=1e-4)
    for value, i, j in found:
        assert mask[i]
        assert mask[j]
        assert 0 <= j - i < width
        assert value == pytest.approx(starts[i] + ends[j], abs=1e-4)


@pytest.mark.parametrize("context", [*TEXTS, *TRICKY])
def test_answers_are_exact_substrings(reader: tuple[PreTrainedModel, PreTrainedTokenizerBase], context: str) -> None:
    corpus, pair = one("Who paid for the stones?", context)
    (prediction,) = predict(*reader, corpus, [pair], top_k=8)
    assert prediction.spans
    assert len({(s.start, s.end) for s in prediction.spans}) == len(prediction.spans)
    for span in prediction.spans:
        assert context[span.start : span.end] == span.text
        assert span.text == span.text.strip() != ""
    scores = [span.score for span in prediction.spans]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) + prediction.no_answer <= 1 + 1e-6


@pytest.mark.parametrize("composed", ["Ein café in Zürich.", "Quán ở Việt Nam", "한국 사람들"])
def test_answers_keep_the_last_marks_of_decomposed_text(
    reader: tuple[PreTrainedModel, PreTrainedTokenizerBase], composed: str
) -> None:
    """A tokeniser that composes text (NFKC) gives a letter's marks, and a syllable's last jamo, to no token."""
    context = unicodedata.normalize("NFD", composed)
    corpus, pair = one("Where?", context)
    (prediction,) = predict(*reader, corpus, [pair], top_k=50)
    assert prediction.spans
    for span in prediction.spans:
        assert unicodedata.normalize("NFC", span.text) in composed
        assert context[span.start : span.end] == span.text


@pytest.mark.parametrize(
    ("context", "token", "answer"),
    [
        ("न एंजियोस्पर्मों की", (3, 7), "एंजियो"),  # the token begins with the mark of its first letter
        ("دفعت آنّا كيلر", (5, 7), "آنّ"),  # the next token begins with the mark of this one's last letter
        ("\u0301 mark", (0, 6), "\u0301 mark"),  # on nothing
        ("a \u0301b", (2, 4), "\u0301b"),  # on a space
        ("von 👩🏽\u200d💻 und", (4, 5), "👩🏽\u200d💻"),  # a picture of several
        ("von 👨\u200d👩\u200d👧 und", (8, 9), "👨\u200d👩\u200d👧"),
        ("👩👧 da", (1, 2), "👧"),  # two pictures
        ("क्\u200dष", (0, 2), "क्"),  # a joiner between letters is no picture's
        ("في \u200fأحمد\u200f عام", (3, 9), "أحمد"),  # what tells the direction is not part of the answer
    ],
)
def test_answers_hold_whole_characters(context: str, token: tuple[int, int], answer: str) -> None:
    first, last = token
    offsets = np.array([(first, last)], dtype=np.int32)
    candidates = Candidates(spans=[(0, 0, 1.0)], start_total=1.0, end_total=1.0, null=-9.0)
    (span,), _ = rank_spans(TokenisedText(ids=np.array([7]), offsets=offsets), context, [(0, candidates)], top_k=1)
    assert span.text == answer == context[span.start : span.end]


def test_predictions_are_those_of_one_window_at_a_time(
    reader: tuple[PreTrainedModel, PreTrainedTokenizerBase],
) -> None:
    """Windows, batches and padding change nothing: the best span of a plain loop over the windows."""
    model, tokenizer = reader
    context = " ".join(TEXTS * 3)
    corpus, pair = one("Who paid for the stones?", context)
    (prediction,) = predict(model, tokenizer, corpus, [pair], max_length=64, overlap=16, max_answer_tokens=5)
    windows = make_windows(tokenise_corpus(corpus, [pair], tokenizer), [pair], 64, 16)
    assert len(windows) > 3
    encoded = tokenizer(
        "Who paid for the stones?",
        context,
        truncation="only_second",
        max_length=64,
        stride=16,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    best, text = -math.inf, ""
    for at in range(len(encoded["input_ids"])):
        names = [name for name in tokenizer.model_input_names if name in encoded]
        with torch.no_grad():
            out = model(**{name: torch.tensor([encoded[name][at]]) for name in names})
        owners, offsets = encoded.sequence_ids(at), encoded["offset_mapping"][at]
        for i, owner in enumerate(owners):
            for j in range(i, min(len(owners), i + 5)):
                if owner != 1 or owners[j] != 1:
                    continue
                value = float(out.start_logits[0, i] + out.end_logits[0, j])
                begin, end = offsets[i][0], offsets[j][1]
                while unicodedata.category(context[begin]) in {"Mn", "Mc"}:  # its letter is of the token before
                    begin -= 1
                while end < len(context) and unicodedata.category(context[end]) in {"Mn", "Mc"}:
                    end += 1
                piece = context[begin:end].strip()
                if value > best + 1e-4 and piece:
                    best, text = value, piece
    assert prediction.spans[0].text == text


def test_batch_size_does_not_matter(reader: tuple[PreTrainedModel, PreTrainedTokenizerBase]) -> None:
    seeds = {
        f"q{n}": Seed(f"q{n}", {"en": f"When was it opened {'?' * n}"}, {"de": f"p{n}"}, {"de": ()}) for n in range(9)
    }
    passages = {f"p{n}": Passage(f"p{n}", "de", "", text) for n, text in enumerate(TEXTS)}
    corpus = ParallelCorpus("made", seeds, passages)
    pairs = [Pair(name, "en", "de") for name in seeds]
    small, large = (predict(*reader, corpus, pairs, batch_tokens=size) for size in (1, 10_000))
    for one_by_one, together in zip(small, large, strict=True):
        assert [s.text for s in one_by_one.spans] == [s.text for s in together.spans]
        assert one_by_one.spans[0].score == pytest.approx(together.spans[0].score, rel=1e-3)


def test_a_context_without_tokens_has_no_answer(
    reader: tuple[PreTrainedModel, PreTrainedTokenizerBase], tmp_path: Path
) -> None:
    corpus, pair = one("Who?", "\u200b \n")
    (prediction,) = predict(*reader, corpus, [pair], top_k=3)
    assert prediction.spans == []
    assert prediction.no_answer > 0.9


@pytest.mark.parametrize("top", [30.0, 3000.0])
def test_scores_of_a_sure_model_are_no_more_than_one(top: float) -> None:
    """Single precision has some 7 digits: sums of large logits would come out above the sum of all."""
    generator = torch.Generator().manual_seed(1)
    text = TokenisedText(np.arange(40), np.array([[2 * i, 2 * i + 1] for i in range(40)]))
    context = "x " * 40
    for _ in range(200):
        start, end = (torch.randn(1, 42, generator=generator) * top for _ in range(2))
        mask = torch.zeros(1, 42, dtype=torch.bool)
        mask[:, 1:41] = True
        parts = [(0, window_candidates(start, end, mask, [1], top_k=5)[0])]
        spans, no_answer = rank_spans(text, context, parts, 5)
        assert all(0 <= span.score <= 1 for span in spans)
        assert sum(span.score for span in spans) + no_answer <= 1 + 1e-12


ALONE = """
import os, time
import torch
from polyspan.encoding.spans import window_candidates

def others():
    tasks = set(os.listdir("/proc/self/task")) - {str(os.getpid())}
    return sum(int(open(f"/proc/self/task/{task}/schedstat").read().split()[0]) for task in tasks) / 1e6

torch.set_num_threads(2)
torch.randn(900, 900) @ torch.randn(900, 900)  # starts the other thread
logits, mask = torch.randn(1, 256), torch.ones(1, 256, dtype=torch.bool)
window_candidates(logits, logits, mask, [0], 20)
time.sleep(0.1)
before = others()
for _ in range(20):
    window_candidates(logits, logits, mask, [0], 20)
    time.sleep(0.02)
print((others() - before) / 20)
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux tells how long each thread ran")
def test_one_window_is_decoded_by_one_thread() -> None:
    """PyTorch's other threads wait actively for a while: of two cores they would take one from ONNX or OpenVINO."""
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 0.5  # milliseconds; it was 7
