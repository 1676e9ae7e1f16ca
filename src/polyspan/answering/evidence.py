"""What a model thought of rows whose answers are known: all that calibration is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polyspan.corpus.model import Pair, ParallelCorpus
from polyspan.encoding.predict import read_windows
from polyspan.encoding.spans import EXCLUDED, UNSCALED, Candidates, Scaling, rank_spans, window_candidates
from polyspan.encoding.tokens import tokenise_corpus
from polyspan.encoding.windows import make_windows
from polyspan.evaluation.evaluate import usual_window
from polyspan.evaluation.normalise import Rules
from polyspan.evaluation.scores import score_answer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Rows, each a question over a context, and the logits of their windows.

    Attributes:
        pairs: the rows.
        answerable: (rows,), whether the context holds an answer.
        correct: (rows,), whether the best span is one (exact match of the normal forms).
        best: (rows,), start + end logit of the best span.
        null: (rows,), the same of "no answer", the least of all windows.
        owner: (windows,), the row of each window.
        starts, ends: (windows, tokens), logits of the context tokens, the rest at `EXCLUDED`.
    """

    pairs: list[Pair]
    answerable: NDArray[np.bool_]
    correct: NDArray[np.bool_]
    best: Floats
    null: Floats
    owner: NDArray[np.int64]
    starts: NDArray[np.float32]
    ends: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pairs)

    def rows(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Some of the rows; chosen: (rows,)."""
        windows = chosen[self.owner]
        number = np.cumsum(chosen) - 1
        return Evidence(
            [pair for pair, kept in zip(self.pairs, chosen, strict=True) if kept],
            self.answerable[chosen],
            self.correct[chosen],
            self.best[chosen],
            self.null[chosen],
            number[self.owner[windows]],
            self.starts[windows],
            self.ends[windows],
        )

    def shares(self, temperature: Floats | float) -> tuple[Floats, Floats]:
        """At one temperature, or one for each row.

        Returns:
            log of the best span's share of all spans, and log odds of "no answer" against all
            spans; both (rows,).
        """
        temperatures = np.broadcast_to(np.asarray(temperature, np.float64), len(self))
        of_window = temperatures[self.owner][:, None].astype(np.float32)
        masses = _logsumexp(self.starts / of_window) + _logsumexp(self.ends / of_window)
        total = np.full(len(self), -np.inf)
        np.logaddexp.at(total, self.owner, masses)
        return self.best / temperatures - total, self.null / temperatures - total

    def probabilities(self, scaling: Callable[[Pair], Scaling]) -> tuple[Floats, Floats]:
        """The best span's score and the probability of "no answer", as prediction gives them; both (rows,)."""
        scalings = [scaling(pair) for pair in self.pairs]
        log_share, odds = self.shares(np.array([s.temperature for s in scalings]))
        odds = np.array([s.null_slope for s in scalings]) * odds + np.array([s.null_bias for s in scalings])
        softplus = np.logaddexp(0.0, odds)
        return np.exp(log_share - softplus), np.exp(odds - softplus)


def gather(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpus: ParallelCorpus,
    pairs: Sequence[Pair],
    rules: Rules,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Ask the pairs; those without gold answers count as not answerable.

    Args:
        model, tokenizer, corpus, pairs, progress: as `predict` takes them.
        rules: by which an answer is right.
    """
    window = usual_window(model.config, tokenizer)
    windows = make_windows(tokenise_corpus(corpus, pairs, tokenizer), pairs, window, labelled=False)
    longest = int((windows.end - windows.begin).max(initial=1))
    starts = np.full((len(windows), longest), EXCLUDED, np.float32)
    ends = starts.copy()
    found: list[list[tuple[int, Candidates]]] = [[] for _ in pairs]
    for indices, batch, start_logits, end_logits in read_windows(model, windows, progress=progress):
        owners = windows.pair_index[indices].tolist()
        first = [windows.context_position(pairs[owner]) for owner in owners]
        candidates = window_candidates(start_logits, end_logits, batch.context_mask.to(start_logits.device), first)
        for row, (index, owner) in enumerate(zip(indices, owners, strict=True)):
            begin, end = int(windows.begin[index]), int(windows.end[index])
            stretch = slice(first[row], first[row] + end - begin)
            starts[index, : end - begin] = start_logits[row, stretch].cpu().numpy()
            ends[index, : end - begin] = end_logits[row, stretch].cpu().numpy()
            found[owner].append((begin, candidates[row]))
    answerable, correct, best = [], [], []
    for pair, parts in zip(pairs, found, strict=True):
        spans, _ = rank_spans(windows.passage(pair), corpus.context(pair), parts, 1, UNSCALED)
        golds = [answer.text for answer in corpus.answers(pair)]
        text = spans[0].text if spans else None
        answerable.append(bool(golds))
        correct.append(bool(golds) and score_answer(text, golds, pair.context_language, rules, strict=False).em == 1.0)
        best.append(max((c.spans[0][2] for _, c in parts if c.spans), default=2 * EXCLUDED))
    return Evidence(
        list(pairs),
        np.array(answerable, np.bool_),
        np.array(correct, np.bool_),
        np.array(best, np.float64),
        np.array([min(c.null for _, c in parts) for parts in found], np.float64),
        windows.pair_index.astype(np.int64),
        starts,
        ends,
    )


def _logsumexp(logits: NDArray[np.float32]) -> Floats:
    top = logits.max(axis=1, keepdims=True)
    total: Floats = (np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]).astype(np.float64)
    return total
