"""What an export must pass: F1 by language and best answers, before and after, on real questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyspan.corpus.model import Pair, ParallelCorpus
    from polyspan.evaluation.normalise import Rules
    from polyspan.models.load import LoadedModel

MAX_LOSS = 1.0


@dataclass(frozen=True)
class Gate:
    """What is asked before and after, and how much may be lost.

    Attributes:
        corpus, pairs: the rows.
        rules: of scoring.
        max_loss: the most points of F1, of 100, that any context language may lose.
    """

    corpus: ParallelCorpus
    pairs: Sequence[Pair]
    rules: Rules
    max_loss: float = MAX_LOSS


@dataclass(frozen=True)
class LanguageCheck:
    """One context language: mean F1 in [0, 1] before and after, and the share of rows with the same best answer."""

    language: str
    rows: int
    before: float
    after: float
    same: float

    @property
    def loss(self) -> float:
        """Points of F1, of 100, that were lost; below 0 where it was gained."""
        return 100 * (self.before - self.after)

    def to_dict(self) -> dict[str, Any]:
        """The fields, for a file."""
        return asdict(self)


def check_export(
    before: LoadedModel, after: LoadedModel, gate: Gate, progress: Callable[[str], None] | None = None
) -> list[LanguageCheck]:
    """Ask both the same, each in its own precision, and compare them by context language.

    Args:
        before, after: readers with the same tokeniser.
        gate: what is asked.
        progress: called with what is being done.
    """
    from polyspan.encoding.predict import predict
    from polyspan.evaluation.evaluate import score_rows, usual_window

    longest = usual_window(before.model.config, before.tokenizer)
    f1, best = [], []
    for loaded, moment in ((before, "before"), (after, "after")):

        def move(done: int, total: int, moment: str = moment) -> None:
            if progress is not None:
                progress(f"measuring {moment}: {done / total:.0%}")

        predictions = predict(
            loaded.model, loaded.tokenizer, gate.corpus, gate.pairs, max_length=longest, progress=move
        )
        f1.append([row.f1 for row in score_rows(gate.corpus, predictions, gate.rules)])
        best.append([(p.spans[0].start, p.spans[0].end) if p.spans else None for p in predictions])
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for at, pair in enumerate(gate.pairs):
        rows[pair.context_language].append(at)
    return [
        LanguageCheck(
            language,
            len(chosen),
            fmean(f1[0][at] for at in chosen),
            fmean(f1[1][at] for at in chosen),
            fmean(best[0][at] == best[1][at] for at in chosen),
        )
        for language, chosen in sorted(rows.items())
    ]
