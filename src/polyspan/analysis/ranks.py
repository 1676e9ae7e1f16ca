"""At which rank the first correct answer stands (Carrino et al. 2023, Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyspan.corpus.model import Pair, ParallelCorpus
from polyspan.evaluation.matrix import RowScore

if TYPE_CHECKING:
    from polyspan.analysis.runs import Found


@dataclass(frozen=True)
class AnswerRanks:
    """Counts by question language; languages have different numbers of questions, so rates stand beside them.

    Attributes:
        asked: rows of each question language whose text holds an answer; languages without one are left out.
        counts: of each, the rows whose first correct answer stands at rank 1, 2, ..., depth.
        depth: answers that were kept of a row.
        unanswerable: rows whose text holds none.
    """

    asked: dict[str, int]
    counts: dict[str, list[int]]
    depth: int
    unanswerable: int = 0

    def within(self, language: str) -> float:
        """Share of the rows of a language with a correct answer at any rank; in [0, 1]."""
        return sum(self.counts[language]) / self.asked[language]


def first_correct(
    corpus: ParallelCorpus, rows: Sequence[RowScore], answers: Sequence[Sequence[Found]]
) -> list[int | None]:
    """Rank of each row's first correct answer, from 1; 0 where none is correct, None where the text holds none.

    Correct is the same string as a gold answer, as in the paper: nothing is normalised.

    Args:
        corpus: holds the texts.
        rows: what was asked.
        answers: of each row, best first.
    """
    ranks: list[int | None] = []
    for row, found in zip(rows, answers, strict=True):
        pair = Pair(row.id, row.question_language, row.context_language)
        golds = {answer.text for answer in corpus.answers(pair)}
        if not golds:
            ranks.append(None)
            continue
        text = corpus.context(pair)
        ranks.append(next((rank for rank, a in enumerate(found, start=1) if text[a.start : a.end] in golds), 0))
    return ranks


def count_ranks(rows: Sequence[RowScore], ranks: Sequence[int | None], depth: int) -> AnswerRanks:
    """Sort ranks by question language, over all contexts.

    Args:
        rows: what was asked.
        ranks: as `first_correct` gives them.
        depth: answers that were kept of a row.
    """
    answerable = [(row, rank) for row, rank in zip(rows, ranks, strict=True) if rank is not None]
    languages = sorted({row.question_language for row, _ in answerable})
    asked = dict.fromkeys(languages, 0)
    counts = {language: [0] * depth for language in languages}
    for row, rank in answerable:
        asked[row.question_language] += 1
        if rank:
            counts[row.question_language][rank - 1] += 1
    return AnswerRanks(asked, counts, depth, len(rows) - len(answerable))
