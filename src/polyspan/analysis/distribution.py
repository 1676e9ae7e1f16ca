"""Where a model sees the start and the end of one answer (Carrino et al. 2023, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyspan.analysis.figure import BLUE, GREEN, MUTED, ORANGE, figure_file
from polyspan.corpus.model import CorpusError, Pair, ParallelCorpus

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Distribution:
    """Probabilities of one window over its context tokens, in context order.

    Attributes:
        pair: question and context.
        start, end: softmax over the context tokens, one number a token.
        gold_start, gold_end: tokens of the gold answer, from 0 at the window's first context token.
        k: how many best positions the coefficient looks at.
        delta: half width of the interval around a gold position, in tokens.
    """

    pair: Pair
    start: list[float]
    end: list[float]
    gold_start: int
    gold_end: int
    k: int
    delta: int

    def best(self, head: str) -> list[int]:
        """The k likeliest tokens of a head, ``start`` or ``end``, best first."""
        values = self.start if head == "start" else self.end
        return sorted(range(len(values)), key=lambda token: (-values[token], token))[: self.k]

    def gold(self, head: str) -> int:
        """The gold token of a head."""
        return self.gold_start if head == "start" else self.gold_end

    def first_hit(self, head: str) -> int | None:
        """Rank, from 1, of the first of the best tokens within [gold - delta, gold + delta - 1]; None if none is.

        The interval is the one that the coefficient ``first_hit`` counts in.
        """
        gold = self.gold(head)
        ranks = enumerate(self.best(head), start=1)
        return next((rank for rank, token in ranks if gold - self.delta <= token < gold + self.delta), None)


def answer_distribution(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    corpus: ParallelCorpus,
    pair: Pair,
    k: int = 10,
    delta: int = 5,
) -> Distribution:
    """Run a model over the window that holds the gold answer of a pair.

    Args:
        model, tokenizer: a reader.
        corpus: holds the texts.
        pair: what is asked.
        k, delta: as in the coefficients.

    Raises:
        CorpusError: the pair is unknown, or no window holds its answer.
    """
    import torch

    from polyspan.encoding.tokens import tokenise_corpus
    from polyspan.encoding.windows import build_batch, make_windows

    seed = corpus.seeds.get(pair.id)
    if seed is None or pair.question_language not in seed.questions or pair.context_language not in seed.passages:
        raise CorpusError(
            f"{corpus.name}: no question {pair.id!r} in {pair.question_language} over {pair.context_language}"
        )
    windows = make_windows(tokenise_corpus(corpus, [pair], tokenizer), [pair])
    holding = [index for index in range(len(windows)) if windows.gold_start[index] > 0]
    if not holding:
        raise CorpusError(f"{corpus.name}: no window holds the answer to {pair.id!r} in {pair.context_language}")
    # Between overlapping windows, the one that shows most on both sides of the answer.
    index = max(holding, key=lambda i: min(windows.gold_start[i], windows.lengths()[i] - windows.gold_end[i]))
    batch = build_batch(windows, [index])
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        outputs = model(**{name: tensor.to(device) for name, tensor in batch.inputs.items()})
    mask = batch.context_mask[0]
    heads = [logits[0].float().cpu()[mask] for logits in (outputs.start_logits, outputs.end_logits)]
    if not all(head.isfinite().all() for head in heads):
        raise CorpusError("the model's scores are no numbers: its training diverged")
    first = int(mask.nonzero()[0])
    start, end = (head.softmax(0).tolist() for head in heads)
    gold_start, gold_end = int(windows.gold_start[index]) - first, int(windows.gold_end[index]) - first
    return Distribution(pair, start, end, gold_start, gold_end, k, delta)


def draw_distribution(distribution: Distribution, path: Path, title: str) -> None:
    """Draw the start above the end: probability by token, the interval as a band, the best k as dots.

    Args:
        distribution: of one example.
        path: ``.svg`` or ``.png``.
        title: above the figure.

    Raises:
        FigureError: another suffix.
    """
    with figure_file(path, 7.6, 4.4, title) as figure:
        panels = figure.subplots(2, 1, sharex=True)
        for axes, head, colour in zip(panels, ("start", "end"), (BLUE, ORANGE), strict=True):
            values = distribution.start if head == "start" else distribution.end
            gold, best = distribution.gold(head), distribution.best(head)
            axes.axvspan(
                gold - distribution.delta - 0.5, gold + distribution.delta - 0.5, color=GREEN, alpha=0.18, linewidth=0
            )
            axes.axvline(
                gold, color=GREEN, linewidth=1.4, linestyle=(0, (4, 2)), label="gold position, with its interval"
            )
            axes.vlines(range(len(values)), 0, values, color=colour, linewidth=1.2)
            axes.plot(
                best, [values[token] for token in best], "o", color=colour, markersize=4, label=f"best {len(best)}"
            )
            axes.set(ylabel=f"P({head})", xlim=(-1, len(values)))
            axes.set_ylim(0, 1.18 * max(values))
            axes.grid(axis="y")
            rank = distribution.first_hit(head)
            found = f"first of them in the interval: rank {rank}" if rank else "none of them in the interval"
            axes.set_title(found, loc="right", fontsize=9, fontweight="normal", color=MUTED, pad=4)
        panels[1].set_xlabel("token of the context window")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, fontsize=9, ncols=2, loc="outside lower center")
