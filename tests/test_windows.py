"""Windows put together from texts tokenised once are those of tokenising the pair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from polyspan.corpus import Answer, Pair, ParallelCorpus, Passage, Seed, load_corpus
from polyspan.encoding import EncodingError, build_batch, make_windows, token_batches, tokenise_corpus
from tiny_encoders import modern_bert
from tiny_models import TEXTS, tiny_bert, tiny_unigram


@pytest.fixture(scope="module", params=[tiny_bert, tiny_unigram, modern_bert], ids=["wordpiece", "unigram", "bytes"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    build: Callable[[Path], Path] = request.param
    return AutoTokenizer.from_pretrained(build(tmp_path_factory.mktemp("model")))


def one_pair(question: str, context: str, answer: str | None = None) -> tuple[ParallelCorpus, Pair]:
    answers = (Answer(answer, context.index(answer)),) if answer else ()
    seed = Seed("q", {"en": question}, {"de": "p"}, {"de": answers})
    return ParallelCorpus("made", {"q": seed}, {"p": Passage("p", "de", "", context)}), Pair("q", "en", "de")


def assert_same_as_pair(
    tokenizer: PreTrainedTokenizerBase, question: str, context: str, max_length: int, overlap: int
) -> None:
    corpus, pair = one_pair(question, context)
    windows = make_windows(tokenise_corpus(corpus, [pair], tokenizer), [pair], max_length, overlap)
    # A long question leaves little room, and then windows share half of it at most.
    room = max_length - windows.tokenised.template.specials - len(windows.question(pair))
    expected = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=max_length,
        stride=min(overlap, room // 2),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    assert len(windows) == len(expected["input_ids"])
    for index in range(len(windows)):
        batch = build_batch(windows, [index], multiple=1)
        assert batch.inputs["input_ids"][0].tolist() == expected["input_ids"][index]
        owners = expected.sequence_ids(index)
        assert batch.context_mask[0].tolist() == [owner == 1 for owner in owners]
        if "token_type_ids" in batch.inputs:
            assert batch.inputs["token_type_ids"][0].tolist() == expected["token_type_ids"][index]
        offsets = [o for o, owner in zip(expected["offset_mapping"][index], owners, strict=True) if owner == 1]
        own = windows.passage(pair).offsets[windows.begin[index] : windows.end[index]]
        assert [tuple(o) for o in own.tolist()] == offsets


@pytest.mark.parametrize("context", TEXTS)
@pytest.mark.parametrize("max_length", [40, 64, 384])
def test_windows_equal_tokenising_the_pair(tokenizer: PreTrainedTokenizerBase, context: str, max_length: int) -> None:
    assert_same_as_pair(tokenizer, "Who paid?", context * 4, max_length, overlap=8)


@settings(max_examples=60, deadline=None)
@given(
    question=st.text(alphabet="abcén ?ก笑ا\u0301", min_size=1, max_size=8).filter(lambda t: t.strip()),
    context=st.text(alphabet=st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=80),
    repeat=st.integers(1, 4),
)
def test_windows_equal_tokenising_any_pair(
    tokenizer: PreTrainedTokenizerBase, question: str, context: str, repeat: int
) -> None:
    if tokenizer(context, add_special_tokens=False)["input_ids"]:
        assert_same_as_pair(tokenizer, question, context * repeat, max_length=48, overlap=6)


def test_labels_cover_the_answer_or_are_the_first_token(tokenizer: PreTrainedTokenizerBase) -> None:
    context = " ".join(TEXTS[:3])
    corpus, pair = one_pair("Wer?", context, "17 Gulden")
    tokenised = tokenise_corpus(corpus, [pair], tokenizer)
    windows = make_windows(tokenised, [pair], 48, 12)
    assert len(windows) > 2
    held = 0
    for index in range(len(windows)):
        start, end = int(windows.gold_start[index]), int(windows.gold_end[index])
        if start == 0:
            assert end == 0
            continue
        held += 1
        first = windows.begin[index] + start - windows.context_position(pair)
        last = windows.begin[index] + end - windows.context_position(pair)
        offsets = windows.passage(pair).offsets
        assert context[offsets[first, 0] : offsets[last, 1]].strip() == "17 Gulden"
    assert held >= 1
    assert windows.lost == {}


def test_an_answer_in_no_window_is_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    corpus, pair = one_pair("Who?", TEXTS[0], TEXTS[0][4:70])
    windows = make_windows(tokenise_corpus(corpus, [pair], tokenizer), [pair], 16, 2)
    assert windows.lost == {"de": 1}


def test_a_question_too_long_is_cut_and_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    corpus, pair = one_pair(TEXTS[0] * 3, TEXTS[1])
    windows = make_windows(tokenise_corpus(corpus, [pair], tokenizer), [pair], 40, 4)
    assert windows.cut_questions == {"en": 1}
    assert [windows.is_cut(pair) for pair in windows.pairs] == [True]
    assert max(windows.lengths()) <= 40
    with pytest.raises(EncodingError, match="no room"):
        make_windows(tokenise_corpus(corpus, [pair], tokenizer), [pair], 4, 1)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(5, 384), min_size=1, max_size=300),
    budget=st.integers(400, 4096),
    seed=st.none() | st.integers(0, 99),
)
def test_every_window_is_in_one_batch_within_the_budget(lengths: list[int], budget: int, seed: int | None) -> None:
    batches = token_batches(lengths, budget, seed)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[at] for at in batch) <= budget for batch in batches)


def test_padding_is_masked(tokenizer: PreTrainedTokenizerBase) -> None:
    pairs = [one_pair("Who?", text)[1] for text in TEXTS[:1]]
    corpus, _ = one_pair("Who?", TEXTS[0])
    windows = make_windows(tokenise_corpus(corpus, pairs, tokenizer), pairs)
    narrow, wide = build_batch(windows, [0], multiple=1), build_batch(windows, [0], multiple=64)
    length = narrow.inputs["input_ids"].shape[1]
    assert wide.inputs["attention_mask"][0, length:].sum() == 0
    assert not wide.context_mask[0, length:].any()
    assert torch.equal(wide.inputs["input_ids"][:, :length], narrow.inputs["input_ids"])


def test_real_xquad_pairs(data_dir: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    corpus = load_corpus(data_dir / "xquad", languages=["en", "ar", "th", "hi", "zh"])
    for pair in corpus.pairs()[:4000:97]:
        assert_same_as_pair(tokenizer, corpus.question(pair), corpus.context(pair), 384, 128)
