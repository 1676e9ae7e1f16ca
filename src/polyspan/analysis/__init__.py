"""Figures of what was measured and recorded."""

from polyspan.analysis.curves import draw_coefficients, draw_loss
from polyspan.analysis.figure import FigureError
from polyspan.analysis.heatmap import draw_matrix

__all__ = ["FigureError", "draw_coefficients", "draw_loss", "draw_matrix"]
