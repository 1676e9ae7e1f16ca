"""How every figure is styled and written."""

from __future__ import annotations

import warnings
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
LINE = "#e6e6e6"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
"""Okabe and Ito's, which people with colour-blindness can tell apart."""
_MARGIN = 0.1  # beside the title, in inches
TITLE_SIZE = 12.0
_TITLE_LINE = 0.21  # inches
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": TITLE_SIZE,
    "font.size": 10.0,
    "grid.color": LINE,
    "legend.labelcolor": INK,
    "savefig.dpi": 200.0,
    # Text stays text: it can be searched and read aloud, and the file is small.
    "svg.fonttype": "none",
    # Ids inside an SVG are random without it.
    "svg.hashsalt": "polyspan",
    "text.color": INK,
    # Names of runs and data may hold dollar signs, between which no formula stands.
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}
# No dates and versions, so that the same figure is the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


class FigureError(PolyspanError):
    """A figure that cannot be drawn from what was given, or not in the format asked for."""


@contextmanager
def figure_file(path: Path, width: float, height: float, title: str) -> Iterator[Figure]:
    """Yield an empty figure in the house style and write it when the block ends.

    The user's matplotlib settings do not reach it, no window system is needed, and the same figure
    is the same bytes in every run.

    Args:
        path: ``.svg`` or ``.png``; written whole or not at all.
        width, height: in inches; where the title takes several lines the figure is higher.
        title: above everything, in as many lines as it takes.

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
        lines = wrapped(title, 72 * (width - 2 * _MARGIN))
        figure = Figure(figsize=(width, height + _TITLE_LINE * (len(lines) - 1)), layout="constrained")
        figure.suptitle(
            "\n".join(lines),
            x=_MARGIN / width,
            horizontalalignment="left",
            fontsize=TITLE_SIZE,
            fontweight="bold",
            color=INK,
        )
        yield figure
        with write_aside(path) as aside, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of a name; SVG leaves it to the reader
            figure.savefig(aside, format=suffix[1:], metadata=_METADATA[suffix])


def wrapped(title: str, width: float) -> list[str]:
    """Lines no wider than ``width`` in points; a word that is wider by itself is cut."""
    lines, line = [], ""
    for word in title.split():
        if line and _title_width(f"{line} {word}") <= width:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        while _title_width(word) > width:
            fitting = max(1, sum(_title_width(word[:end]) <= width for end in range(1, len(word))))
            lines.append(word[:fitting])
            word = word[fitting:]
        line = word
    return [*lines, line]


def _title_width(text: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=TITLE_SIZE, prop=FontProperties(weight="bold")).get_extents().width)
