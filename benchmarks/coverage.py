"""Whether intervals hold the truth as often as they say, on real predictions, and what tests by row do.

    python benchmarks/coverage.py FOLDER_A FOLDER_B [--simulations 2000] [--json FILE]

The folders are what ``polyspan evaluate --output`` writes, of two models asked the same questions. Their
questions are taken for the whole world, so that the truth is known: it is their scores. Then, many times:

- *Coverage.* Draw as many questions as there are, with replacement, each with all its rows; compare the
  methods on these; see whether the 95% intervals hold the truth. Beside it the interval of a paired t-test
  that takes rows for independent.
- *False positives.* Exchange the methods' names in half of the questions, at random, each with all its rows,
  so that neither is better; count tests that find a difference at 5%. Once more with passages in place of
  questions.
- *Runs.* As for coverage, but the second method is several runs, whose scores differ by a random constant.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from polyspan.evaluation.compare import Interval, MetricComparison, metric_comparisons
from polyspan.evaluation.resampling import Quantities
from polyspan.evaluation.rows import Aligned, Method, align, read_rows

LEVEL = 0.95
DRAWS = 1000
AVERAGES = ("gxlt", "gxlt_off_diagonal", "xlt", "micro")
FEWEST = 15
RUN_SPREAD = 0.01
"""Standard deviation of the runs' constants, in [0, 1]: one point of F1."""


def main() -> None:
    """Run the three simulations, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs=2, type=Path)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    arguments = parser.parse_args()
    rows = [Method(folder.name, [read_rows(folder)]) for folder in arguments.folders]
    fewest = int(align(rows).asked.sum(0).min())
    if fewest < FEWEST:
        sys.exit(f"a pair of languages has {fewest} questions; draws of fewer than {FEWEST} may miss it altogether")
    report: dict[str, Any] = {
        "simulations": arguments.simulations,
        "draws": DRAWS,
        "questions": len(align(rows).ids),
        "error_of_a_rate_of_95%": round(100 * math.sqrt(0.95 * 0.05 / arguments.simulations), 2),
    }
    began = time.monotonic()
    report["coverage_%"] = {}
    for metric in ("f1", "em"):
        report["coverage_%"][metric] = coverage(align(rows), metric, arguments.simulations)
    report["coverage_by_passage_%"] = coverage(align(rows, "passage"), "f1", arguments.simulations)
    report["false_positives_%"] = {
        f"names exchanged by {null}, test by {test}": false_positives(
            align(rows, null), align(rows, test), arguments.simulations
        )
        for null, test in (("seed", "seed"), ("passage", "passage"), ("passage", "seed"))
    }
    report["coverage_with_runs_%"] = {
        runs: coverage_with_runs(align(rows), runs, arguments.simulations) for runs in (2, 3, 5)
    }
    report["seconds"] = round(time.monotonic() - began)
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def coverage(world: Aligned, metric: str, simulations: int) -> dict[str, float]:
    """Percent of simulations whose interval holds the truth, by quantity."""
    truth = comparison(world, metric)
    quantities = Quantities.over(world.pairs)
    held: dict[str, list[float]] = {}
    pairs: list[list[float]] = []
    generator = np.random.default_rng(0)
    for number in range(simulations):
        sample = draw(world, generator)
        found = comparison(sample, metric, seed=number)
        for name in AVERAGES:
            true = truth.averages[name]
            held.setdefault(f"difference {name}", []).append(holds(found.averages[name].difference, true.difference))
            held.setdefault(f"one method {name}", []).append(holds(found.averages[name].a, true.a))
        pairs.append([holds(found.pairs[p].difference, truth.pairs[p].difference) for p in world.pairs])
        for name, interval in intervals_by_row(sample, metric, quantities).items():
            held.setdefault(f"BY ROW difference {name}", []).append(holds(interval, truth.averages[name].difference))
        tell("coverage", number, simulations)
    by_pair = 100 * np.nanmean(pairs, axis=0)
    return {
        **{name: round(100 * float(np.nanmean(values)), 1) for name, values in held.items()},
        "difference, mean of pairs": round(float(by_pair.mean()), 1),
        "difference, lowest pair": round(float(by_pair.min()), 1),
        "difference, highest pair": round(float(by_pair.max()), 1),
    }


def false_positives(world: Aligned, tested: Aligned, simulations: int) -> dict[str, float]:
    """Percent of simulations in which a difference is found that is not there.

    Args:
        world: its clusters keep together when names are exchanged.
        tested: the same rows, with the clusters of the test.
        simulations: how many.
    """
    generator = np.random.default_rng(1)
    quantities = Quantities.over(world.pairs)
    found: dict[str, list[bool]] = {}
    for number in range(simulations):
        swap = generator.integers(0, 2, world.cluster.max() + 1)[world.cluster][:, None] == 1
        a, b = (scores["f1"] for scores in tested.scores)
        null = replace(tested, scores=[{"f1": np.where(swap, b, a)}, {"f1": np.where(swap, a, b)}])
        result = comparison(null, "f1", seed=number)
        by_row = intervals_by_row(null, "f1", quantities)
        for name in ("gxlt", "micro"):
            found.setdefault(f"clustered {name}", []).append(result.averages[name].p <= 1 - LEVEL)
            found.setdefault(f"BY ROW {name}", []).append(holds(by_row[name], Interval(0.0, None, None)) == 0)
        for correction in ("holm", "bh"):
            signs = [item.sign(correction) != 0 for item in result.pairs.values()]
            found.setdefault(f"clustered, any pair after {correction}", []).append(any(signs))
        found.setdefault("clustered, any pair uncorrected", []).append(
            any(item.p <= 1 - LEVEL for item in result.pairs.values())
        )
        tell("false positives", number, simulations)
    return {name: round(100 * float(np.mean(values)), 1) for name, values in found.items()}


def coverage_with_runs(world: Aligned, runs: int, simulations: int) -> dict[str, float]:
    """Percent of simulations whose interval of the G-XLT difference holds the truth, with runs and without."""
    truth = comparison(world, "f1").averages["gxlt"].difference
    generator = np.random.default_rng(2)
    with_runs, without = [], []
    for number in range(simulations):
        sample = draw(world, generator)
        shifts = generator.normal(0, RUN_SPREAD, (runs, 1, 1)) * sample.asked
        a, b = (scores["f1"] for scores in sample.scores)
        several = replace(sample, scores=[{"f1": a}, {"f1": b + shifts}])
        averaged = replace(sample, scores=[{"f1": a}, {"f1": (b + shifts).mean(0, keepdims=True)}])
        for chosen, held in ((several, with_runs), (averaged, without)):
            held.append(holds(comparison(chosen, "f1", seed=number).averages["gxlt"].difference, truth))
        tell(f"{runs} runs", number, simulations)
    return {
        "runs as a second level": round(100 * float(np.mean(with_runs)), 1),
        "runs averaged and forgotten": round(100 * float(np.mean(without)), 1),
    }


def comparison(aligned: Aligned, metric: str, seed: int = 0) -> MetricComparison:
    """As ``polyspan compare`` does it, with fewer draws."""
    return metric_comparisons(aligned, metric, DRAWS, LEVEL, seed)[0, 1]  # type: ignore[arg-type]


def draw(world: Aligned, generator: np.random.Generator) -> Aligned:
    """As many clusters as there are, with replacement; one that is drawn twice is two."""
    members = [np.flatnonzero(world.cluster == cluster) for cluster in range(world.cluster.max() + 1)]
    picked = [members[pick] for pick in generator.integers(0, len(members), len(members))]
    seeds = np.concatenate(picked)
    return Aligned(
        [str(number) for number in range(len(seeds))],
        world.pairs,
        world.asked[seeds],
        np.repeat(np.arange(len(picked)), [len(part) for part in picked]),
        [{metric: values[:, seeds] for metric, values in scores.items()} for scores in world.scores],
    )


def intervals_by_row(aligned: Aligned, metric: str, quantities: Quantities) -> dict[str, Interval]:
    """Paired t intervals that take every row for an independent observation."""
    a, b = (scores[metric][0] for scores in aligned.scores)  # type: ignore[index]
    counts = aligned.asked.sum(0)
    delta = np.where(aligned.asked, a - b, np.nan)
    means, variances = np.nanmean(delta, axis=0), np.nanvar(delta, axis=0, ddof=1)
    found = {}
    for (_, name), members in zip(quantities.names[: len(AVERAGES)], quantities.members, strict=False):
        if name == "micro":
            value, error = np.nanmean(delta), np.nanstd(delta, ddof=1) / math.sqrt(counts.sum())
        else:
            value = means[members].mean()
            error = math.sqrt((variances[members] / counts[members]).sum()) / members.sum()
        half = stats.t.ppf((1 + LEVEL) / 2, counts[members].sum() - 1) * error
        found[str(name)] = Interval(float(value), float(value - half), float(value + half))
    return found


def holds(interval: Interval, truth: Interval) -> float:
    """1 where an interval holds a true value, 0 where not, NaN where too few clusters were drawn for one."""
    if interval.low is None or interval.high is None:
        return math.nan
    return float(interval.low <= truth.value <= interval.high)


def tell(name: str, number: int, total: int) -> None:
    """Where we are, once in a while."""
    if number % 200 == 199:
        print(f"{name}: {number + 1} of {total}", file=sys.stderr)


if __name__ == "__main__":
    main()
