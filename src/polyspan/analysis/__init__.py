"""Figures from recorded scores and metrics."""
