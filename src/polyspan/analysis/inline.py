"""Figures and coloured cells inside the report's page: in its own colours, by day and by night."""

from __future__ import annotations

import re
from html import escape

from polyspan.analysis.figure import BLUE, GREEN, INK, LINE, MUTED, ORANGE
from polyspan.analysis.heatmap import text_colour

# What the figures are drawn in, and the page's names for it, which differ in the dark.
_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
}
_FONT = re.compile(r"'DejaVu Sans'[^;\"]*")
_WHITE_SHAPE = re.compile(r'(<path [^>]*style=")fill: #ffffff')
_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(url\(#|href="#)([^)"]+)')


def inline_svg(svg: str, key: str, label: str) -> str:
    """An SVG file as part of a page.

    Ids get a prefix, as a page holds several figures; colours become the page's; the figure is one
    image to a screen reader, with a label.

    Args:
        svg: the file's text.
        key: unlike those of the page's other figures.
        label: what is read aloud.
    """
    body = svg[svg.index("<svg") :]
    head, rest = body.split(">", 1)
    width = float(re.search(r'width="([\d.]+)pt"', head).group(1))  # type: ignore[union-attr]
    view_box = re.search(r'viewBox="[^"]+"', head).group()  # type: ignore[union-attr]
    rest = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", rest, flags=re.DOTALL)
    # White shapes are the paper; white numbers on dark cells stay.
    rest = _WHITE_SHAPE.sub(r"\1fill: none", rest).replace("stroke: #ffffff", "stroke: var(--paper)")
    for drawn, named in _COLOURS.items():
        rest = rest.replace(drawn, named)
    rest = _FONT.sub("var(--sans)", rest)
    rest = _ID.sub(rf'id="{key}-\1"', rest)
    rest = _REFERENCE.sub(rf"\g<1>{key}-\2", rest)
    return (
        f'<svg {view_box} role="img" aria-label="{escape(label)}" style="width:100%;max-width:{width * 1.35:.0f}px"'
        f' xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'
    )


def cell_style(value: float, signed_limit: float | None = None) -> str:
    """Background and text colour of a heat map's cell, the same as in the figures.

    Args:
        value: in percent.
        signed_limit: for a difference, the value of full colour; None for a score from 0 to 100.
    """
    import matplotlib

    if signed_limit is None:
        red, green, blue, _ = matplotlib.colormaps["viridis"](value / 100)
    else:
        red, green, blue, _ = matplotlib.colormaps["RdBu"](0.5 + value / (2 * signed_limit))
    colour = "".join(f"{round(255 * part):02x}" for part in (red, green, blue))
    return f"background:#{colour};color:{text_colour(red, green, blue)}"
