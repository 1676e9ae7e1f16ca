"""What a training recorded, over its steps: the mAP@k coefficient and the terms of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyspan.analysis.figure import BLUE, INK, MUTED, ORANGE, FigureError, figure_file

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

WINDOW = 0.04
"""How much of a training the running mean covers."""
_SIZE = 7.0, 3.4
_MOST_EPOCH_LABELS = 12
_TERMS = {"loss": ("total", INK), "ce": ("cross-entropy", BLUE), "kl": ("distillation (KL)", ORANGE)}


def draw_coefficients(history: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw the coefficient of the distillation term over training (Carrino et al. 2023, figure 4).

    A thin line is the coefficient of each step, a thick one its running mean over 4% of the steps;
    upright lines are the ends of epochs.

    Args:
        history: one mapping a step with ``step``, ``epoch`` and ``coefficient``, as in
            ``metrics.jsonl``.
        path: ``.svg`` or ``.png``.
        title: above the figure.

    Raises:
        FigureError: the history is empty or a key is missing, or the suffix is another.
    """
    steps, epochs, values = _columns(history, path, "step", "epoch", "coefficient")
    with figure_file(path, *_SIZE, title) as figure:
        axes = figure.add_subplot()
        _line(axes, steps, values, BLUE, "coefficient")
        _frame(axes, steps, epochs, "coefficient")
        # One of the variants, Eq. 5 with k > 2 delta, can exceed 1.
        axes.set_ylim(0, 1.05 * max(1.0, _highest(values)))


def draw_loss(history: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw the loss over training with its terms, cross-entropy and divergence before weighting.

    A term that is 0 throughout is left out, as is the total where it is one term alone. Lines break
    where a number is missing, as of a training that diverged.

    Args:
        history: one mapping a step with ``step``, ``epoch``, ``loss``, ``ce`` and ``kl``.
        path: ``.svg`` or ``.png``.
        title: above the figure.

    Raises:
        FigureError: the history is empty or a key is missing, or the suffix is another.
    """
    import numpy as np

    steps, epochs, *columns = _columns(history, path, "step", "epoch", *_TERMS)
    terms = {key: values for key, values in zip(_TERMS, columns, strict=True) if values.any()}
    if terms.keys() == {"loss", "ce"} and np.array_equal(terms["loss"], terms["ce"], equal_nan=True):
        del terms["loss"]
    with figure_file(path, *_SIZE, title) as figure:
        axes = figure.add_subplot()
        for key, values in terms.items():
            name, colour = _TERMS[key]
            _line(axes, steps, values, colour, name)
        _frame(axes, steps, epochs, "loss")
        axes.set_ylim(0, 1.05 * max(map(_highest, terms.values()), default=1.0))
        figure.legend(frameon=False, ncols=3, loc="outside lower center")


def running_mean(values: Numbers, window: int) -> Numbers:
    """Mean over the ``window`` values around each, fewer at both ends; (steps,) to (steps,)."""
    import numpy as np

    ones = np.ones(min(window, len(values)))
    return np.convolve(values, ones, "same") / np.convolve(np.ones_like(values), ones, "same")


def _columns(history: Sequence[Mapping[str, Any]], path: Path, *keys: str) -> list[Numbers]:
    import numpy as np

    if not history:
        raise FigureError(f"{path}: nothing was recorded to draw")
    for number, row in enumerate(history, start=1):
        if missing := [key for key in keys if key not in row]:
            raise FigureError(f"{path}: row {number} of the history has no {missing[0]!r}")
    return [np.array([row[key] for row in history], dtype=np.float64) for key in keys]


def _highest(values: Numbers) -> float:
    """Of what can be drawn; 1 where nothing can."""
    import numpy as np

    drawn = values[np.isfinite(values)]
    return float(drawn.max()) if drawn.size else 1.0


def _line(axes: Axes, steps: Numbers, values: Numbers, colour: str, name: str) -> None:
    window = max(1, round(WINDOW * len(steps)))
    axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
    axes.plot(steps, running_mean(values, window), color=colour, linewidth=1.8, label=name)


def _frame(axes: Axes, steps: Numbers, epochs: Numbers, label: str) -> None:
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel=label, xlim=(min(steps[0], 0), steps[-1]))
    axes.grid(axis="y")
    ends = np.arange(max(1, np.ceil(epochs[0])), np.floor(epochs[-1]) + 1)
    positions = np.interp(ends, epochs, steps)
    for position in positions:
        axes.axvline(position, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    top = axes.secondary_xaxis("top")
    every = -(-len(ends) // _MOST_EPOCH_LABELS) or 1
    top.set_xticks(positions[every - 1 :: every], [f"epoch {end:.0f}" for end in ends[every - 1 :: every]])
    top.tick_params(length=0, labelsize=8, labelcolor=MUTED)
    top.spines["top"].set_visible(False)
