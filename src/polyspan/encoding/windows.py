"""Pairs to token windows: which stretch of a context each window reads, and its labels."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyspan.corpus.model import Answer, Pair
from polyspan.corpus.pairs import PairTable
from polyspan.encoding.tokens import EncodingError, TokenisedCorpus, TokenisedText, distinct

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 384
OVERLAP = 128
CLS = 0


@dataclass(frozen=True)
class Windows:
    """Windows as indices; token lists are put together only when a batch is built.

    Attributes:
        tokenised: the texts.
        pairs: the pairs, in the order given.
        pair_index: (windows,), which pair a window belongs to.
        begin, end: (windows,), the stretch of context tokens it reads, end excluded.
        gold_start, gold_end: (windows,), label positions inside the window, both included; 0 (the
            first special token) where the window does not hold the answer.
        question_tokens: (pairs,), tokens of each pair's question, after the cut.
        question_limit: longest question in tokens; a longer one is cut.
        lost: by context language, pairs whose answer is in no window.
        cut_questions: by question language, pairs whose question was cut.
    """

    tokenised: TokenisedCorpus
    pairs: Sequence[Pair]
    pair_index: NDArray[np.int32]
    begin: NDArray[np.int32]
    end: NDArray[np.int32]
    gold_start: NDArray[np.int32]
    gold_end: NDArray[np.int32]
    question_tokens: NDArray[np.int32]
    question_limit: int
    lost: Mapping[str, int] = field(default_factory=dict)
    cut_questions: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pair_index)

    def question(self, pair: Pair) -> NDArray[np.int32]:
        """Token ids of the pair's question, cut to the limit."""
        return self.tokenised.questions[pair.id, pair.question_language].ids[: self.question_limit]

    def passage(self, pair: Pair) -> TokenisedText:
        """The pair's tokenised context."""
        return self.tokenised.passages[self.tokenised.corpus.passage(pair).id]

    def context_position(self, pair: Pair) -> int:
        """Position in a window of its first context token."""
        template = self.tokenised.template
        return len(template.before) + len(self.question(pair)) + len(template.between)

    def digest(self) -> str:
        """SHA-256 over all tokens and windows, in hexadecimal: equal for equal data."""
        total = hashlib.sha256()
        for texts in (self.tokenised.questions, self.tokenised.passages):
            for text in texts.values():
                total.update(text.ids.tobytes())
        for column in (self.pair_index, self.begin, self.end, self.gold_start, self.gold_end):
            total.update(column.tobytes())
        return total.hexdigest()

    def is_cut(self, pair: Pair) -> bool:
        """Whether the end of this pair's question stands in no window."""
        return len(self.tokenised.questions[pair.id, pair.question_language].ids) > self.question_limit

    def lengths(self) -> NDArray[np.int32]:
        """(windows,), tokens of each window, special tokens included."""
        context: NDArray[np.int32] = self.end - self.begin
        return context + self.question_tokens[self.pair_index] + np.int32(self.tokenised.template.specials)


def make_windows(
    tokenised: TokenisedCorpus,
    pairs: Sequence[Pair],
    max_length: int = MAX_LENGTH,
    overlap: int = OVERLAP,
    labelled: bool = True,
) -> Windows:
    """Lay windows over the context of every pair.

    Consecutive windows share ``overlap`` context tokens. The windows are, token for token, those
    of tokenising the pair with truncation of the context only and a stride of ``overlap``.

    Args:
        tokenised: must hold the texts of the pairs.
        pairs: examples; windows keep their order.
        max_length: tokens of a window, special tokens included.
        overlap: context tokens that consecutive windows share; less where the question leaves
            fewer than two such stretches of room.
        labelled: find the first gold answer's tokens; otherwise all labels are 0.

    Raises:
        EncodingError: ``max_length`` leaves no room for text.
    """
    specials = tokenised.template.specials
    question_limit = (max_length - specials) // 2
    if question_limit < 1:
        raise EncodingError(f"max_length {max_length} leaves no room for a question and a context")
    table = PairTable.of(pairs)
    texts = _Texts.of(tokenised, table, labelled)
    seeds, questions, contexts = (np.asarray(part) for part in (table.seeds, table.questions, table.contexts))
    question = np.minimum(texts.question_tokens[seeds, questions], question_limit)
    tokens = texts.context_tokens[seeds, contexts]
    room = max_length - specials - question
    step, count = _layout(tokens, room, overlap)
    owner = np.repeat(np.arange(len(table), dtype=np.int32), count)
    before = np.cumsum(count) - count
    begin = (np.arange(len(owner)) - before[owner]) * step[owner]
    end = np.minimum(begin + room[owner], tokens[owner])
    first, last = (part[seeds, contexts] for part in (texts.answer_first, texts.answer_last))
    held = (first[owner] >= begin) & (last[owner] < end) & (first[owner] >= 0)
    shift = len(tokenised.template.before) + len(tokenised.template.between) + question[owner] - begin
    unheld = texts.answered[seeds, contexts]
    unheld[owner[held]] = False
    return Windows(
        tokenised,
        pairs,
        pair_index=owner,
        begin=begin.astype(np.int32),
        end=end.astype(np.int32),
        gold_start=np.where(held, shift + first[owner], CLS).astype(np.int32),
        gold_end=np.where(held, shift + last[owner], CLS).astype(np.int32),
        question_tokens=question.astype(np.int32),
        question_limit=question_limit,
        lost=_by_language(table.languages, contexts[unheld]),
        cut_questions=_by_language(
            table.languages, questions[texts.question_tokens[seeds, questions] > question_limit]
        ),
    )


def count_windows(tokens: int, room: int, overlap: int) -> int:
    """How many windows of ``room`` context tokens, each sharing ``overlap`` with the next, cover ``tokens``."""
    return int(_layout(np.asarray(tokens), np.asarray(room), overlap)[1])


def _layout(
    tokens: NDArray[np.int32], room: NDArray[np.int32], overlap: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Tokens from a window's beginning to the next one's, and windows: the last is the first to reach the end."""
    step = room - np.minimum(overlap, room // 2)
    return step, 1 + -(-np.maximum(tokens - room, 0) // step)


@dataclass(frozen=True)
class _Texts:
    """What windows depend on of each text of a table, as arrays (ids, languages) of numbers of tokens."""

    question_tokens: NDArray[np.int32]
    context_tokens: NDArray[np.int32]
    answer_first: NDArray[np.int32]
    answer_last: NDArray[np.int32]
    answered: NDArray[np.bool_]

    @classmethod
    def of(cls, tokenised: TokenisedCorpus, table: PairTable, labelled: bool) -> _Texts:
        shape = (len(table.ids), len(table.languages))
        question, context = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        first, last = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
        answered = np.zeros(shape, np.bool_)
        for at in distinct(table.seeds, table.questions):
            question[at] = len(tokenised.questions[table.ids[at[0]], table.languages[at[1]]].ids)
        for at in distinct(table.seeds, table.contexts):
            pair = Pair(table.ids[at[0]], "", table.languages[at[1]])
            passage = tokenised.passages[tokenised.corpus.passage(pair).id]
            context[at] = len(passage.ids)
            answers = tokenised.corpus.answers(pair) if labelled else ()
            answered[at] = bool(answers)
            if answers and (span := token_span(passage, answers[0])):
                first[at], last[at] = span
        return cls(question, context, first, last, answered)


def _by_language(languages: Sequence[str], numbers: NDArray[np.int16]) -> dict[str, int]:
    return dict(Counter(languages[number] for number in numbers.tolist()))


def token_span(text: TokenisedText, answer: Answer) -> tuple[int, int] | None:
    """First and last token that touch the answer's characters; None where no token does."""
    starts, ends = text.offsets[:, 0], text.offsets[:, 1]
    touching = np.flatnonzero((ends > answer.start) & (starts < answer.end) & (ends > starts))
    return (int(touching[0]), int(touching[-1])) if len(touching) else None


@dataclass(frozen=True)
class Batch:
    """Padded windows, ready for an encoder.

    Attributes:
        inputs: ``input_ids`` and ``attention_mask`` (batch, tokens), and ``token_type_ids`` where
            the tokeniser uses them.
        context_mask: (batch, tokens), True on context tokens.
        gold: start and end positions, each (batch,).
        windows: (batch,), indices into the `Windows`.
    """

    inputs: dict[str, Tensor]
    context_mask: Tensor
    gold: tuple[Tensor, Tensor]
    windows: Tensor


def build_batch(windows: Windows, indices: Sequence[int], multiple: int = 8) -> Batch:
    """Put together the token lists of these windows.

    Args:
        windows: where they are.
        indices: which windows.
        multiple: the padded length is rounded up to a multiple of this.
    """
    tokenised = windows.tokenised
    template = tokenised.template
    parts = []
    for index in indices:
        pair = windows.pairs[windows.pair_index[index]]
        context = windows.passage(pair).ids[windows.begin[index] : windows.end[index]]
        parts.append((windows.question(pair), context))
    longest = max(len(question) + len(context) for question, context in parts) + template.specials
    longest += -longest % multiple
    shape = (len(parts), longest)
    input_ids = np.full(shape, tokenised.pad_id, np.int64)
    attention = np.zeros(shape, np.int64)
    types = np.zeros(shape, np.int64)
    context_mask = np.zeros(shape, np.bool_)
    for row, (question, context) in enumerate(parts):
        ids = np.concatenate([template.before, question, template.between, context, template.after])
        first = len(template.before) + len(question) + len(template.between)
        input_ids[row, : len(ids)] = ids
        attention[row, : len(ids)] = 1
        context_mask[row, first : first + len(context)] = True
        types[row, first : len(ids)] = template.context_type
        types[row, first - len(template.between) : first] = template.between_types
    inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention)}
    if tokenised.uses_token_types:
        inputs["token_type_ids"] = torch.from_numpy(types)
    chosen = np.asarray(indices)
    return Batch(
        inputs,
        torch.from_numpy(context_mask),
        (
            torch.from_numpy(windows.gold_start[chosen].astype(np.int64)),
            torch.from_numpy(windows.gold_end[chosen].astype(np.int64)),
        ),
        torch.from_numpy(chosen),
    )
