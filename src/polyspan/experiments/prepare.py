"""From the data section of a recipe to the pairs that are trained on."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from polyspan.corpus.load import load_corpus
from polyspan.corpus.model import Pair, ParallelCorpus, Seed
from polyspan.corpus.pairs import PairTable
from polyspan.corpus.problems import Problem
from polyspan.corpus.sampling import diagonal_pairs, sample_pairs, thinned
from polyspan.errors import PolyspanError
from polyspan.experiments.recipe import Data, Replay
from polyspan.files import read_text


class PrepareError(PolyspanError):
    """A file beside the training data that cannot be used."""


@dataclass(frozen=True)
class Prepared:
    """Training data and what was left out of it.

    Attributes:
        corpus: the seeds that are used.
        pairs: the sample.
        dropped: seeds left out, by reason.
        problems: bad records that were skipped.
    """

    corpus: ParallelCorpus
    pairs: Sequence[Pair]
    dropped: dict[str, int]
    problems: list[Problem]


def prepare(data: Data, seed: int) -> Prepared:
    """Read, filter and sample; the same seed gives the same pairs anywhere."""
    problems: list[Problem] = []
    corpus = load_corpus(data.path, kind=data.kind, languages=data.languages, on_bad=data.on_bad, problems=problems)
    dropped: Counter[str] = Counter()
    kept = list(corpus.seeds.values())
    if data.certain_answers:
        kept, before = [item for item in kept if _certain(corpus, item)], len(kept)
        dropped["answer stands elsewhere too"] = before - len(kept)
    generator = random.Random(seed)
    if data.questions_per_passage is not None:
        before = len(kept)
        kept = _spread(kept, data.questions_per_passage, data.source_language, generator)
        dropped["more questions of a passage"] = before - len(kept)
    if data.seeds is not None and data.seeds < len(kept):
        dropped["beyond the number of seeds"] = len(kept) - data.seeds
        kept = generator.sample(kept, data.seeds)
    corpus = corpus.subset(item.id for item in kept)
    if data.sampling == "diagonal":
        pairs: Sequence[Pair] = diagonal_pairs(corpus)
    else:
        pairs = sample_pairs(corpus, data.target_languages, seed, data.source_language)
    if data.pairs_per_seed is not None:
        weights = read_need(Path(data.pair_weights)) if data.pair_weights else None
        pairs = thinned(pairs, data.pairs_per_seed, seed, weights)
    if data.replay is not None:
        replayed = _replayed(data.replay, seed, data.on_bad, problems)
        corpus = corpus.joined(replayed)
        pairs = PairTable.of([*pairs, *diagonal_pairs(replayed)])
    return Prepared(corpus, pairs, dict(+dropped), problems)


def read_need(path: Path) -> dict[tuple[str, str], float]:
    """What each pair of languages lacks of 100 F1, at least 1, from what ``polyspan evaluate --json`` printed.

    Raises:
        PrepareError: there is no such file, or it holds no scores of pairs.
    """
    try:
        pairs = json.loads(read_text(path, PrepareError))["pairs"]
        return {
            (pair["question_language"], pair["context_language"]): max(1.0, 100 - float(pair["f1"])) for pair in pairs
        }
    except (ValueError, KeyError, TypeError) as error:
        raise PrepareError(
            f"{path}: holds no scores of language pairs; `polyspan evaluate ... --json > {path}` writes them"
        ) from error


def _replayed(replay: Replay, seed: int, on_bad: Literal["fail", "skip"], problems: list[Problem]) -> ParallelCorpus:
    corpus = load_corpus(replay.path, kind=replay.kind, languages=replay.languages, on_bad=on_bad, problems=problems)
    kept = [item for item in corpus.seeds.values() if not replay.certain_answers or _certain(corpus, item)]
    if replay.seeds is not None and replay.seeds < len(kept):
        kept = random.Random(seed).sample(kept, replay.seeds)
    return corpus.subset(item.id for item in kept)


def _certain(corpus: ParallelCorpus, item: Seed) -> bool:
    for language, answers in item.answers.items():
        text = corpus.passages[item.passages[language]].text
        for answer in answers:
            if len(re.findall(rf"(?<!\w){re.escape(answer.text)}(?!\w)", text)) != 1:
                return False
    return True


def _spread(seeds: list[Seed], most: int, language: str, generator: random.Random) -> list[Seed]:
    by_passage: dict[str, list[Seed]] = {}
    for item in seeds:
        passage = item.passages.get(language) or next(iter(item.passages.values()))
        by_passage.setdefault(passage, []).append(item)
    return [
        item
        for group in by_passage.values()
        for item in (group if len(group) <= most else generator.sample(group, most))
    ]
