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
from polyspan.corpus.model import CorpusError, Pair, ParallelCorpus, Seed
from polyspan.corpus.pairs import PairTable
from polyspan.corpus.problems import Problem
from polyspan.corpus.sampling import diagonal_pairs, sample_pairs, thinned
from polyspan.errors import PolyspanError
from polyspan.experiments.recipe import Data, Replay
from polyspan.files import read_text

# Scripts without spaces between words: Thai and Lao, Burmese, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_WORD = re.compile(r"\w")
_SPACED = re.compile(rf"[^\W{_UNSPACED}]")
"""A character of a word that has a space, or punctuation, before and after it."""


class PrepareError(PolyspanError):
    """A file beside the training data that cannot be used, or a filter that leaves no data."""


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

    def digest(self) -> str:
        """SHA-256 of all that is trained on, in hexadecimal."""
        return self.corpus.digest(self.pairs)


def prepare(data: Data, seed: int) -> Prepared:
    """Read, filter and sample; the same seed gives the same pairs anywhere.

    Raises:
        PrepareError: the scores of ``pair_weights`` cannot be used, ``certain_answers`` leaves nothing, or a
            question that is to be sampled across languages has no text in the source language.
    """
    problems: list[Problem] = []
    corpus = load_corpus(data.path, kind=data.kind, languages=data.languages, on_bad=data.on_bad, problems=problems)
    dropped: Counter[str] = Counter()
    if data.sampling == "cross":
        corpus = _in_the_source(corpus, data, dropped)
    kept = list(corpus.seeds.values())
    if data.certain_answers:
        kept = _certain(corpus, "data", dropped)
    generator = random.Random(seed)
    if data.questions_per_passage is not None:
        before = len(kept)
        kept = _spread(kept, data.questions_per_passage, data.source_language, generator)
        dropped["more questions of a passage"] = before - len(kept)
    kept = _some(kept, data.seeds, generator, dropped)
    corpus = corpus.subset(item.id for item in kept)
    if data.sampling == "diagonal":
        pairs: Sequence[Pair] = diagonal_pairs(corpus)
    else:
        pairs = sample_pairs(corpus, data.target_languages, seed, data.source_language)
    if data.pairs_per_seed is not None:
        weights = read_need(Path(data.pair_weights)) if data.pair_weights else None
        try:
            pairs = thinned(pairs, data.pairs_per_seed, seed, weights)
        except CorpusError as error:
            raise PrepareError(
                f"data.pair_weights: {data.pair_weights}: {error}; evaluate these languages too, or leave the key out"
            ) from error
    if data.replay is not None:
        replayed = _replayed(data.replay, seed, data.on_bad, problems, dropped)
        corpus = corpus.joined(replayed)
        pairs = PairTable.of([*pairs, *diagonal_pairs(replayed)])
    return Prepared(corpus, pairs, dict(+dropped), problems)


def _in_the_source(corpus: ParallelCorpus, data: Data, dropped: Counter[str]) -> ParallelCorpus:
    """The seeds that can be sampled across languages, which are those with a text in the source language."""
    source = data.source_language
    without = [s.id for s in corpus.seeds.values() if source not in s.questions.keys() & s.passages.keys()]
    if not without or source not in corpus.languages:
        return corpus
    if data.on_bad == "fail":
        raise PrepareError(
            f"{corpus.name}: {len(without)} of {len(corpus)} questions have no text in {source!r}, the first is"
            f" {without[0]!r}; translate them, pass over them (data.on_bad: skip), name another data.source_language,"
            " or train in one language at a time (data.sampling: diagonal)"
        )
    dropped["no text in the source language"] = len(without)
    return corpus.subset(corpus.seeds.keys() - set(without))


def read_need(path: Path) -> dict[tuple[str, str], float]:
    """What each pair of languages lacks of 100 F1, at least 1, from what ``polyspan evaluate --json`` printed.

    Raises:
        PrepareError: there is no such file, or it holds no scores of pairs.
    """
    text = read_text(path, PrepareError)
    try:
        pairs = json.loads(text)["pairs"]
        return {
            (pair["question_language"], pair["context_language"]): max(1.0, 100 - float(pair["f1"])) for pair in pairs
        }
    except (ValueError, KeyError, TypeError) as error:
        raise PrepareError(
            f"{path}: holds no scores of language pairs; `polyspan evaluate ... --json > {path}` writes them"
        ) from error


def _replayed(
    replay: Replay, seed: int, on_bad: Literal["fail", "skip"], problems: list[Problem], dropped: Counter[str]
) -> ParallelCorpus:
    corpus = load_corpus(replay.path, kind=replay.kind, languages=replay.languages, on_bad=on_bad, problems=problems)
    own: Counter[str] = Counter()
    kept = _certain(corpus, "data.replay", own) if replay.certain_answers else list(corpus.seeds.values())
    kept = _some(kept, replay.seeds, random.Random(seed), own)
    dropped.update({f"replay: {reason}": count for reason, count in own.items()})
    return corpus.subset(item.id for item in kept)


def _some(kept: list[Seed], number: int | None, generator: random.Random, dropped: Counter[str]) -> list[Seed]:
    if number is None or number >= len(kept):
        return kept
    dropped["beyond the number of seeds"] = len(kept) - number
    return generator.sample(kept, number)


def _certain(corpus: ParallelCorpus, section: str, dropped: Counter[str]) -> list[Seed]:
    kept = []
    for item in corpus.seeds.values():
        times = [
            _times(answer.text, corpus.passages[item.passages[language]].text)
            for language, answers in item.answers.items()
            for answer in answers
        ]
        if 0 in times:
            dropped["answer is found nowhere as whole words"] += 1
        elif any(count > 1 for count in times):
            dropped["answer stands elsewhere too"] += 1
        else:
            kept.append(item)
    if corpus.seeds and not kept:
        raise PrepareError(
            f"{section}.certain_answers: none of {len(corpus)} questions has an answer that stands once, as whole"
            " words, in its context; leave the key out"
        )
    return kept


def _times(answer: str, text: str) -> int:
    """How often the answer stands in the text, as whole words where its script has spaces between them.

    A text is of a script without spaces where a tenth of it is; fewer are names in a text that has them.
    """
    unspaced = re.compile(f"[{_UNSPACED}]")
    without = 10 * len(unspaced.findall(text)) >= len(text)
    word = _SPACED if without else _WORD
    begins, ends = (without and unspaced.match(edge) is not None for edge in (answer[0], answer[-1]))
    times, at = 0, text.find(answer)
    while at >= 0:
        end = at + len(answer)
        whole = (begins or not at or not word.match(text[at - 1])) and (ends or not word.match(text, end))
        times += whole
        at = text.find(answer, end if whole else at + 1)
    return times


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
