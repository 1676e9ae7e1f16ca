"""Resampling against plain loops and enumeration; comparisons of methods made to differ or not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import isclose, sqrt
from statistics import fmean, stdev

import numpy as np
import pytest

from polyspan.evaluation import RowScore, ScoreMatrix, ScoringError
from polyspan.evaluation.compare import Comparison, compare, compare_all, metric_comparisons, score_intervals
from polyspan.evaluation.matrix import AVERAGES
from polyspan.evaluation.resampling import (
    Quantities,
    bootstrap,
    by_cluster,
    holm,
    percentile_intervals,
    run_noise,
    sign_flip_p_values,
)
from polyspan.evaluation.rows import Aligned, Method, align
from polyspan.evaluation.verdict import fewest_draws, note

LANGUAGES = ("de", "en", "zh")
DRAWS = 400


def made(seeds: int, salt: int = 0, shift: float = 0.0) -> list[RowScore]:
    """Rows in which a hard question is hard in every language; some pairs are missing for some seeds."""
    generator = random.Random(salt)
    rows = []
    for number in range(seeds):
        level = generator.random()
        have = LANGUAGES if number % 3 else LANGUAGES[:2]
        for question, context in product(have, have):
            f1 = min(1.0, max(0.0, level + generator.uniform(-0.2, 0.2) + shift))
            rows.append(RowScore(f"q{number}", question, context, f1, float(f1 > 0.7), f"p{number // 2}-{context}"))
    return rows


def method(name: str, *runs: Sequence[RowScore]) -> Method:
    return Method(name, runs)


def arrays(rows: Sequence[RowScore]) -> tuple[Quantities, np.ndarray, np.ndarray]:
    aligned = align([method("a", rows)])
    return Quantities.over(aligned.pairs), aligned.scores[0]["f1"][0], aligned.asked.astype(float)


def of_matrix(matrix: ScoreMatrix, kind: str, name: str | tuple[str, str]) -> float | None:
    if kind == "average":
        return matrix.average(name, "f1")  # type: ignore[arg-type]
    if kind == "pair":
        cell = matrix.cells.get(name)  # type: ignore[call-overload]
        return None if cell is None else cell.f1
    side = "context" if kind == "context_language" else "question"
    return matrix.by_language(side, "f1").get(name)  # type: ignore[arg-type]


def test_quantities_are_those_of_the_matrix() -> None:
    rows = made(20)
    quantities, scores, asked = arrays(rows)
    matrix = ScoreMatrix.from_rows(rows)
    values = quantities.evaluate(scores.sum(0), asked.sum(0))
    names = quantities.names
    assert [name for kind, name in names if kind == "average"] == list(AVERAGES)
    assert len(names) == 4 + 3 + 3 + 9
    for (kind, name), value in zip(names, values, strict=True):
        assert value == pytest.approx(of_matrix(matrix, kind, name))
    assert scores.sum(0) @ quantities.weights(asked.sum(0)).T == pytest.approx(values)


def test_bootstrap_draws_are_matrices_of_repeated_questions() -> None:
    rows = made(7)
    quantities, scores, asked = arrays(rows)
    drawn = bootstrap(quantities, [scores], asked, 30, np.random.default_rng(5))[0]
    picks = np.random.default_rng(5).integers(0, 7, (30, 7))
    ids = sorted({row.id for row in rows})
    for draw, values in zip(picks, drawn, strict=True):
        matrix = ScoreMatrix.from_rows(row for pick in draw for row in rows if row.id == ids[pick])
        for (kind, name), value in zip(quantities.names, values, strict=True):
            expected = of_matrix(matrix, kind, name)
            assert np.isnan(value) if expected is None else value == pytest.approx(expected)


def test_draws_in_blocks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    quantities, scores, asked = arrays(made(9))
    whole = bootstrap(quantities, [scores], asked, 25, np.random.default_rng(1))
    monkeypatch.setattr("polyspan.evaluation.resampling.CHUNK", 40)
    blocks = bootstrap(quantities, [scores], asked, 25, np.random.default_rng(1))
    np.testing.assert_allclose(blocks, whole, rtol=1e-12)


def test_permutation_test_nears_the_enumeration_of_all_sign_flips() -> None:
    generator = random.Random(4)
    values = [generator.uniform(-0.2, 0.6) for _ in range(10)]
    flips = [
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
        for signs in product((1, -1), repeat=10)
    ]
    exact = fmean(flip >= abs(sum(values)) - 1e-12 for flip in flips)
    found = sign_flip_p_values(np.array([values, [1.0] * 10]).T, 40_000, np.random.default_rng(0))
    assert 0.01 < exact < 0.5
    assert found[0] == pytest.approx(exact, abs=0.006)
    assert found[1] == pytest.approx(2 / 2**10, abs=0.0006)


def test_permutation_test_is_right_when_nothing_differs() -> None:
    """The names of the methods are exchanged by question, so one in twenty is found at 5%."""
    generator = np.random.default_rng(7)
    found = []
    for _ in range(400):
        contributions = generator.normal(size=(40, 1)) + 0.3 * generator.exponential(size=(40, 1)) ** 2
        contributions *= generator.choice([-1, 1], (40, 1))
        found.append(sign_flip_p_values(contributions, 200, generator)[0] <= 0.05)
    assert 0.02 < fmean(found) < 0.085


def test_expanded_percentiles() -> None:
    """With many clusters they are the plain ones; with few they cover a mean as Student's t does."""
    draws = np.random.default_rng(0).random((999, 2))
    plain = np.quantile(draws, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(percentile_intervals(draws, np.array([10**7, 10**7]), 0.95), plain, atol=1e-4)
    holes = np.vstack([draws, np.full((50, 2), np.nan)])
    np.testing.assert_allclose(
        percentile_intervals(holes, np.array([9, 1]), 0.95)[:, 0],
        percentile_intervals(draws, np.array([9, 9]), 0.95)[:, 0],
    )
    assert np.isnan(percentile_intervals(holes, np.array([9, 1]), 0.95)[:, 1]).all()
    generator = np.random.default_rng(1)
    held = []
    for _ in range(1000):
        sample = generator.normal(size=8)
        means = sample[generator.integers(0, 8, (500, 8))].mean(1)[:, None]
        low, high = percentile_intervals(means, np.array([8]), 0.95)[:, 0]
        held.append(low <= 0 <= high)
    assert 0.92 < fmean(held) < 0.965  # plain percentiles hold it in 0.88


def test_holm_by_hand() -> None:
    # Sorted 0.01 0.02 0.03 0.04: times 4 3 2 1, then no smaller than the one before.
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.6, 0.5])) == pytest.approx([1.0, 1.0])


def test_run_noise_is_students_t_of_the_runs() -> None:
    runs = np.array([[0.50], [0.52], [0.57]])
    noise = run_noise(runs, 100_000, np.random.default_rng(0))
    error = stdev([0.50, 0.52, 0.57]) / sqrt(3)
    low, high = np.quantile(noise, [0.025, 0.975])
    assert high == pytest.approx(4.303 * error, rel=0.04)  # t of 2 degrees of freedom
    assert low == pytest.approx(-high, rel=0.06)
    assert not run_noise(runs[:1], 10, np.random.default_rng(0)).any()


def shifted(rows: Sequence[RowScore], by: float) -> list[RowScore]:
    return [replace(row, f1=row.f1 + by) for row in rows]


def runs_of(rows: Sequence[RowScore], shifts: Sequence[float]) -> list[list[RowScore]]:
    return [shifted(rows, shift) for shift in shifts]


def test_runs_of_the_same_seeds_are_paired() -> None:
    """What the luck of a seed gives to both is no luck of their difference."""
    rows = made(60)
    lucky, own = (0.05, -0.02, 0.01), (0.012, 0.010, 0.014)
    a = Method("a", runs_of(rows, [x + y for x, y in zip(lucky, own, strict=True)]), (1, 2, 3))
    b = Method("b", runs_of(rows, lucky), (1, 2, 3))
    paired = compare(a, b, draws=20_000)
    whole = paired.metrics["f1"].averages["gxlt"].difference
    half = 4.303 * stdev(own) / sqrt(3)  # the questions' differences are all alike, so that luck alone is left
    assert whole.value == pytest.approx(fmean(own))
    assert (whole.low, whole.high) == (
        pytest.approx(fmean(own) - half, abs=0.12 * half),
        pytest.approx(fmean(own) + half, abs=0.12 * half),
    )
    assert paired.seeds_paired

    turned = Method("b", [b.runs[2], b.runs[0], b.runs[1]], (3, 1, 2))
    again = compare(a, turned, draws=20_000).metrics["f1"].averages["gxlt"].difference
    assert again.to_dict() == whole.to_dict()

    for seeds in ((), (None, None, None), (1, 2, 4)):
        apart = compare(a, Method("b", b.runs, seeds), draws=2000)
        wide = apart.metrics["f1"].averages["gxlt"].difference
        assert not apart.seeds_paired
        assert wide.low is not None
        assert wide.low < -0.04
    assert not compare(Method("a", a.runs[:1], (1,)), Method("b", b.runs[:1], (1,)), draws=100).seeds_paired
    with pytest.raises(ScoringError, match="c: 3 runs and 2 seeds"):
        Method("c", b.runs, (1, 2))
    with pytest.raises(ScoringError, match="c: several runs have the random seed 2"):
        Method("c", b.runs, (1, 2, 2))


def test_paired_intervals_hold_the_truth() -> None:
    """Questions, the luck that both share and each one's own, all drawn anew; the true difference is 0.02."""
    generator = np.random.default_rng(5)
    world = align([method("world", made(200, salt=9))])
    held, widths = [], []
    for number in range(300):
        drawn = generator.integers(0, 200, 30)
        asked, f1 = world.asked[drawn], world.scores[0]["f1"][:, drawn]
        shared = generator.normal(0, 0.05, (3, 1, 1))
        a, b = (f1 + (shared + generator.normal(truth, 0.01, (3, 1, 1))) * asked for truth in (0.02, 0.0))
        found = []
        for paired in (frozenset({(0, 1)}), frozenset[tuple[int, int]]()):
            ids = [str(place) for place in range(30)]
            sample = Aligned(ids, world.pairs, asked, np.arange(30), [{"f1": a}, {"f1": b}], paired)
            averages = metric_comparisons(sample, "f1", 300, 0.95, number, [(0, 1)])[0, 1].averages
            found.append(averages["gxlt"].difference)
        (low, high), (wide_low, wide_high) = ((each.low or 0.0, each.high or 0.0) for each in found)
        held.append(low <= 0.02 <= high)
        widths.append((high - low) / (wide_high - wide_low))
    assert 0.91 < fmean(held) < 0.99
    assert fmean(widths) < 0.5


def test_clusters_are_summed() -> None:
    values = np.array([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    assert by_cluster(values, np.array([1, 0, 1])).tolist() == [[10, 20], [101, 202]]


def test_passages_join_the_questions_that_share_one_in_any_language() -> None:
    rows = [
        RowScore("a", "en", "en", 1, 1, "one"),
        RowScore("b", "en", "en", 1, 1, "two"),
        RowScore("b", "en", "de", 1, 1, "drei"),
        RowScore("c", "en", "de", 1, 1, "drei"),
        RowScore("c", "en", "en", 1, 1, "four"),
        RowScore("d", "en", "en", 1, 1, "five"),
    ]
    cluster = dict(zip("abcd", align([method("m", rows)], "passage").cluster.tolist(), strict=True))
    assert cluster["b"] == cluster["c"]
    assert len({cluster["a"], cluster["b"], cluster["d"]}) == 3
    assert len(set(align([method("m", rows)]).cluster.tolist())) == 4
    with pytest.raises(ScoringError, match="which passage"):
        align([method("m", [replace(row, passage="") for row in rows])], "passage")


def test_intervals_have_the_width_of_independent_clusters() -> None:
    rows = [RowScore(f"q{i}", "en", "en", f1, 0) for i, f1 in enumerate(np.random.default_rng(2).random(300))]
    interval = score_intervals(method("a", rows), draws=4000)["f1"]["average"]["gxlt"]
    values = [row.f1 for row in rows]
    half = 1.96 * stdev(values) / sqrt(300)
    assert interval.value == pytest.approx(fmean(values))
    assert interval.low == pytest.approx(fmean(values) - half, abs=0.1 * half)
    assert interval.high == pytest.approx(fmean(values) + half, abs=0.1 * half)


def both(a: Method, b: Method, **settings: object) -> Comparison:
    return compare(a, b, draws=DRAWS, **settings)  # type: ignore[arg-type]


def test_a_method_that_is_better_everywhere() -> None:
    worse, better = made(60), [replace(row, f1=min(1.0, row.f1 + 0.1)) for row in made(60)]
    found = both(method("better", better), method("worse", worse))
    whole = found.metrics["f1"].averages["gxlt"]
    expected = fmean(
        fmean(row.f1 for row in better if (row.question_language, row.context_language) == pair)
        - fmean(row.f1 for row in worse if (row.question_language, row.context_language) == pair)
        for pair in product(LANGUAGES, LANGUAGES)
    )
    assert whole.difference.value == pytest.approx(expected)
    assert whole.difference.low is not None
    assert 0 < whole.difference.low < expected
    assert whole.p == 1 / (DRAWS + 1)
    assert (whole.questions, whole.worse) == (60, 0)
    assert found.metrics["em"].averages["gxlt"].difference.value == 0
    assert found.metrics["em"].averages["gxlt"].effect is None
    assert {pair.sign("holm") for pair in found.metrics["f1"].pairs.values()} == {1}
    assert (found.questions, found.rows, found.clusters) == (60, len(worse), 60)


def test_effect_is_the_mean_by_the_deviation_of_what_each_question_adds() -> None:
    a, b = made(30, salt=1), made(30, salt=2)
    pairs = both(method("a", a), method("b", b)).metrics["f1"].pairs
    other = {(row.id, row.question_language, row.context_language): row.f1 for row in b}
    differences = [
        row.f1 - other[row.id, "en", "de"] for row in a if (row.question_language, row.context_language) == ("en", "de")
    ]
    assert pairs["en", "de"].effect == pytest.approx(fmean(differences) / stdev(differences))
    assert pairs["en", "de"].better == fmean(value > 0 for value in differences)
    assert pairs["en", "zh"].questions == 20  # every third seed has no zh


def test_the_other_way_round_everything_is_mirrored() -> None:
    a, b = method("a", made(25, salt=1)), method("b", made(25, salt=2))
    one, other = both(a, b).metrics["f1"], both(b, a).metrics["f1"]
    for pair, found in one.pairs.items():
        mirror = other.pairs[pair]
        assert found.difference.low is not None
        assert mirror.difference.high == pytest.approx(-found.difference.low)
        assert (mirror.p, mirror.better, mirror.worse) == (found.p, found.worse, found.better)
        assert (mirror.a.value, mirror.a.low) == pytest.approx((found.b.value, found.b.low))


def test_equal_methods_do_not_differ() -> None:
    found = both(method("a", made(12)), method("b", made(12))).metrics["f1"]
    for difference in [*found.averages.values(), *found.pairs.values(), *found.by_context_language.values()]:
        assert (difference.p, difference.p_holm, difference.p_bh) == (1, 1, 1)
        assert difference.effect is None
        assert (difference.difference.low, difference.difference.high) == (0, 0)
        assert difference.sign("holm") == difference.sign("bh") == 0


def test_corrections_are_over_the_pairs_of_one_comparison() -> None:
    found = both(method("a", made(40, salt=1, shift=0.05)), method("b", made(40, salt=2))).metrics["f1"].pairs
    p = sorted((item.p, key) for key, item in found.items())
    running = 0.0
    for rank, (value, key) in enumerate(p):
        running = max(running, value * (9 - rank))
        assert found[key].p_holm == pytest.approx(min(1, running))
    least = 1.0
    for rank, (value, key) in reversed(list(enumerate(p, start=1))):
        least = min(least, value * 9 / rank)
        assert found[key].p_bh == pytest.approx(least)


def test_averages_are_corrected_over_the_comparisons() -> None:
    rows = made(30, salt=1)
    methods = [method(name, made(30, salt=1, shift=shift)) for name, shift in (("a", 0.0), ("b", 0.004), ("c", 0.1))]
    assert methods[0].runs[0] == rows
    found = compare_all(methods, draws=DRAWS)
    assert [(item.a, item.b) for item in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    whole = [item.metrics["f1"].averages["gxlt"] for item in found]
    assert [item.p_holm for item in whole] == pytest.approx(holm(np.array([item.p for item in whole])).tolist())
    assert whole[1].p_holm == pytest.approx(3 * whole[1].p)


def test_languages_are_corrected_within_one_comparison() -> None:
    found = both(method("a", made(40, salt=1, shift=0.05)), method("b", made(40, salt=2))).metrics["f1"]
    for languages in (found.by_context_language, found.by_question_language):
        differences = list(languages.values())
        adjusted = holm(np.array([item.p for item in differences])).tolist()
        assert [item.p_holm for item in differences] == pytest.approx(adjusted)
        assert adjusted != [item.p for item in differences]


def test_later_methods_against_the_first() -> None:
    methods = [method(name, made(30, salt=1, shift=shift)) for name, shift in (("a", 0.0), ("b", 0.004), ("c", 0.1))]
    found = compare_all(methods, draws=DRAWS, with_first=True)
    assert [(item.a, item.b) for item in found] == [("b", "a"), ("c", "a")]
    gained = found[1].metrics["f1"].averages["gxlt"]
    assert gained.difference.value == pytest.approx(gained.a.value - gained.b.value)
    assert gained.difference.value > 0
    assert gained.p_holm == pytest.approx(2 * gained.p)


def test_seeds_are_a_second_level() -> None:
    base = made(60)
    shaken = [[replace(row, f1=max(0.0, row.f1 - 0.2 + step)) for row in base] for step in (0.0, 0.08, 0.16)]
    alone = both(method("a", base), method("b", shaken[1])).metrics["f1"].averages["gxlt"].difference
    grouped = both(method("a", base), method("b", *shaken)).metrics["f1"].averages["gxlt"]
    means = [fmean(cell.f1 for cell in ScoreMatrix.from_rows(run).cells.values()) for run in shaken]
    error = stdev(means) / sqrt(3)
    assert grouped.b.value == pytest.approx(fmean(means))
    assert alone.low is not None
    assert alone.high is not None
    assert grouped.difference.low is not None
    assert grouped.difference.high is not None
    assert grouped.difference.high - grouped.difference.low > 2 * (alone.high - alone.low)
    assert grouped.difference.high - grouped.difference.low == pytest.approx(2 * 4.303 * error, rel=0.3)
    assert 0.02 < grouped.p < 0.3


def test_runs_do_not_make_few_questions_sure() -> None:
    rows = [RowScore(f"q{n}", "en", "en", 0.5, 0.0) for n in range(20)]
    few = [("hi", 1), ("de", 2), ("zh", 9)]

    def runs(f1: float) -> list[list[RowScore]]:
        return [rows + [RowScore(f"q{n}", of, of, f1, 0.0) for of, size in few for n in range(size)]] * 3

    pairs = both(method("a", *runs(1.0)), method("b", *runs(0.0))).metrics["f1"].pairs
    assert [pairs[of, of].p for of, _ in few[:2]] == [1, 0.5]  # the least of all exchanges of one or two questions
    assert pairs["zh", "zh"].p == pytest.approx(2 / DRAWS, rel=0.05)
    assert [pairs[of, of].sign("holm") for of in ("en", "hi", "de", "zh")] == [0, 0, 0, 1]


def test_same_seed_same_numbers_in_any_order_of_rows() -> None:
    a, b = made(15, salt=1), made(15, salt=2)
    mixed = random.Random(0).sample(a, len(a))
    assert both(method("a", a), method("b", b)) == both(method("a", mixed), method("b", b))
    assert both(method("a", a), method("b", b), seed=1) != both(method("a", a), method("b", b))


def apart(sizes: dict[str, int], f1: float = 0.0, spread: float = 0.0) -> list[RowScore]:
    """Questions of their own in each language."""
    generator = random.Random(1)
    return [
        RowScore(f"{code}{number}", code, code, generator.gauss(f1, spread), 0.0, f"{code}{number}")
        for code, size in sizes.items()
        for number in range(size)
    ]


def test_languages_with_questions_of_their_own_are_in_every_draw() -> None:
    rows = [replace(row, f1=float(row.context_language == "en")) for row in apart({"en": 200, "sw": 2})]
    found = score_intervals(method("a", rows), draws=300)["f1"]["average"]["gxlt"]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_effect_and_shares_do_not_hang_on_how_many_questions_a_language_has() -> None:
    sizes = {"en": 40, "de": 400}
    a, b = method("a", apart(sizes, 0.4, 0.2)), method("b", apart(sizes, 0.3, 0.0))
    gains = [row.f1 - 0.3 for row in a.runs[0]]
    found = compare(a, b, draws=100).metrics["f1"].averages["gxlt"]
    assert found.effect == pytest.approx(fmean(gains) / stdev(gains))
    assert found.better == pytest.approx(fmean(gain > 0 for gain in gains))
    level = compare(method("a", apart(sizes, 0.4)), b, draws=100).metrics["f1"].averages["gxlt"]
    assert level.effect is None


def test_runs_that_differ_in_few_questions_are_as_sure_as_a_permutation_of_these() -> None:
    rows = apart({"en": 200}, 0.5)
    better = [replace(row, f1=row.f1 + 0.5 * (number < 5)) for number, row in enumerate(rows)]
    once = compare(method("a", better), method("b", rows), draws=4000).metrics["f1"].averages["gxlt"]
    twice = compare(method("a", better, better), method("b", rows, rows), draws=4000).metrics["f1"].averages["gxlt"]
    assert once.p == pytest.approx(0.5**4, abs=0.012)
    assert twice.p >= 0.5**4


def test_intervals_of_scores_stay_scores() -> None:
    first, second = ([replace(row, f1=f1) for row in apart({"en": 60})] for f1 in (0.95, 0.9))
    found = score_intervals(method("a", first, second), draws=1000)["f1"]["average"]["gxlt"]
    assert found.high == 1.0
    assert found.low is not None
    assert 0 <= found.low < 0.9


def test_too_few_draws_are_said() -> None:
    a, b = method("a", made(60, shift=0.1)), method("b", made(60))
    assert fewest_draws(compare(a, b, draws=100)) == 180  # 9 pairs at 5%
    assert note(compare(a, b, draws=100)).endswith(
        "100 draws are too few for this level and so many pairs: --draws 180 or more."
    )
    assert "too few" not in note(compare(a, b, draws=180))


def test_a_pair_with_one_question_has_no_interval() -> None:
    rows = [*made(8), RowScore("q0", "zh", "en", 0.5, 0.0)]
    rows = [row for row in rows if (row.question_language, row.context_language) != ("zh", "en") or row.id == "q0"]
    pair = score_intervals(method("a", rows), draws=DRAWS)["f1"]["pair"]["zh", "en"]
    assert (pair.value, pair.low, pair.high) == (0.5, None, None)
    assert pair.to_dict() == {"value": 50.0, "low": None, "high": None}


def test_by_passage_intervals_are_wider_where_passages_decide() -> None:
    generator = random.Random(5)
    good = [generator.random() for _ in range(20)]
    rows = [RowScore(f"{p}-{q}", "en", "en", good[p], 0, f"p{p}") for p in range(20) for q in range(10)]
    widths = []
    for by in ("seed", "passage"):
        interval = score_intervals(method("a", rows), by=by, draws=2000)["f1"]["average"]["gxlt"]  # type: ignore[arg-type]
        assert interval.high is not None
        assert interval.low is not None
        widths.append(interval.high - interval.low)
    assert isclose(widths[1] / widths[0], sqrt(10), rel_tol=0.15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:], "1 of a alone, such as 'q0' de-de"),
        (lambda rows: [*rows, RowScore("new", "en", "en", 1, 1)], "1 of b alone, such as 'new' en-en"),
        (lambda rows: [replace(row, passage="x" + row.passage) for row in rows], "over other passages, such as 'q0'"),
        (lambda rows: [*rows, rows[0]], "1 rows come twice"),
        (lambda rows: [], "no rows"),
    ],
)
def test_other_questions_are_refused(change: object, message: str) -> None:
    rows = made(6)
    with pytest.raises(ScoringError, match=message):
        both(method("a", rows), method("b", change(rows)))  # type: ignore[operator]


def test_one_question_cannot_be_resampled() -> None:
    with pytest.raises(ScoringError, match="one cluster"):
        both(method("a", made(1)), method("b", made(1)))
