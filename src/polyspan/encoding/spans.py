"""Logits to ranked answer spans, cut out of the context by character offsets."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from polyspan.encoding.tokens import TokenisedText

MAX_ANSWER_TOKENS = 30
SPARE = 4
EXCLUDED = -1e4  # finite, so that sums stay numbers
ZERO_WIDTH_JOINER = "\u200d"
# Of no width: spaces, and what tells the direction of the text around it.
_UNSEEN = "\u200b\ufeff\u2060\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@dataclass(frozen=True, slots=True)
class Span:
    """An answer: ``context[start:end] == text``; ``score`` is its probability among the windows."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """How logits become probabilities; as it stands by default, logits are taken as they are.

    Attributes:
        temperature: logits are divided by it, above 0; more than 1 makes a model less sure (Guo et
            al. 2017, section 4.2). It does not change which spans are best.
        null_slope, null_bias: the probability of "no answer" is
            sigmoid(slope x log odds of "no answer" against all spans + bias) (Platt 1999); what is
            left is shared among the spans.
    """

    temperature: float = 1.0
    null_slope: float = 1.0
    null_bias: float = 0.0


UNSCALED = Scaling()


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best token spans of one window, best first, and what it takes to make them probabilities.

    Attributes:
        spans: (first context token, last context token, start + end logit).
        null: start + end logit of the first special token, "no answer in this window".
        start_total, end_total: logsumexp of the logits of the context tokens.
    """

    spans: list[tuple[int, int, float]]
    null: float
    start_total: float
    end_total: float


def best_token_spans(
    start_logits: Tensor,
    end_logits: Tensor,
    context_mask: Tensor,
    top_k: int = 1,
    max_answer_tokens: int = MAX_ANSWER_TOKENS,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best spans of every window at once.

    A span begins and ends on context tokens, has ``start <= end`` and at most
    ``max_answer_tokens`` tokens; its value is start logit + end logit.

    Args:
        start_logits, end_logits: (batch, tokens).
        context_mask: (batch, tokens), True on context tokens.
        top_k: how many spans.
        max_answer_tokens: longest answer.

    Returns:
        values, starts and ends, each (batch, at most top_k), best first; values at or below
        half of `EXCLUDED` are no spans.
    """
    tokens = start_logits.shape[1]
    width = min(max_answer_tokens, tokens)
    starts = start_logits.float().masked_fill(~context_mask, EXCLUDED)
    ends = end_logits.float().masked_fill(~context_mask, EXCLUDED)
    padded = torch.nn.functional.pad(ends, (0, width - 1), value=EXCLUDED)
    banded = starts[:, :, None] + padded.unfold(1, width, 1)
    values, flat = banded.flatten(1).topk(min(top_k, tokens * width), dim=1)
    begin = flat // width
    return values, begin, begin + flat % width


def window_candidates(
    start_logits: Tensor,
    end_logits: Tensor,
    context_mask: Tensor,
    first_context: list[int],
    top_k: int = 1,
    max_answer_tokens: int = MAX_ANSWER_TOKENS,
) -> list[Candidates]:
    """Candidates of every window of a batch, counted in its own context tokens.

    Args:
        start_logits, end_logits, context_mask: (batch, tokens).
        first_context: position of each window's first context token.
        top_k: spans to keep; twice as many and a few more are looked at, as some may turn out to be white space, or
            the same without it.
        max_answer_tokens: longest answer.
    """
    looked_at = 2 * top_k + SPARE
    values, begins, ends = best_token_spans(start_logits, end_logits, context_mask, looked_at, max_answer_tokens)
    # In double precision, which some devices lack: in single, a share of all spans can come out above 1.
    start_logits, end_logits, context_mask = start_logits.cpu().double(), end_logits.cpu().double(), context_mask.cpu()
    of_starts, of_ends = (logits.masked_fill(~context_mask, EXCLUDED) for logits in (start_logits, end_logits))
    exact = (of_starts.gather(1, begins.cpu()) + of_ends.gather(1, ends.cpu().clamp(max=of_ends.shape[1] - 1))).tolist()
    # Not PyTorch's logsumexp: it wakes a second thread, which spins where other runtimes have their own at work.
    totals = [np.logaddexp.reduce(logits.numpy(), axis=1).tolist() for logits in (of_starts, of_ends)]
    null = (start_logits[:, 0] + end_logits[:, 0]).tolist()
    found = []
    rows = zip((values > EXCLUDED / 2).tolist(), exact, begins.tolist(), ends.tolist(), first_context, strict=True)
    for row, (row_real, row_values, row_begins, row_ends, first) in enumerate(rows):
        spans = [
            (begin - first, end - first, value)
            for real, value, begin, end in zip(row_real, row_values, row_begins, row_ends, strict=True)
            if real
        ]
        found.append(Candidates(spans, null[row], totals[0][row], totals[1][row]))
    return found


def rank_spans(
    text: TokenisedText,
    context: str,
    windows: Iterable[tuple[int, Candidates]],
    top_k: int = 1,
    scaling: Scaling = UNSCALED,
    apart: bool = False,
) -> tuple[list[Span], float]:
    """Join the windows of one pair: the best spans anywhere, each stretch of characters once.

    White space at the edges of a token span is cut off; a span of nothing else is passed over.

    Args:
        text: the tokenised context.
        context: its characters.
        windows: at least one; for each the context token it begins at, and its candidates, of
            logits that were divided by the temperature.
        top_k: how many spans to return.
        scaling: of "no answer".
        apart: join nothing: the best ``top_k`` spans of each window by their probability within it,
            window by window.

    Returns:
        Spans, best first, empty where there is none; and the probability of "no answer". A span's
        score is its share of all spans, exp of its logits over the product of both heads' sums,
        of what "no answer" leaves.
    """
    parts = list(windows)
    groups = [[part] for part in sorted(parts, key=lambda part: part[0])] if apart else [parts]
    no_answer = 1.0
    spans: list[Span] = []
    for group in groups:
        total = _logsumexp([c.start_total + c.end_total for _, c in group])
        odds = scaling.null_slope * (min(c.null for _, c in group) - total) + scaling.null_bias
        # log(1 - no_answer) is minus the softplus of the log odds.
        mass = total + _logsumexp([0.0, odds])
        no_answer = min(no_answer, math.exp(odds - _logsumexp([0.0, odds])))
        scored = [
            (value - mass, value, begin + first, begin + last) for begin, c in group for first, last, value in c.spans
        ]
        spans += _best_stretches(text, context, scored, top_k)
    return spans, no_answer


def _best_stretches(
    text: TokenisedText, context: str, scored: list[tuple[float, float, int, int]], top_k: int
) -> list[Span]:
    """The best spans as characters, each stretch once.

    Args:
        text, context, top_k: of `rank_spans`.
        scored: log probability, value, first and last token of each.
    """
    spans: list[Span] = []
    seen: set[tuple[int, int]] = set()
    for score, _, first, last in sorted(scored, key=lambda item: (-item[0], -item[1], item[2], item[3])):
        start, end = _trim(context, int(text.offsets[first, 0]), int(text.offsets[last, 1]))
        start, end = _whole_characters(context, start, end)
        if start >= end or (start, end) in seen:
            continue
        seen.add((start, end))
        spans.append(Span(context[start:end], start, end, math.exp(min(score, 0.0))))  # only rounding is above 0
        if len(spans) == top_k:
            break
    return spans


def _whole_characters(context: str, start: int, end: int) -> tuple[int, int]:
    """The stretch with the letters that its marks belong to, and the marks of its last letter.

    Tokens may begin with a mark, composing (NFKC) leaves marks and jamo to no token, and a picture may be of several.
    """
    while 0 < start < end and _joins(context, start) and not context[start - 1].isspace():
        start -= 1
    while start < end < len(context) and _joins(context, end):
        end += 1
    return start, end


def _joins(context: str, at: int) -> bool:
    """Whether this character, not the first, is written on, or composed with, the character before it."""
    character, before = context[at], context[at - 1]
    if unicodedata.category(character)[0] == "M" or "\u1160" <= character <= "\u11ff":
        return True
    if character == ZERO_WIDTH_JOINER:
        return _is_picture(before)
    if before == ZERO_WIDTH_JOINER:
        return at > 1 and _is_picture(context[at - 2]) and _is_picture(character)
    return "\U0001f3fb" <= character <= "\U0001f3ff" and _is_picture(before)  # the colours of a skin


def _is_picture(character: str) -> bool:
    """Whether it is an emoji, or what may end one: the colour of its skin, or the selector of its coloured form."""
    return unicodedata.category(character) in {"So", "Sk"} or character == "\ufe0f"


def _trim(context: str, start: int, end: int) -> tuple[int, int]:
    while start < end and _is_blank(context[start]):
        start += 1
    while end > start and _is_blank(context[end - 1]):
        end -= 1
    return start, end


def _is_blank(character: str) -> bool:
    return character.isspace() or character in _UNSEEN or unicodedata.category(character) == "Cc"


def _logsumexp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
