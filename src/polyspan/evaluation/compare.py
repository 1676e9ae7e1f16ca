"""Which of two methods is better, by how much and how surely: intervals, tests, effect sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isnan
from typing import TYPE_CHECKING, Any, Literal

from polyspan.evaluation.matrix import METRICS, Metric
from polyspan.evaluation.normalise import ScoringError
from polyspan.evaluation.rows import Aligned, By, Method, align

if TYPE_CHECKING:
    import numpy as np

    from polyspan.evaluation.resampling import Kind, Quantities

Correction = Literal["holm", "bh"]
CORRECTIONS: dict[Correction, str] = {"holm": "Holm", "bh": "Benjamini–Hochberg"}
DRAWS = 10_000
LEVEL = 0.95
EQUAL = 1e-12
"""Differences of scores up to this are none."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where the truth lies with the asked confidence; in [0, 1], or [-1, 1] for a difference.

    ``low`` and ``high`` are None where fewer than two clusters speak of it.
    """

    value: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """In percent."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if number is None else round(100 * number, 6) for name, number in numbers.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """``a - b`` of one average, language or pair of languages.

    Attributes:
        questions: seed questions that speak of it.
        a, b: each method's own score.
        difference: of the two, paired.
        p: two-sided.
        p_holm, p_bh: of pairs of languages, of context languages and of question languages adjusted
            across these in one comparison; of an average, across the comparisons that were asked
            for together.
        effect: Cohen's d of paired differences: the mean of the questions' mean differences over their
            pairs of languages by its standard deviation; None where all are equal.
        better, worse: shares of the questions where a is above b, and below.
    """

    questions: int
    a: Interval
    b: Interval
    difference: Interval
    p: float
    p_holm: float
    p_bh: float
    effect: float | None
    better: float
    worse: float

    def sign(self, correction: Correction, level: float = LEVEL) -> int:
        """1 where a is better, -1 where it is worse, 0 where that cannot be told after the correction."""
        adjusted = {"holm": self.p_holm, "bh": self.p_bh}[correction]
        if adjusted > 1 - level:
            return 0
        return 1 if self.difference.value > 0 else -1

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; scores in percent, p-values and shares in [0, 1]."""
        parts = {"a": self.a, "b": self.b, "difference": self.difference}
        numbers = {"p": self.p, "p_holm": self.p_holm, "p_bh": self.p_bh, "effect": self.effect}
        shares = {"better": self.better, "worse": self.worse}
        return {
            "questions": self.questions,
            **{name: interval.to_dict() for name, interval in parts.items()},
            **{name: None if number is None else round(number, 6) for name, number in {**numbers, **shares}.items()},
        }


@dataclass(frozen=True)
class MetricComparison:
    """All differences of one metric; averages by the names of `ScoreMatrix.average`, pairs by (question, context)."""

    averages: dict[str, Difference]
    by_context_language: dict[str, Difference]
    by_question_language: dict[str, Difference]
    pairs: dict[tuple[str, str], Difference]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "averages": {name: found.to_dict() for name, found in self.averages.items()},
            "by_context_language": {name: found.to_dict() for name, found in self.by_context_language.items()},
            "by_question_language": {name: found.to_dict() for name, found in self.by_question_language.items()},
            "pairs": [
                {"question_language": question, "context_language": context, **found.to_dict()}
                for (question, context), found in self.pairs.items()
            ],
        }


@dataclass(frozen=True)
class Comparison:
    """Two methods over the same questions.

    Attributes:
        a, b: their names.
        runs: how many runs each has.
        seeds_paired: whether these have the same random seeds and were paired by them.
        questions, rows, clusters: seed questions, rows, and what was resampled.
        by: what a cluster is.
        level: of the intervals.
        draws: of bootstrap and permutation.
        metrics: the differences, F1 and EM apart.
    """

    a: str
    b: str
    runs: tuple[int, int]
    seeds_paired: bool
    questions: int
    rows: int
    clusters: int
    by: By
    level: float
    draws: int
    metrics: dict[Metric, MetricComparison]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "runs": list(self.runs),
            "seeds_paired": self.seeds_paired,
            "questions": self.questions,
            "rows": self.rows,
            "clusters": self.clusters,
            "by": self.by,
            "level": self.level,
            "draws": self.draws,
            "metrics": {metric: found.to_dict() for metric, found in self.metrics.items()},
        }


def compare(
    a: Method, b: Method, by: By = "seed", draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Comparison:
    """Compare two methods over the same questions.

    Intervals are expanded percentiles of a bootstrap over clusters. With several runs of a method its scores
    are the runs' mean and the intervals also hold the luck of the random seed (`resampling.run_noise`).
    Where both have runs of the same seeds, a difference holds the luck of their differences seed by
    seed: a seed that draws good examples is good for both. p-values come from a paired permutation
    test over clusters where each method has one run, and from the bootstrap where one has more,
    though never below what so few clusters could show by permutation.

    Args:
        a, b: methods; a method with one run is taken as it is.
        by: what is resampled whole: "seed" or "passage", as `rows.align` says.
        draws: of the bootstrap and of the permutation test.
        level: confidence, in (0, 1).
        seed: of the random generator; the same gives the same numbers.

    Raises:
        ScoringError: they were asked different questions, or fewer than two.
    """
    return compare_all([a, b], by, draws, level, seed)[0]


def compare_all(
    methods: Sequence[Method],
    by: By = "seed",
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
    with_first: bool = False,
) -> list[Comparison]:
    """Each method against each later one, as `compare` does; ``with_first``: each later one against the first.

    ``p_holm`` and ``p_bh`` of averages are adjusted across these comparisons.
    """
    aligned = align(methods, by)
    places = range(len(methods))
    asked = [(i, 0) for i in places[1:]] if with_first else list(combinations(places, 2))
    metrics = [metric_comparisons(aligned, metric, draws, level, seed, asked) for metric in METRICS]
    return [
        Comparison(
            methods[i].name,
            methods[j].name,
            (len(methods[i].runs), len(methods[j].runs)),
            aligned.pairs_seeds(i, j),
            questions=len(aligned.ids),
            rows=int(aligned.asked.sum()),
            clusters=int(aligned.cluster.max()) + 1,
            by=by,
            level=level,
            draws=draws,
            metrics={metric: found[i, j] for metric, found in zip(METRICS, metrics, strict=True)},
        )
        for i, j in asked
    ]


def score_intervals(
    method: Method, by: By = "seed", draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> dict[Metric, dict[Kind, dict[Any, Interval]]]:
    """One method's scores with their intervals, by metric, kind and name.

    Kinds are "average", "context_language", "question_language" and "pair", whose names are
    (question language, context language).
    """
    aligned = align([method], by)
    found: dict[Metric, dict[Kind, dict[Any, Interval]]] = {}
    for metric in METRICS:
        samples = _Samples.of(aligned, metric, draws, seed)
        intervals = samples.intervals(samples.values[0], samples.of_method(0), level)
        kinds: dict[Kind, dict[Any, Interval]] = {}
        for (kind, name), interval in zip(samples.quantities.names, intervals, strict=True):
            kinds.setdefault(kind, {})[name] = interval
        found[metric] = kinds
    return found


@dataclass(frozen=True)
class _Samples:
    """One metric of all methods.

    Attributes:
        quantities: what is estimated.
        runs: of each method ``(runs, quantities)``, each run's own values.
        drawn: ``(methods, draws, quantities)`` of the bootstrap over questions.
        luck: the same shape: deviations by the luck of the runs' random seeds.
        clusters: ``(quantities,)``: how many clusters speak of each.
    """

    quantities: Quantities
    runs: list[np.ndarray]
    drawn: np.ndarray
    luck: np.ndarray
    clusters: np.ndarray

    @staticmethod
    def of(aligned: Aligned, metric: Metric, draws: int, seed: int) -> _Samples:
        import numpy as np

        from polyspan.evaluation.resampling import Quantities, bootstrap, by_cluster, run_noise

        quantities = Quantities.over(aligned.pairs)
        generator = np.random.default_rng(seed)
        counts = by_cluster(aligned.asked.astype(float), aligned.cluster)
        if len(counts) < 2:
            raise ScoringError("all questions are one cluster; nothing can be resampled")
        scores = [of_method[metric] for of_method in aligned.scores]
        sums = [by_cluster(of_method.mean(0), aligned.cluster) for of_method in scores]
        drawn = bootstrap(quantities, sums, counts, draws, generator)
        totals = [of_method.sum(1) for of_method in scores]
        runs = [quantities.evaluate(total, np.broadcast_to(counts.sum(0), total.shape)) for total in totals]
        luck = np.stack([run_noise(of_method, draws, generator) for of_method in runs])
        clusters = ((counts > 0).astype(float) @ quantities.members.T > 0).sum(0)
        return _Samples(quantities, runs, drawn, luck, clusters)

    @property
    def values(self) -> np.ndarray:
        """``(methods, quantities)``: means over runs."""
        import numpy as np

        return np.array([of_method.mean(0) for of_method in self.runs])

    def of_method(self, i: int) -> np.ndarray:
        """``(draws, quantities)`` of one method."""
        drawn: np.ndarray = self.drawn[i] + self.luck[i]
        return drawn

    def of_difference(self, i: int, j: int, paired: bool, generator: np.random.Generator) -> np.ndarray:
        """``(draws, quantities)`` of the first less the second; ``paired`` where run by run they share their luck."""
        from polyspan.evaluation.resampling import run_noise

        luck = (
            run_noise(self.runs[i] - self.runs[j], self.drawn.shape[1], generator)
            if paired
            else self.luck[i] - self.luck[j]
        )
        drawn: np.ndarray = self.drawn[i] - self.drawn[j] + luck
        return drawn

    def intervals(self, values: np.ndarray, draws: np.ndarray, level: float, least: float = 0.0) -> list[Interval]:
        """``values`` (quantities,), in [least, 1], with the intervals that ``draws`` (draws, quantities) speak for."""
        from polyspan.evaluation.resampling import percentile_intervals

        return [
            Interval(float(value), None, None)
            if isnan(low)
            else Interval(float(value), max(least, float(low)), min(1.0, float(high)))
            for value, low, high in zip(values, *percentile_intervals(draws, self.clusters, level), strict=True)
        ]


def metric_comparisons(
    aligned: Aligned, metric: Metric, draws: int, level: float, seed: int, asked: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], MetricComparison]:
    """`compare_all` of one metric, over rows that are laid out already; asked for and given by the methods' places."""
    import numpy as np

    from polyspan.evaluation.resampling import by_cluster, sign_flip_p_values

    samples = _Samples.of(aligned, metric, draws, seed)
    values = samples.values
    own = [samples.intervals(values[i], samples.of_method(i), level) for i in range(len(values))]
    scores = [of_method[metric] for of_method in aligned.scores]
    weights = samples.quantities.weights(aligned.asked.sum(0))
    members = samples.quantities.members.T
    number = aligned.asked.astype(float) @ members
    generator = np.random.default_rng([seed, 1])
    found = {}
    for i, j in asked:
        delta = scores[i].mean(0) - scores[j].mean(0)
        contributions = delta @ weights.T
        drawn = samples.of_difference(i, j, aligned.pairs_seeds(i, j), generator)
        if len(scores[i]) == len(scores[j]) == 1:
            p_values = sign_flip_p_values(by_cluster(contributions, aligned.cluster), draws, generator)
        else:
            # As few clusters as differ allow no smaller p of a permutation test, however the draws fall.
            differ = (np.abs(by_cluster(contributions, aligned.cluster)) > EQUAL).sum(0)
            p_values = np.maximum(_p_of_draws(drawn), 0.5 ** np.maximum(differ - 1.0, 0.0))
        intervals = samples.intervals(values[i] - values[j], drawn, level, -1.0)
        by_question = np.divide(delta @ members, number, out=np.zeros(number.shape), where=number > 0)
        found[i, j] = [
            Difference(int(part.sum()), a, b, difference, float(p), float(p), float(p), *_effect(column[part]))
            for a, b, difference, p, column, part in zip(
                own[i], own[j], intervals, p_values, by_question.T, number.T > 0, strict=True
            )
        ]
    return {
        key: _by_kind(samples.quantities, differences)
        for key, differences in zip(found, _adjust(samples.quantities, list(found.values())), strict=True)
    }


def _p_of_draws(draws: np.ndarray) -> np.ndarray:
    """Two-sided: twice the smaller share of draws on one side of 0, never 0 itself; NaN says nothing."""
    import numpy as np

    below, above = (draws <= 0).sum(0), (draws >= 0).sum(0)
    speaking = (~np.isnan(draws)).sum(0)
    return np.asarray(np.minimum(2 * (np.minimum(below, above) + 1) / (speaking + 1), 1))


def _effect(differences: np.ndarray) -> tuple[float | None, float, float]:
    """Cohen's d and the shares above and below 0 of the questions' mean differences, each over its own pairs."""
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return (
        float(differences.mean()) / spread if spread > EQUAL else None,
        float((differences > EQUAL).mean()),
        float((differences < -EQUAL).mean()),
    )


def _adjust(quantities: Quantities, comparisons: list[list[Difference]]) -> list[list[Difference]]:
    """Averages across the comparisons; pairs, and the languages of either side, within each comparison."""
    import numpy as np
    from scipy.stats import false_discovery_control

    from polyspan.evaluation.resampling import holm

    p_values = np.array([[difference.p for difference in differences] for differences in comparisons])
    p_holm, p_bh = p_values.copy(), p_values.copy()
    kinds = np.array([kind for kind, _ in quantities.names])
    families: list[Any] = [(slice(None), column) for column in np.flatnonzero(kinds == "average")]
    for kind in set(kinds) - {"average"}:
        families += [(row, kinds == kind) for row in range(len(comparisons))]
    for family in families:
        p_holm[family] = holm(p_values[family])
        p_bh[family] = false_discovery_control(p_values[family])
    return [
        [
            replace(difference, p_holm=float(p_holm[row, column]), p_bh=float(p_bh[row, column]))
            for column, difference in enumerate(differences)
        ]
        for row, differences in enumerate(comparisons)
    ]


def _by_kind(quantities: Quantities, differences: list[Difference]) -> MetricComparison:
    kinds: dict[Kind, dict[Any, Difference]] = {
        "average": {},
        "context_language": {},
        "question_language": {},
        "pair": {},
    }
    for (kind, name), difference in zip(quantities.names, differences, strict=True):
        kinds[kind][name] = difference
    return MetricComparison(*kinds.values())
