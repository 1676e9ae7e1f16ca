"""Answers from Python."""

from polyspan.answering.answerer import Answerer, Answers

__all__ = ["Answerer", "Answers"]
