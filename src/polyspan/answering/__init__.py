"""Answers from Python."""

from polyspan.answering.answerer import Answerer, Answers, Reading
from polyspan.answering.asked import Asked, AskedError

__all__ = ["Answerer", "Answers", "Asked", "AskedError", "Reading"]
