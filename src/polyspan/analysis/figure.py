"""How every figure is styled and written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyspan.errors import PolyspanError
from polyspan.files import write_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#222222"
MUTED = "#767676"
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlepad": 12.0,
    "axes.titlesize": 12.0,
    "axes.titleweight": "bold",
    "font.size": 10.0,
    "grid.color": "#e6e6e6",
    "legend.labelcolor": INK,
    "savefig.dpi": 200.0,
    # Text stays text: it can be searched and read aloud, and the file is small.
    "svg.fonttype": "none",
    # Ids inside an SVG are random without it.
    "svg.hashsalt": "polyspan",
    "text.color": INK,
    # Names of runs and data may hold dollar signs, between which no formula stands.
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}
# No dates and versions, so that the same figure is the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}


class FigureError(PolyspanError):
    """A figure that cannot be drawn from what was given, or not in the format asked for."""


@contextmanager
def figure_file(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure in the house style and write it when the block ends.

    The user's matplotlib settings do not reach it, no window system is needed, and the same figure
    is the same bytes in every run.

    Args:
        path: ``.svg`` or ``.png``; written whole or not at all.
        width, height: in inches.

    Raises:
        FigureError: another suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in _METADATA:
        raise FigureError(f"{path}: figures are written as {' or '.join(_METADATA)}")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with write_aside(path) as aside:
            figure.savefig(aside, format=suffix[1:], metadata=_METADATA[suffix])
