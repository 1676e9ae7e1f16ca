"""How far scores can be trusted: reliability, calibration error, risk and coverage."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BINS = 10
FEWEST_IN_BIN = 8
DRAWS = 200
CURVE_POINTS = 100


@dataclass(frozen=True)
class Bin:
    """Rows of similar confidence: how many, their mean confidence, and the share that was right."""

    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """Confidences held against what was right.

    Attributes:
        rows: how many.
        confidence, accuracy: means over all rows.
        ece: expected calibration error, in [0, 1]: the mean over bins of equally many rows of
            |confidence - accuracy|, weighted by rows (Guo et al. 2017, equation 3).
        ece_floor: the error to expect from sampling alone where every confidence is exactly right and rows
            are independent; with few rows it is far from 0, and a little more where rows share questions.
        brier: mean squared difference of confidence and outcome.
        bins: by rising confidence.
    """

    rows: int
    confidence: float
    accuracy: float
    ece: float
    ece_floor: float
    brier: float
    bins: tuple[Bin, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_reliability(confidences: Floats, right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Reliability of rows.

    Args:
        confidences: (rows,), in [0, 1].
        right: (rows,), what came true.
        bins: at most so many, fewer where they would hold less than a handful of rows.

    Raises:
        ValueError: no rows.
    """
    import numpy as np

    if not len(confidences):
        raise ValueError("there are no rows to measure")
    outcome = _shared(confidences, right)
    parts = np.array_split(np.argsort(confidences, kind="stable"), max(1, min(bins, len(confidences) // FEWEST_IN_BIN)))
    generator = np.random.default_rng(0)
    simulated = generator.random((DRAWS, len(confidences))) < confidences
    found = tuple(Bin(len(part), float(confidences[part].mean()), float(outcome[part].mean())) for part in parts)
    floor = sum(len(part) * np.abs(simulated[:, part].mean(axis=1) - confidences[part].mean()).mean() for part in parts)
    return Reliability(
        rows=len(confidences),
        confidence=float(confidences.mean()),
        accuracy=float(outcome.mean()),
        ece=sum(bin_.rows * abs(bin_.confidence - bin_.accuracy) for bin_ in found) / len(confidences),
        ece_floor=float(floor) / len(confidences),
        brier=float(np.square(confidences - right).mean()),
        bins=found,
    )


def _shared(scores: Floats, right: NDArray[np.bool_]) -> Floats:
    """(rows,), what came true of all rows with a row's score, so that the order of equal rows makes no difference."""
    import numpy as np

    _, place, rows = np.unique(scores, return_inverse=True, return_counts=True)
    shared: Floats = (np.bincount(place, right.astype(np.float64)) / rows)[place]
    return shared


@dataclass(frozen=True)
class RiskCoverage:
    """What it costs to answer more questions, the surest first (El-Yaniv and Wiener 2010).

    Attributes:
        coverage: share of the rows that are answered, rising.
        risk: share of the answers given that are wrong.
        score: the least score among them.
        area: mean risk over all coverages; less is better.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    score: tuple[float, ...]
    area: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def risk_coverage(scores: Floats, right: NDArray[np.bool_]) -> RiskCoverage:
    """The curve of rows, thinned to a hundred points.

    Args:
        scores: (rows,), the higher the surer.
        right: (rows,).

    Raises:
        ValueError: no rows.
    """
    import numpy as np

    if not len(scores):
        raise ValueError("there are no rows to measure")
    order = np.argsort(-scores, kind="stable")
    given = np.arange(1, len(order) + 1)
    risk = 1 - np.cumsum(_shared(scores, right)[order]) / given
    points = np.unique(np.linspace(0, len(order) - 1, CURVE_POINTS).round().astype(int))
    return RiskCoverage(
        coverage=tuple((given[points] / len(order)).tolist()),
        risk=tuple(risk[points].tolist()),
        score=tuple(scores[order][points].tolist()),
        area=float(risk.mean()),
    )
