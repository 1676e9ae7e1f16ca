"""Figures of what was measured and recorded."""

from polyspan.analysis.curves import draw_coefficients, draw_loss
from polyspan.analysis.heatmap import FigureError, draw_matrix

__all__ = ["FigureError", "draw_coefficients", "draw_loss", "draw_matrix"]
