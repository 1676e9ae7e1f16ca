"""What a question, passage, answer and pair are; readers; cross-lingual sampling."""

from polyspan.corpus.load import load_corpus
from polyspan.corpus.model import Answer, CorpusError, Pair, ParallelCorpus, Passage, Seed
from polyspan.corpus.sampling import diagonal_pairs, sample_pairs

__all__ = [
    "Answer",
    "CorpusError",
    "Pair",
    "ParallelCorpus",
    "Passage",
    "Seed",
    "diagonal_pairs",
    "load_corpus",
    "sample_pairs",
]
