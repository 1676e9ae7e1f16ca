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
from polyspan.encoding.tokens import EncodingError, TokenisedCorpus, TokenisedText

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
        question_limit: longest question in tokens; a longer one is cut.
        lost: by context language, pairs whose answer is in no window.
        cut_questions: by question language, pairs whose question was cut.
    """

    tokenised: TokenisedCorpus
    pairs: Sequence[Pair]
    pair_index: NDArray[np.int32]
    begin: NDArray[np.int32]
    end: NDArray[np.int32]
    gold_start: NDArray[np.int16]
    gold_end: NDArray[np.int16]
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

    def lengths(self) -> NDArray[np.int32]:
        """(windows,), tokens of each window, special tokens included."""
        of_question = np.asarray([len(self.question(pair)) for pair in self.pairs], np.int32)
        context: NDArray[np.int32] = self.end - self.begin
        return context + of_question[self.pair_index] + np.int32(self.tokenised.template.specials)


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
    question_limit = (max_length - tokenised.template.specials) // 2
    if question_limit < 1:
        raise EncodingError(f"max_length {max_length} leaves no room for a question and a context")
    rows: list[tuple[int, int, int, int, int]] = []
    lost: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    spans: dict[tuple[str, str], tuple[int, int] | None] = {}
    for index, pair in enumerate(pairs):
        full = len(tokenised.questions[pair.id, pair.question_language].ids)
        question = min(full, question_limit)
        cut[pair.question_language] += full > question_limit
        passage = tokenised.passages[tokenised.corpus.passage(pair).id]
        room = max_length - tokenised.template.specials - question
        answers = tokenised.corpus.answers(pair) if labelled else ()
        key = (pair.id, pair.context_language)
        if key not in spans:
            spans[key] = token_span(passage, answers[0]) if answers else None
        span = spans[key]
        first = len(tokenised.template.before) + question + len(tokenised.template.between)
        held = False
        for begin, end in stretches(len(passage.ids), room, overlap):
            if span is not None and begin <= span[0] and span[1] < end:
                held = True
                rows.append((index, begin, end, first + span[0] - begin, first + span[1] - begin))
            else:
                rows.append((index, begin, end, CLS, CLS))
        lost[pair.context_language] += bool(answers) and not held
    table = np.asarray(rows, np.int32).reshape(-1, 5)
    return Windows(
        tokenised,
        pairs,
        pair_index=table[:, 0].copy(),
        begin=table[:, 1].copy(),
        end=table[:, 2].copy(),
        gold_start=table[:, 3].astype(np.int16),
        gold_end=table[:, 4].astype(np.int16),
        question_limit=question_limit,
        lost=dict(+lost),
        cut_questions=dict(+cut),
    )


def stretches(tokens: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Stretches of ``room`` tokens that cover ``tokens``, each sharing ``overlap`` with the next."""
    step = room - min(overlap, room // 2)
    found = []
    for begin in range(0, max(tokens, 1), step):
        found.append((begin, min(begin + room, tokens)))
        if begin + room >= tokens:
            break
    return found


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
