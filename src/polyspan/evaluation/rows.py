"""Scores question by question: read from a folder, and laid out so that two methods can be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from polyspan.evaluation.matrix import METRICS, Metric, RowScore
from polyspan.evaluation.normalise import ScoringError

if TYPE_CHECKING:
    import numpy as np

PREDICTIONS = "predictions.jsonl"
By = Literal["seed", "passage"]
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Method:
    """What is compared: one run, or several runs of the same method with other random seeds.

    Attributes:
        name: for tables and sentences.
        runs: for each run its rows, all over the same questions.
        seeds: the random seed of each run, None where it is not known; may be left out.
    """

    name: str
    runs: Sequence[Sequence[RowScore]]
    seeds: Sequence[int | None] = ()

    def __post_init__(self) -> None:
        if self.seeds and len(self.seeds) != len(self.runs):
            raise ScoringError(f"{self.name}: {len(self.runs)} runs and {len(self.seeds)} seeds")
        known = [seed for seed in self.seeds if seed is not None]
        if twice := [seed for seed in known if known.count(seed) > 1]:
            raise ScoringError(
                f"{self.name}: several runs have the random seed {twice[0]}; they tell nothing of the luck of training"
            )

    def shares_seeds_with(self, other: Method) -> bool:
        """Whether both have the same random seeds, once each, so that their runs can be paired."""
        mine, others = set(self.seeds) - {None}, set(other.seeds) - {None}
        return mine == others and len(mine) == len(self.runs) == len(other.runs) > 1


@dataclass(frozen=True)
class Aligned:
    """Rows of several methods over the same questions, as arrays.

    Attributes:
        ids: seed ids, sorted.
        pairs: (question language, context language), sorted.
        asked: ``(seeds, pairs)``, True where the question was asked.
        cluster: ``(seeds,)``, number of the cluster of each seed, from 0.
        scores: for each method and metric ``(runs, seeds, pairs)`` in [0, 1]; 0 where not asked. Runs are
            in the order of their random seeds where these are known.
        paired: of which two methods, the earlier first, the runs can be paired by random seed.
    """

    ids: list[str]
    pairs: list[tuple[str, str]]
    asked: np.ndarray
    cluster: np.ndarray
    scores: list[dict[Metric, np.ndarray]]
    paired: frozenset[tuple[int, int]] = frozenset()

    def pairs_seeds(self, i: int, j: int) -> bool:
        """Whether the runs of two methods can be paired by random seed."""
        return (min(i, j), max(i, j)) in self.paired


def read_rows(folder: Path) -> list[RowScore]:
    """The scored rows of a run folder or an ``evaluate --output`` folder.

    Raises:
        ScoringError: there are no predictions, or a line of them is broken or has no scores.
    """
    path = folder / PREDICTIONS
    rows = []
    for number, line in enumerate(prediction_lines(path), start=1):
        try:
            record = json.loads(line)
            row = RowScore(
                str(record["id"]),
                str(record["question_language"]),
                str(record["context_language"]),
                float(record["f1"]),
                float(record["em"]),
                str(record.get("passage", "")),
            )
            for metric in METRICS:
                if not 0 <= getattr(row, metric) <= 1:  # NaN neither
                    raise ValueError(f"{metric} is {getattr(row, metric):g}, not from 0 to 1")
            rows.append(row)
        except KeyError as error:
            raise ScoringError(
                f"{path}: line {number} has no {error}; write it again with `polyspan evaluate --output`"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ScoringError(f"{path}: line {number} is not a prediction ({error})") from error
    if not rows:
        raise ScoringError(f"{path}: holds no prediction")
    return rows


def prediction_lines(path: Path) -> list[str]:
    """The lines of ``predictions.jsonl``, cut at line feeds alone: texts may hold other separators, such as U+2028.

    Raises:
        ScoringError: the file is not there or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScoringError(
            f"{path}: cannot be read ({error.strerror}); name a run folder or what `polyspan evaluate --output` wrote"
        ) from error
    except UnicodeDecodeError as error:
        raise ScoringError(f"{path}: not UTF-8 at byte {error.start}; it is no predictions.jsonl") from error
    return text.removesuffix("\n").split("\n") if text else []


def align(methods: Sequence[Method], by: By = "seed") -> Aligned:
    """Lay rows out by seed and pair of languages, after a check that all were asked the same.

    Args:
        methods: the first gives the questions.
        by: what is one cluster. "seed": all rows of a question, in whatever languages. "passage":
            also all questions that share a passage in any language, and so on from one to the next.

    Raises:
        ScoringError: the questions differ, a row comes twice, or passages are not known.
    """
    import numpy as np

    tables = [[_by_key(method, run) for run in _by_seed(method)] for method in methods]
    reference = tables[0][0]
    for method, runs in zip(methods, tables, strict=True):
        for run in runs:
            _check_same_questions(methods[0].name, reference, method.name, run)
    ids = sorted({id_ for id_, _, _ in reference})
    pairs = sorted({(question, context) for _, question, context in reference})
    seed_of, pair_of = ({key: i for i, key in enumerate(keys)} for keys in (ids, pairs))
    where = (
        np.array([seed_of[id_] for id_, _, _ in reference]),
        np.array([pair_of[question, context] for _, question, context in reference]),
    )
    asked = np.zeros((len(ids), len(pairs)), bool)
    asked[where] = True
    scores: list[dict[Metric, np.ndarray]] = []
    for runs in tables:
        of_method = {}
        for metric in METRICS:
            values = np.zeros((len(runs), *asked.shape))
            for index, run in enumerate(runs):
                values[index][where] = [getattr(run[key], metric) for key in reference]
            of_method[metric] = values
        scores.append(of_method)
    clusters = np.arange(len(ids)) if by == "seed" else _passage_clusters(methods[0].name, ids, reference)
    paired = ((i, j) for i, j in combinations(range(len(methods)), 2) if methods[i].shares_seeds_with(methods[j]))
    return Aligned(ids, pairs, asked, clusters, scores, frozenset(paired))


def _by_seed(method: Method) -> Sequence[Sequence[RowScore]]:
    seeds = [seed for seed in method.seeds if seed is not None]
    if len(seeds) < len(method.runs):
        return method.runs
    return [run for _, run in sorted(zip(seeds, method.runs, strict=True), key=lambda of_seed: of_seed[0])]


def _by_key(method: Method, run: Sequence[RowScore]) -> dict[Key, RowScore]:
    table = {(row.id, row.question_language, row.context_language): row for row in run}
    if not table:
        raise ScoringError(f"{method.name}: no rows to compare")
    if len(table) < len(run):
        raise ScoringError(f"{method.name}: {len(run) - len(table)} rows come twice")
    return table


def _check_same_questions(name: str, reference: dict[Key, RowScore], other: str, run: dict[Key, RowScore]) -> None:
    parts = []
    for holder, missing in ((name, reference.keys() - run.keys()), (other, run.keys() - reference.keys())):
        if missing:
            id_, question, context = min(missing)
            parts.append(f"{len(missing)} of {holder} alone, such as {id_!r} {question}-{context}")
    if not parts:
        changed = [key for key, row in reference.items() if row.passage and run[key].passage not in ("", row.passage)]
        if changed:
            parts.append(f"{len(changed)} over other passages, such as {min(changed)[0]!r}")
    if parts:
        raise ScoringError(
            f"{name} and {other} were asked different questions: {'; '.join(parts)};"
            " evaluate both with the same --data, --languages and --limit"
        )


def _passage_clusters(name: str, ids: list[str], rows: dict[Key, RowScore]) -> np.ndarray:
    """Connected components of the graph whose edges join each seed with its passages."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not all(row.passage for row in rows.values()):
        raise ScoringError(f"{name}: its rows do not say which passage they read; evaluate it again, or leave out --by")
    seed_of = {id_: index for index, id_ in enumerate(ids)}
    passage_of: dict[str, int] = {}
    edges = [(seed_of[row.id], len(ids) + passage_of.setdefault(row.passage, len(passage_of))) for row in rows.values()]
    size = len(ids) + len(passage_of)
    begins, ends = np.array(edges).T
    _, labels = connected_components(coo_array((np.ones(len(edges)), (begins, ends)), shape=(size, size)), False)
    return np.unique(labels[: len(ids)], return_inverse=True)[1]
