"""Batches by a budget of tokens, of windows of similar length, so that little is padding."""

from __future__ import annotations

import random
from collections.abc import Sequence

POOL_BATCHES = 64


def token_batches(lengths: Sequence[int], budget: int, seed: int | None = None) -> list[list[int]]:
    """Group windows so that windows x longest window stays within the budget.

    Args:
        lengths: tokens of each window.
        budget: of a batch, windows times tokens of the longest; a longer window is a batch of its own.
            What `build_batch` adds to make lengths a multiple does not count.
        seed: shuffle windows, group within pools of about 64 batches, shuffle the batches; None
            sorts by length, longest first, for inference.

    Returns:
        lists of indices; every window is in exactly one.
    """
    order = list(range(len(lengths)))
    if seed is None:
        return _fill(sorted(order, key=lambda at: (-lengths[at], at)), lengths, budget)
    generator = random.Random(seed)
    generator.shuffle(order)
    mean = max(1.0, sum(lengths) / max(1, len(lengths)))
    pool = max(1, int(POOL_BATCHES * budget / mean))
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        part = sorted(order[start : start + pool], key=lambda at: (-lengths[at], at))
        batches += _fill(part, lengths, budget)
    generator.shuffle(batches)
    return batches


def _fill(order: list[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    batches: list[list[int]] = []
    longest = 0
    for at in order:
        longest = max(longest, lengths[at])
        if batches and longest * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(at)
        else:
            batches.append([at])
            longest = lengths[at]
    return batches
