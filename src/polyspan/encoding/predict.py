"""A model's answers to pairs: windows, batches, logits, ranked spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from polyspan.corpus.model import Pair, ParallelCorpus
from polyspan.encoding.batches import token_batches
from polyspan.encoding.precision import faster_in_bf16
from polyspan.encoding.spans import (
    MAX_ANSWER_TOKENS,
    UNSCALED,
    Candidates,
    Scaling,
    Span,
    rank_spans,
    window_candidates,
)
from polyspan.encoding.tokens import tokenise_corpus
from polyspan.encoding.windows import MAX_LENGTH, OVERLAP, Batch, Windows, build_batch, make_windows

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

BATCH_TOKENS = 8192
CPU_BATCH_TOKENS = 2048
"""What a processor's caches hold; larger batches are a fifth slower there."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Ranked answers to one pair; no spans at all means that none was found.

    Attributes:
        pair: the question and context languages and the id.
        spans: best first; with ``apart`` so for each window, one window after the other.
        no_answer: probability that the context holds no answer.
        question_cut: whether only the beginning of the question was read, because it takes half a window.
    """

    pair: Pair
    spans: list[Span]
    no_answer: float
    question_cut: bool = False


def predict(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    corpus: ParallelCorpus,
    pairs: Sequence[Pair],
    top_k: int = 1,
    max_length: int = MAX_LENGTH,
    overlap: int = OVERLAP,
    max_answer_tokens: int = MAX_ANSWER_TOKENS,
    batch_tokens: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    scaling: Callable[[Pair], Scaling] | None = None,
    apart: bool = False,
) -> list[Prediction]:
    """Answer every pair, in the order given.

    The forward pass runs under the caller's precision: wrap the call in ``torch.autocast`` or use
    `inference_precision`.

    Args:
        model: a question-answering model, on the device it is to run on.
        tokenizer: its tokeniser.
        corpus: holds the texts.
        pairs: what to answer.
        top_k: answers a pair.
        max_length, overlap: of windows, in tokens.
        max_answer_tokens: longest answer.
        batch_tokens: of a batch, windows times tokens of the longest; what suits the device when
            None, or the model itself where it has ``batch_tokens``.
        progress: called with the tokens read and their total after each batch; time goes by them.
        scaling: how the logits of a pair become probabilities; as they stand by default.
        apart: of `rank_spans`: ``top_k`` answers of each window, by its own probabilities.
    """
    windows = make_windows(tokenise_corpus(corpus, pairs, tokenizer), pairs, max_length, overlap, labelled=False)
    scalings = [scaling(pair) if scaling else UNSCALED for pair in pairs]
    of_pair: defaultdict[int, list[tuple[int, Candidates]]] = defaultdict(list)
    for indices, batch, start_logits, end_logits in read_windows(model, windows, batch_tokens, progress):
        owners = windows.pair_index[indices].tolist()
        temperatures = start_logits.new_tensor([[scalings[owner].temperature] for owner in owners])
        candidates = window_candidates(
            start_logits / temperatures,
            end_logits / temperatures,
            batch.context_mask.to(start_logits.device),
            [windows.context_position(pairs[owner]) for owner in owners],
            top_k,
            max_answer_tokens,
        )
        for index, owner, found in zip(indices, owners, candidates, strict=True):
            of_pair[owner].append((int(windows.begin[index]), found))
    predictions = []
    for index, pair in enumerate(pairs):
        spans, no_answer = rank_spans(
            windows.passage(pair), corpus.context(pair), of_pair[index], top_k, scalings[index], apart
        )
        predictions.append(Prediction(pair, spans, no_answer, windows.is_cut(pair)))
    return predictions


def read_windows(
    model: nn.Module,
    windows: Windows,
    batch_tokens: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[list[int], Batch, Tensor, Tensor]]:
    """Run the model over all windows, longest first.

    Yields:
        Which windows, their batch, and start and end logits in fp32, each (batch, tokens), on the
        model's device.
    """
    device = next(model.parameters()).device
    lengths = windows.lengths()
    done, total = 0, int(lengths.sum())
    if batch_tokens is None:
        batch_tokens = getattr(model, "batch_tokens", CPU_BATCH_TOKENS if device.type == "cpu" else BATCH_TOKENS)
    model.eval()
    for indices in token_batches(lengths.tolist(), batch_tokens):
        batch = build_batch(windows, indices)
        with torch.inference_mode():
            outputs = model(**{name: tensor.to(device) for name, tensor in batch.inputs.items()})
            starts, ends = outputs.start_logits.float(), outputs.end_logits.float()
        yield indices, batch, starts, ends
        done += int(lengths[indices].sum())
        if progress is not None:
            progress(done, total)


def inference_precision(model: nn.Module) -> torch.autocast | nullcontext[None]:
    """bf16 where the model's device multiplies faster in it, its own precision elsewhere."""
    device = next(model.parameters()).device.type
    return torch.autocast(device, dtype=torch.bfloat16) if faster_in_bf16(device) else nullcontext()
