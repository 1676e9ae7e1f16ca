"""A comparison in words and as tables for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from polyspan.evaluation.compare import CORRECTIONS, Comparison, Correction, Difference, Interval
from polyspan.evaluation.matrix import AVERAGES, NOTHING, Metric, one_decimal

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

SHOWN_PAIRS = 12
BEYOND = 2
"""Draws beyond either end of an interval without which it is an accident of the draws."""


def sentence(comparison: Comparison, metric: Metric = "f1", correction: Correction = "holm") -> str:
    """Who is better, by how much, how surely, and in how many pairs of languages; ends with a full stop.

    The methods differ where the interval of the mean over all pairs leaves out 0 and its p agrees, which
    it may not over a handful of questions. Pairs are counted after the correction.
    """
    found = comparison.metrics[metric]
    whole = found.averages["gxlt"]
    size = f"{abs(100 * whole.difference.value):.1f}"
    swapped = whole.difference.value < 0 and size != "0.0"
    better, other = (comparison.b, comparison.a) if swapped else (comparison.a, comparison.b)
    name = _measure(comparison, metric)
    interval = f"{100 * comparison.level:g}% interval {_range(whole.difference, -1 if swapped else 1)}"
    decided = is_decided(whole.difference)
    if not decided or whole.p > 1 - comparison.level:
        ahead = "their difference is" if size == "0.0" else f"{better} is ahead by"
        text = f"{better} and {other} cannot be told apart: {ahead} {size} {name}, {interval}"
        if decided:
            text += f", but p is {whole.p:.3f}"
    else:
        text = f"{better} is better than {other} by {size} {name}, {interval}"
        if whole.p_holm > whole.p and not whole.sign(correction, comparison.level):
            text += f", but not after {CORRECTIONS[correction]}'s correction over all comparisons"
    if len(found.pairs) > 1:
        signs = [pair.sign(correction, comparison.level) * (-1 if swapped else 1) for pair in found.pairs.values()]
        improve, worse = signs.count(1), signs.count(-1)
        text += (
            f"; {improve or 'none'} of {len(signs)} pairs improve{'' if improve > 1 else 's'},"
            f" {worse or 'none'} {'are' if worse > 1 else 'is'} worse (after {CORRECTIONS[correction]}'s correction)"
        )
    return text + "."


def note(comparison: Comparison) -> str:
    """What the intervals hold, and what they do not."""
    what = {"seed": "seed questions", "passage": "groups of questions on the same passages"}[comparison.by]
    text = f"Intervals hold the choice of {comparison.clusters} {what}"
    several = [
        f"{name}'s {runs}" for name, runs in zip((comparison.a, comparison.b), comparison.runs, strict=True) if runs > 1
    ]
    if several:
        paired = ", paired by their random seeds" if comparison.seeds_paired else ""
        text += f" and the luck of training, from {' and '.join(several)} runs{paired}"
    if 1 in comparison.runs:
        single = [n for n, runs in zip((comparison.a, comparison.b), comparison.runs, strict=True) if runs == 1]
        text += f"; {' and '.join(single)} {'is' if len(single) == 1 else 'are'} taken as trained, with one run each"
    if comparison.draws < (fewest := fewest_draws(comparison)):
        text += f"; {comparison.draws} draws are too few for this level and so many pairs: --draws {fewest} or more"
    return text + "."


def fewest_draws(comparison: Comparison) -> int:
    """Draws that can tell one pair of languages from chance after correction, a few of them beyond either end."""
    tail = 1 - comparison.level
    pairs = len(next(iter(comparison.metrics.values())).pairs)
    ends = 1 if comparison.runs == (1, 1) else 2  # a p-value of the bootstrap is twice that of one side
    return max(math.ceil(round(ends * pairs / tail, 6)), math.ceil(round(2 * BEYOND / tail, 6)))


def is_decided(difference: Interval) -> bool:
    """Whether an interval leaves out 0."""
    return difference.low is not None and difference.high is not None and not difference.low <= 0 <= difference.high


def render_comparison(comparison: Comparison, metric: Metric = "f1", correction: Correction = "holm") -> Group:
    """Averages with intervals, the pairs that differ, largest difference first, and the note."""
    from rich.console import Group
    from rich.text import Text

    found = comparison.metrics[metric]
    crosses = any(question != context for question, context in found.pairs)
    shown = [name for name in AVERAGES if name in found.averages and (crosses or name in ("xlt", "micro"))]
    parts: list[Table | Text] = [
        _table(
            f"{metric.upper()} (%)",
            comparison,
            [(AVERAGES[name], found.averages[name]) for name in shown],
            "p",
        )
    ]
    decided = [(pair, item) for pair, item in found.pairs.items() if item.sign(correction, comparison.level)]
    if decided and len(found.pairs) > 1:
        decided.sort(key=lambda entry: -abs(entry[1].difference.value))
        rows = [(f"{question} / {context}", item) for (question, context), item in decided[:SHOWN_PAIRS]]
        parts.append(_table("question / context", comparison, rows, {"holm": "p_holm", "bh": "p_bh"}[correction]))
        if len(decided) > SHOWN_PAIRS:
            parts.append(Text(f"and {len(decided) - SHOWN_PAIRS} more pairs that differ (--json has all)", "dim"))
    parts.append(Text(note(comparison), "dim"))
    return Group(*parts)


def _table(first: str, comparison: Comparison, rows: list[tuple[str, Difference]], p_value: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, show_edge=False)
    table.add_column(first, no_wrap=True)
    interval = f"{100 * comparison.level:g}% interval"
    headings = (comparison.a, comparison.b, "diff.", interval, p_value.replace("_", " "), "effect")
    for number, heading in enumerate(headings):
        # On a narrow terminal the names give way, never the numbers.
        table.add_column(Text(heading), justify="right", overflow="fold", no_wrap=number > 1)
    for name, item in rows:
        p = getattr(item, p_value)
        table.add_row(
            name,
            f"{100 * item.a.value:.1f}",
            f"{100 * item.b.value:.1f}",
            one_decimal(100 * item.difference.value, signed=True),
            _range(item.difference),
            "<0.001" if p < 0.001 else f"{p:.3f}",
            NOTHING if item.effect is None else f"{item.effect:+.2f}",
        )
    return table


def _range(interval: Interval, sign: int = 1) -> str:
    if interval.low is None or interval.high is None:
        return "unknown"
    low, high = sorted((sign * 100 * interval.low, sign * 100 * interval.high))
    return f"{one_decimal(low)} to {one_decimal(high)}"


def _measure(comparison: Comparison, metric: Metric) -> str:
    """The mean over all pairs by the name that the pairs allow."""
    pairs = comparison.metrics[metric].pairs
    if any(question != context for question, context in pairs):
        return f"{metric.upper()} G-XLT"
    return metric.upper() if len(pairs) == 1 else f"{metric.upper()} over {len(pairs)} languages"
