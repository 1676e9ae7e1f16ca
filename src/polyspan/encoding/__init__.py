"""Pairs to token windows and batches, logits to ranked spans."""

from polyspan.encoding.batches import token_batches
from polyspan.encoding.spans import Span, best_token_spans, rank_spans, window_candidates
from polyspan.encoding.tokens import EncodingError, TokenisedCorpus, tokenise_corpus
from polyspan.encoding.windows import Batch, Windows, build_batch, make_windows

__all__ = [
    "Batch",
    "EncodingError",
    "Span",
    "TokenisedCorpus",
    "Windows",
    "best_token_spans",
    "build_batch",
    "make_windows",
    "rank_spans",
    "token_batches",
    "tokenise_corpus",
    "window_candidates",
]
