"""Runs sorted by what they were asked, with everything that tables and figures need of them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from polyspan.analysis.ranks import AnswerRanks, count_ranks, first_correct
from polyspan.analysis.runs import ReportError, Run, data_name, told_apart, without_paths
from polyspan.corpus.load import load_corpus
from polyspan.corpus.model import CorpusError, ParallelCorpus
from polyspan.errors import PolyspanError
from polyspan.evaluation.compare import DRAWS, Comparison, Interval, compare_all, score_intervals
from polyspan.evaluation.evaluate import passage_digest
from polyspan.evaluation.matrix import Metric
from polyspan.evaluation.record import EvaluationRecord
from polyspan.evaluation.rows import Method as Compared

if TYPE_CHECKING:
    from polyspan.evaluation.resampling import Kind

Intervals = dict[Metric, dict["Kind", dict[object, Interval]]]


@dataclass(frozen=True)
class Group:
    """Runs that were asked the same questions; the first is what the others are compared with.

    Attributes:
        label: of the data set, for people.
        key: the same, for names of files.
        runs: in the order they were named.
        corpus: the texts; None where they are not here, and ``missing`` says why.
        draws: of the bootstrap and the permutation test.
    """

    label: str
    key: str
    runs: Sequence[Run]
    corpus: ParallelCorpus | None = field(repr=False, default=None)
    missing: str | None = None
    draws: int = DRAWS

    @cached_property
    def intervals(self) -> list[Intervals | None]:
        """Of each run, by metric, kind and name, as `score_intervals` gives them; None for a single question."""
        return [
            score_intervals(Compared(run.name, [run.rows]), draws=self.draws)
            if len({row.id for row in run.rows}) > 1
            else None
            for run in self.runs
        ]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Each later run against the first: differences are its scores minus the first's.

        Raises:
            ScoringError: they were asked different questions.
        """
        if self.intervals[0] is None or len(self.runs) < 2:
            return []
        methods = [Compared(run.name, [run.rows]) for run in self.runs]
        return compare_all(methods, draws=self.draws, with_first=True)

    @cached_property
    def first_correct(self) -> list[list[int | None]] | None:
        """Of each run and row the rank of the first correct answer, see `first_correct`; None without texts."""
        corpus = self.corpus
        return None if corpus is None else [first_correct(corpus, run.rows, run.answers) for run in self.runs]

    @cached_property
    def ranks(self) -> list[AnswerRanks] | None:
        """The answer ranks of each run; None without texts."""
        if self.first_correct is None:
            return None
        return [
            count_ranks(run.rows, ranks, max(1, *map(len, run.answers)))
            for run, ranks in zip(self.runs, self.first_correct, strict=True)
        ]

    @property
    def cross_lingual(self) -> bool:
        """Whether questions and contexts of different languages were asked."""
        return any(run.is_cross_lingual for run in self.runs)


def system_key(run: Run) -> str:
    """The same for every evaluation of one model."""
    if run.recipe is not None:
        return str(run.home.resolve())
    return run.evaluation.model if run.evaluation else str(run.folder)


def group_runs(runs: Sequence[Run], data: Path | None = None, draws: int = DRAWS) -> list[Group]:
    """Sort runs by what they were asked, in the order of their first.

    Args:
        runs: of any data sets.
        data: where the texts lie, for runs whose own path is not there any more.
        draws: of the bootstrap and the permutation test.
    """
    sorted_runs: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        record = run.evaluation
        what = (
            (record.path, record.kind, str(sorted(record.languages or ())), str(record.limit), record.rules)
            if record
            else ("",)
        )
        sorted_runs.setdefault(what, []).append(run)
    groups: list[Group] = []
    for same, label in zip(sorted_runs.values(), _labels([same[0] for same in sorted_runs.values()]), strict=True):
        corpus, missing = _texts(same, data)
        key = free_key(_file_name(label), {group.key for group in groups})
        groups.append(Group(label, key, same, corpus, missing, draws))
    return groups


def free_key(key: str, taken: Container[str]) -> str:
    """The key, or the first of key-2, key-3, ... that is free: names unlike each other may be alike as file names."""
    numbered = (f"{key}-{number}" for number in count(2))
    return next(free for free in chain([key], numbered) if free not in taken)


def _labels(runs: Sequence[Run]) -> list[str]:
    """What each run's data set is called: by as much of its path as tells it from the others, and its rules."""
    most = max((len(Path(run.evaluation.path).parts) for run in runs if run.evaluation), default=0)
    labels = told_apart([run.data_label() for run in runs], lambda at, parts: runs[at].data_label(parts), most)
    return [
        f"{label}, {run.evaluation.rules} rules" if run.evaluation and labels.count(label) > 1 else label
        for run, label in zip(runs, labels, strict=True)
    ]


def _texts(runs: Sequence[Run], data: Path | None) -> tuple[ParallelCorpus | None, str | None]:
    record = runs[0].evaluation
    if record is None:
        return None, "the folder has no evaluation.json that would name its data"
    if data is not None and Path(record.path).is_absolute() and not Path(record.path).exists():
        # One folder may hold the data of several groups, as the one before did.
        ends = [Path(*Path(record.path).parts[-parts:]) for parts in (1, 2)]
        why = None
        for place in (data, *(data / end for end in ends)):
            try:
                return _texts_at(place, record, runs), None
            except PolyspanError as error:
                why = why or without_paths(str(error).replace(str(place), data_name(str(place))))
        return None, f"{why}; --data names the folder of another set, or one that was changed"
    try:
        return _texts_at(record.path, record, runs), None
    except CorpusError as error:
        # The page is for others too, who are not to read where somebody's files lie.
        why = without_paths(str(error).replace(record.path, data_name(record.path)))
        return None, f"{why}; name the folder with --data"


def _texts_at(path: str | Path, record: EvaluationRecord, runs: Sequence[Run]) -> ParallelCorpus:
    """The texts there.

    Raises:
        CorpusError: they cannot be read.
        ReportError: they are not those that the runs were asked.
    """
    corpus = load_corpus(path, kind=record.kind, languages=record.languages)
    digests = {key: passage_digest(passage.text) for key, passage in corpus.passages.items()}
    for run in runs:
        for row in run.rows:
            seed = corpus.seeds.get(row.id)
            passage = seed.passages.get(row.context_language) if seed else None
            if passage is None or row.question_language not in seed.questions or digests[passage] != row.passage:  # type: ignore[union-attr]
                raise ReportError(
                    f"{run.folder}: question {row.id!r} reads another {row.context_language} text than {path} holds;"
                    " the data set was changed since: evaluate again"
                )
    return corpus


def _file_name(label: str) -> str:
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in label.lower())
    return "-".join(part for part in kept.split("-") if part) or "data"
