"""The call of transformers 4's question-answering pipeline, which transformers 5 no longer has.

``answerer(question=..., context=...)`` takes the arguments of
``transformers.pipeline("question-answering")(...)`` and returns dictionaries with ``score``, ``start``,
``end`` and ``answer``, with that pipeline's defaults: answers of at most 15 tokens, stretched to whole
words, candidates with the same text joined and their scores added.

It differs in two ways. Scores take the chance of "no answer" into account and, where the model is
calibrated, how sure it may be. White space at the edges of an answer is cut off. Like that pipeline, and
unlike `Answerer.answer`, it takes candidates from each window of a long context by its own probabilities,
so that the scores of words that stand in several windows can add up to more than 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import GeneratorType
from typing import Any

from polyspan.answering.answerer import Answerer, Answers, Reading, pair_up, whole_number
from polyspan.answering.asked import Asked, AskedError
from polyspan.answering.words import Words

Result = dict[str, Any] | list[dict[str, Any]]

MAX_ANSWER_LEN = 15


def call_as_pipeline(
    answerer: Answerer,
    *args: Any,
    top_k: int | None = None,
    topk: int | None = None,
    doc_stride: int | None = None,
    max_answer_len: int | None = None,
    max_seq_len: int | None = None,
    max_question_len: int | None = None,
    handle_impossible_answer: bool = False,
    align_to_words: bool | None = True,
    padding: object = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    **inputs: Any,
) -> Result | list[Result] | Iterator[Result]:
    """Answer as transformers 4 did.

    Args:
        answerer: who answers.
        args: a question and a context; or one example, several, a list or a generator of them: a
            mapping with ``question`` and ``context``, texts or lists of texts, or an object with
            ``question_text`` and ``context_text`` such as ``SquadExample``; or a ``Dataset`` of
            examples.
        inputs: ``question`` and ``context``, strings or lists; or examples as ``data`` or ``X``.
        top_k: how many answers (``topk`` is its old name); 1 by default.
        doc_stride: tokens that consecutive windows share; 128, or half a window if that is less.
        max_answer_len: longest answer in tokens; 15 by default.
        max_seq_len: tokens of a window; 384, or what the model can read.
        handle_impossible_answer: let "no answer", an empty string at 0, compete with the others.
        align_to_words: stretch answers to whole words. Better left out for languages written
            without spaces, where a word can be a clause.
        batch_size: how many examples of a generator are taken and answered together; 1 by default.
        max_question_len, padding, num_workers: taken and not needed.

    Returns:
        A dictionary for one example and ``top_k=1``, a list of dictionaries for more answers, a list
        with one of these for every example, or an iterator when a generator or a ``Dataset`` was given. As in
        transformers 4, a list of one example gives that example's result alone. A context without a word that
        could be read gives "no answer", an empty string at 0.

    Raises:
        AskedError: arguments that cannot be understood, or an empty text.
    """
    window = min(whole_number("max_seq_len", max_seq_len or 384, 8), answerer.longest_window)
    wanted = whole_number("top_k", _first(top_k, topk, 1), 1)
    together = whole_number("batch_size", batch_size or 1, 1)
    align_to_words = align_to_words is not False
    reading = Reading(
        # Of each window; candidates become fewer when they are stretched to the same words.
        top_k=wanted * 2 + 10 if align_to_words else wanted,
        max_answer_len=_first(max_answer_len, MAX_ANSWER_LEN),
        doc_stride=doc_stride,
        max_seq_len=window,
        windows_apart=True,
    )

    def answer(asked: list[Asked]) -> list[Result]:
        every = answerer.answer_many(asked, reading)
        words = (
            Words.of(answerer.loaded.tokenizer, (item.context for item in asked)) if align_to_words and asked else {}
        )
        results = []
        for (_, context), found in zip(asked, every, strict=True):
            # A dictionary was promised, also where nothing was found.
            impossible = handle_impossible_answer or (wanted == 1 and not found.spans)
            ranked = _join(found, context, words.get(context), impossible)[:wanted]
            results.append(ranked[0] if len(ranked) == 1 else ranked)
        return results

    examples = read_examples(args, inputs)
    if isinstance(examples, GeneratorType):
        return _stream(examples, answer, together)
    asked = [read_example(example) for example in examples]
    results = answer(asked)
    return results[0] if len(results) == 1 else results


def read_examples(args: tuple[Any, ...], inputs: Mapping[str, Any]) -> Iterable[Any]:
    """The examples among the arguments of a call, not yet looked into."""
    unknown = set(inputs) - {"question", "context", "data", "X"}
    if unknown:
        raise AskedError(f"unknown argument {min(unknown)!r}")
    if len(args) == 2 and all(isinstance(part, str) for part in args):
        return [Asked(*args)]
    if args:
        given = args[0] if len(args) == 1 else list(args)
    elif "X" in inputs or "data" in inputs:
        given = inputs.get("X", inputs.get("data"))
    elif "question" in inputs and "context" in inputs:
        return pair_up(inputs["question"], inputs["context"])
    else:
        raise AskedError("nothing is asked: give question= and context=")
    if isinstance(given, Mapping) and any(isinstance(given.get(key), list) for key in ("question", "context")):
        return pair_up(*(_part(given, key) for key in ("question", "context")))
    if isinstance(given, Mapping) or hasattr(given, "question_text"):
        return [given]
    if not isinstance(given, Iterable) and hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        return (given[at] for at in range(len(given)))  # a torch Dataset
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise AskedError("an example must be a mapping with 'question' and 'context', or a SquadExample")
    return given if isinstance(given, GeneratorType) else list(given)


def read_example(example: Any) -> Asked:
    """The question and the context of one example.

    Raises:
        AskedError: it has none.
    """
    if isinstance(example, Asked):
        return example
    if isinstance(example, Mapping):
        return Asked(_part(example, "question"), _part(example, "context"))
    if hasattr(example, "question_text") and hasattr(example, "context_text"):
        return Asked(example.question_text, example.context_text)
    raise AskedError("an example must be a mapping with 'question' and 'context', or a SquadExample")


def _part(example: Mapping[str, Any], key: str) -> Any:
    if key not in example:
        raise AskedError(f"an example has no {key!r}")
    return example[key]


def _join(found: Answers, context: str, words: Words | None, handle_impossible: bool) -> list[dict[str, Any]]:
    """Stretch to words, join equal texts at the place of the first, let "no answer" compete; best first."""
    joined: dict[str, dict[str, Any]] = {}
    for span in found.spans:
        start, end = words.around(span.start, span.end) if words is not None else (span.start, span.end)
        answer = context[start:end]
        known = joined.setdefault(answer.lower(), {"score": 0.0, "start": start, "end": end, "answer": answer})
        known["score"] += span.score
    ranked = list(joined.values())
    if handle_impossible:
        ranked.append({"score": found.no_answer, "start": 0, "end": 0, "answer": ""})
    return sorted(ranked, key=lambda item: -item["score"])


def _stream(
    examples: Iterator[Any], answer: Callable[[list[Asked]], list[Result]], batch_size: int
) -> Iterator[Result]:
    while batch := [read_example(example) for example in islice(examples, batch_size)]:
        yield from answer(batch)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
