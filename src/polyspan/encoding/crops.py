"""Crops (ours): training windows cut to a random stretch around the answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from polyspan.encoding.windows import CLS, Windows


def crop(windows: Windows, tokens: int, seed: int) -> Windows:
    """One window a pair, cut to at most ``tokens`` context tokens that hold the answer.

    Where the stretch begins is drawn evenly among all places that hold the whole answer, for each
    pair apart: the same passage comes in another cut in each pair of languages, so that positions
    and neighbours cannot be learnt by heart, and a step has fewer tokens to read. An answer longer
    than the crop keeps its own length. Pairs whose answer is in no window are left out; they are
    in ``windows.lost``.

    Args:
        windows: labelled.
        tokens: of context that are kept, 1 or more.
        seed: of the local random generator.
    """
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
    drawn = np.random.default_rng(seed).random(len(kept))
    new = (lowest + np.floor(drawn * (highest - lowest + 1))).astype(np.int32)
    return replace(
        windows,
        pair_index=windows.pair_index[kept],
        begin=new,
        end=(new + size).astype(np.int32),
        gold_start=(position + answer_first - new).astype(np.int16),
        gold_end=(position + answer_last - new).astype(np.int16),
    )
