"""Answer normalisation, EM and F1, the G-XLT matrix."""

from polyspan.evaluation.matrix import RowScore, ScoreMatrix
from polyspan.evaluation.normalise import ScoringError
from polyspan.evaluation.scores import Score, score_answer

__all__ = ["RowScore", "Score", "ScoreMatrix", "ScoringError", "score_answer"]
