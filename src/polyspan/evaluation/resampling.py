"""Resampling whole clusters of rows, as arrays: bootstrap, sign flips, and corrections for many tests.

A question that is hard is hard in all its 49 pairs of languages, so its rows are no independent
observations. What is drawn or flipped here is therefore always a whole cluster: a seed question
with all its rows, or a passage with all its questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["average", "context_language", "question_language", "pair"]
CHUNK = 4_000_000
"""Numbers in one block of draws, which bounds the memory."""


@dataclass(frozen=True)
class Quantities:
    """Everything that is estimated at once: the averages, both sides' languages, every pair.

    Attributes:
        names: (kind, name) of each; the name of a pair is its two languages.
        members: ``(quantities, pairs)``, True where the mean over pairs takes a pair in.
        micro: index of the one that is a mean over rows instead.
    """

    names: list[tuple[Kind, str | tuple[str, str]]]
    members: np.ndarray
    micro: int

    @staticmethod
    def over(pairs: Sequence[tuple[str, str]]) -> Quantities:
        """All that these pairs of languages allow, as `ScoreMatrix.average` defines them."""
        same = np.array([question == context for question, context in pairs])
        names: list[tuple[Kind, str | tuple[str, str]]] = [("average", "gxlt")]
        rows = [np.ones(len(pairs), bool)]
        for name, members in (("gxlt_off_diagonal", ~same), ("xlt", same)):
            if members.any():
                names.append(("average", name))
                rows.append(members)
        micro = len(names)
        names.append(("average", "micro"))
        rows.append(np.ones(len(pairs), bool))
        kinds: tuple[tuple[Kind, int], ...] = (("context_language", 1), ("question_language", 0))
        for kind, side in kinds:
            for language in sorted({pair[side] for pair in pairs}):
                names.append((kind, language))
                rows.append(np.array([pair[side] == language for pair in pairs]))
        names += [("pair", pair) for pair in pairs]
        return Quantities(names, np.vstack([*rows, np.eye(len(pairs), dtype=bool)]), micro)

    def evaluate(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """``(..., quantities)`` from sums of scores and numbers of rows, both ``(..., pairs)``.

        A pair without rows is left out of the means; where none is left, the result is NaN.
        """
        present = counts > 0
        means = np.divide(sums, counts, out=np.zeros(sums.shape), where=present)
        taken = present.astype(float) @ self.members.T
        totals = means @ self.members.T
        values: np.ndarray = np.divide(totals, taken, out=np.full(totals.shape, np.nan), where=taken > 0)
        values[..., self.micro] = sums.sum(-1) / counts.sum(-1)
        return values

    def weights(self, counts: np.ndarray) -> np.ndarray:
        """``(quantities, pairs)``: what one row of each pair contributes, for rows as they are.

        ``counts`` is ``(pairs,)``, all above 0. A quantity is the sum of its rows' scores times this.
        """
        weights: np.ndarray = self.members / self.members.sum(1, keepdims=True) / counts
        weights[self.micro] = 1 / counts.sum()
        return weights


def by_cluster(values: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Sums over the seeds of each cluster: ``(seeds, ...)`` to ``(clusters, ...)``."""
    out = np.zeros((int(cluster.max()) + 1, *values.shape[1:]))
    np.add.at(out, cluster, values)
    return out


def bootstrap(
    quantities: Quantities,
    sums: Sequence[np.ndarray],
    counts: np.ndarray,
    draws: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw clusters with replacement; every method sees the same draws.

    Clusters that share no pair of languages with others, even through third ones, are drawn among
    themselves: where each question is asked in one language, every draw has as many of each language as
    there are, and none is without one. A cluster that is alone there, of which no draw could say anything,
    is drawn with the largest of these groups.

    Args:
        quantities: what to estimate.
        sums: for each method ``(clusters, pairs)``, sums of scores.
        counts: ``(clusters, pairs)``, numbers of rows.
        draws: how many.
        generator: of random numbers.

    Returns:
        ``(methods, draws, quantities)``.
    """
    clusters, pairs = counts.shape
    columns = np.hstack([counts, *sums])
    parts = _linked(counts > 0)
    blocks = []
    for size in _blocks(draws, clusters):
        times = np.zeros((size, clusters))
        for part in parts:
            picks = generator.integers(0, len(part), (size, len(part)))
            picks += np.arange(size)[:, None] * len(part)
            times[:, part] = np.bincount(picks.ravel(), minlength=size * len(part)).reshape(size, len(part))
        drawn = (times @ columns).reshape(size, -1, pairs)
        blocks.append(np.stack([quantities.evaluate(drawn[:, 1 + m], drawn[:, 0]) for m in range(len(sums))]))
    return np.concatenate(blocks, axis=1)


def _linked(asked: np.ndarray) -> list[np.ndarray]:
    """Clusters that are linked by pairs of languages: indices of each part; ``asked`` is ``(clusters, pairs)``."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    clusters, pairs = asked.shape
    cluster, pair = np.nonzero(asked)
    links = csr_array((np.ones(len(cluster)), (cluster, clusters + pair)), shape=(clusters + pairs,) * 2)
    number, part = connected_components(links, directed=False)
    parts = [found for name in range(number) if len(found := np.flatnonzero(part[:clusters] == name))]
    several = sorted((found for found in parts if len(found) > 1), key=len)
    alone = [found for found in parts if len(found) == 1]
    if several and alone:  # what is drawn by itself is always the same
        return [*several[:-1], np.sort(np.concatenate([several[-1], *alone]))]
    return several or [np.arange(clusters)]


def sign_flip_p_values(contributions: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Two-sided p-values of a paired permutation test in which each cluster keeps together.

    If two methods are equally good, the methods' names can be exchanged within any cluster. The
    observed order counts as one of the draws, so that no p-value is 0 (Phipson and Smyth 2010).

    Args:
        contributions: ``(clusters, quantities)``, what each cluster adds to each difference.
        draws: exchanges tried.
        generator: of random numbers.

    Returns:
        ``(quantities,)``.
    """
    observed = np.abs(contributions.sum(0))
    tolerance = 1e-9 * np.abs(contributions).sum(0)
    as_far = np.zeros(contributions.shape[1])
    for size in _blocks(draws, len(contributions)):
        signs = generator.integers(0, 2, (size, len(contributions)), dtype=np.int8) * 2.0 - 1
        as_far += (np.abs(signs @ contributions) >= observed - tolerance).sum(0)
    return np.asarray((as_far + 1) / (draws + 1))


def run_noise(runs: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Deviations of the mean over runs by the luck of their random seeds: ``(draws, quantities)``.

    Student's t with runs - 1 degrees of freedom times the runs' standard error, so that two or
    three runs are not taken for more than they are; added to both sides of a difference this is
    the Behrens-Fisher distribution.

    Args:
        runs: ``(runs, quantities)``, each run's own values. A single run says nothing of its luck:
            the deviations are 0.
        draws: how many.
        generator: of random numbers.
    """
    number = len(runs)
    if number == 1:
        return np.zeros((draws, runs.shape[1]))
    error = runs.std(axis=0, ddof=1) / np.sqrt(number)
    return np.asarray(generator.standard_t(number - 1, (draws, 1)) * error)


def percentile_intervals(draws: np.ndarray, clusters: np.ndarray, level: float) -> np.ndarray:
    """Expanded percentile intervals (Hesterberg 2015): ``(2, quantities)``, low and high.

    Plain percentiles are a little too narrow where there are few clusters; these are as much wider
    as Student's t intervals are than normal ones.

    Args:
        draws: ``(draws, quantities)``; NaN where a draw says nothing.
        clusters: ``(quantities,)``, how many speak of each; NaN is returned where these are fewer
            than two.
        level: confidence, in (0, 1).
    """
    from scipy.stats import norm, t

    number = np.maximum(clusters, 2)
    tails = norm.cdf(-np.sqrt(number / (number - 1)) * t.ppf((1 + level) / 2, number - 1))
    ordered = np.sort(draws, axis=0)  # NaN comes last
    last = (~np.isnan(draws)).sum(0) - 1
    places = np.array([tails * last, (1 - tails) * last])
    below = np.floor(places).astype(int)
    above = np.minimum(below + 1, last)
    low, high = (np.take_along_axis(ordered, index, axis=0) for index in (below, above))
    intervals: np.ndarray = np.where(clusters > 1, low + (places - below) * (high - low), np.nan)
    return intervals


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values adjusted so that the chance of any false finding stays at the level (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted


def _blocks(draws: int, clusters: int) -> Iterator[int]:
    step = max(1, CHUNK // clusters)
    for begin in range(0, draws, step):
        yield min(step, draws - begin)
