"""Crops (ours): training windows cut to a random stretch around the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyspan.encoding.windows import CLS, Windows


def crop(windows: Windows, tokens: int, seed: int) -> Windows:
    """One window a pair, cut to at most ``tokens`` context tokens that hold the answer.

    Where the stretch begins is drawn evenly among all places that hold the whole answer, for each
    pair apart: the same passage comes in another cut in each pair of languages, so that positions
    and neighbours cannot be learnt by heart, and a step has fewer tokens to read. An answer longer
    than the crop keeps its own length. Of a pair without an answer any stretch of the context may be
    drawn; its label is the first special token. Pairs whose answer is in no window are left out;
    they are in ``windows.lost``.

    Args:
        windows: labelled.
        tokens: of context that are kept, 1 or more.
        seed: of the local random generator.
    """
    generator = np.random.default_rng(seed)
    parts = [_around_answers(windows, tokens, generator), _without_answers(windows, tokens, generator)]
    order = np.argsort(np.concatenate([part.pair_index for part in parts]))
    columns = ("pair_index", "begin", "end", "gold_start", "gold_end")
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts])[order] for name in columns}
    return replace(windows, **joined)


def _around_answers(windows: Windows, tokens: int, generator: np.random.Generator) -> Windows:
    holding = np.flatnonzero(windows.gold_start != CLS)
    _, first = np.unique(windows.pair_index[holding], return_index=True)
    kept = holding[first]
    begin, end = windows.begin[kept], windows.end[kept]
    template = windows.tokenised.template
    position = len(template.before) + len(template.between) + windows.question_tokens[windows.pair_index[kept]]
    answer_first = windows.gold_start[kept] - position + begin
    answer_last = windows.gold_end[kept] - position + begin
    size = np.minimum(np.maximum(tokens, answer_last + 1 - answer_first), end - begin)
    lowest = np.maximum(begin, answer_last + 1 - size)
    highest = np.minimum(answer_first, end - size)
    new = _drawn(lowest, highest, generator)
    return replace(
        windows,
        pair_index=windows.pair_index[kept],
        begin=new,
        end=(new + size).astype(np.int32),
        gold_start=(position + answer_first - new).astype(np.int32),
        gold_end=(position + answer_last - new).astype(np.int32),
    )


def _without_answers(windows: Windows, tokens: int, generator: np.random.Generator) -> Windows:
    unheld = np.setdiff1d(windows.pair_index, windows.pair_index[windows.gold_start != CLS])
    pairs = [at for at in unheld.tolist() if not windows.tokenised.corpus.answers(windows.pairs[at])]
    first = np.searchsorted(windows.pair_index, pairs)
    last = np.searchsorted(windows.pair_index, pairs, side="right") - 1
    size = np.minimum(tokens, windows.end[first] - windows.begin[first])
    new = _drawn(windows.begin[first], windows.end[last] - size, generator)
    return replace(
        windows,
        pair_index=windows.pair_index[first],
        begin=new,
        end=(new + size).astype(np.int32),
        gold_start=windows.gold_start[first],
        gold_end=windows.gold_end[first],
    )


def _drawn(lowest: NDArray[np.int32], highest: NDArray[np.int32], generator: np.random.Generator) -> NDArray[np.int32]:
    """(pairs,), a whole number from the lowest to the highest, both included, for each."""
    drawn = generator.random(len(lowest))
    return (lowest + np.floor(drawn * (highest - lowest + 1))).astype(np.int32)
