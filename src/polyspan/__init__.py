"""Question answering across languages: train, measure and serve span readers.

The names below are imported when they are first used, so that ``import polyspan`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyspan.answering import Answerer
    from polyspan.corpus import Pair, ParallelCorpus, load_corpus, sample_pairs
    from polyspan.evaluation import ScoreMatrix, score_answer
    from polyspan.experiments.recipe import load_recipe
    from polyspan.experiments.run import run_recipe
    from polyspan.models import load_model

_HOMES = {
    "Answerer": "polyspan.answering",
    "Pair": "polyspan.corpus",
    "ParallelCorpus": "polyspan.corpus",
    "ScoreMatrix": "polyspan.evaluation",
    "load_corpus": "polyspan.corpus",
    "load_model": "polyspan.models",
    "load_recipe": "polyspan.experiments.recipe",
    "run_recipe": "polyspan.experiments.run",
    "sample_pairs": "polyspan.corpus",
    "score_answer": "polyspan.evaluation",
}

__all__ = [
    "Answerer",
    "Pair",
    "ParallelCorpus",
    "ScoreMatrix",
    "load_corpus",
    "load_model",
    "load_recipe",
    "run_recipe",
    "sample_pairs",
    "score_answer",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("polyspan")
    if name not in _HOMES:
        raise AttributeError(f"module 'polyspan' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
