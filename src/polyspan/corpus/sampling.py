"""Cross-lingual sampling (Carrino et al. 2023, Eq. 3): which language pairs a seed is trained on."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, product

from polyspan.corpus.folders import check_languages
from polyspan.corpus.model import CorpusError, Pair, ParallelCorpus
from polyspan.corpus.pairs import PairTable


def sample_pairs(
    corpus: ParallelCorpus,
    target_languages: int,
    seed: int,
    source_language: str = "en",
    candidates: Sequence[str] | None = None,
) -> PairTable:
    """Draw target languages for each seed and take every ordered pair of them, diagonal included.

    A seed that has at least ``target_languages`` languages beside the source gives exactly
    ``(1 + target_languages) ** 2`` pairs; one that has fewer gives all it has. The draw depends on
    the seed alone: candidates are sorted and the generator is local, so that every machine and
    every Python hash seed draws the same.

    Args:
        corpus: where the seeds are; they are visited in its order.
        target_languages: ``ntl``, how many languages are drawn beside the source; 0 gives the
            source language alone.
        seed: of the local random generator.
        source_language: always among the languages of a seed.
        candidates: languages that may be drawn; all of the corpus by default.

    Raises:
        CorpusError: ``target_languages`` is negative, or the source language or a candidate is missing.
    """
    if target_languages < 0:
        raise CorpusError(f"target_languages must be 0 or more, not {target_languages}")
    if source_language not in corpus.languages:
        raise CorpusError(
            f"{corpus.name}: no text in the source language {source_language!r}; it has {', '.join(corpus.languages)}"
        )
    check_languages(corpus.name, candidates, corpus.languages)
    generator = random.Random(seed)
    allowed = set(corpus.languages if candidates is None else candidates) - {source_language}
    pairs = PairTable()
    for item in corpus.seeds.values():
        both = item.questions.keys() & item.passages.keys()
        if source_language not in both:
            raise CorpusError(f"{corpus.name}: question {item.id!r} has no {source_language!r} text")
        available = sorted(both & allowed)
        drawn = generator.sample(available, min(target_languages, len(available)))
        chosen = sorted([source_language, *drawn])
        for question, context in product(chosen, chosen):
            pairs.add(Pair(item.id, question, context))
    return pairs


def thinned(
    pairs: Iterable[Pair], most: int, seed: int, weights: Mapping[tuple[str, str], float] | None = None
) -> PairTable:
    """At most ``most`` pairs of each seed, drawn at random; they stay in their order (ours).

    Of the ``(1 + ntl) ** 2`` pairs of one seed each repeats a question or a context in another
    language. The same number of pairs of more seeds holds more answers and more passages.

    Args:
        pairs: those of a seed one after the other, as `sample_pairs` gives them.
        most: of one seed, at least 1.
        seed: of the local random generator.
        weights: by (question language, context language), above 0: the next pair of a seed is drawn
            in proportion to them (Efraimidis and Spirakis 2006); all the same by default.

    Raises:
        CorpusError: a pair of languages has no weight.
    """
    generator = random.Random(seed)
    kept = PairTable()
    for _, group in groupby(pairs, key=lambda pair: pair.id):
        own = list(group)
        keys = [math.log(1 - generator.random()) / _weight(pair, weights) for pair in own]
        best = sorted(range(len(own)), key=lambda at: -keys[at])[:most]
        for index in sorted(best):
            kept.add(own[index])
    return kept


def _weight(pair: Pair, weights: Mapping[tuple[str, str], float] | None) -> float:
    if weights is None:
        return 1.0
    languages = pair.question_language, pair.context_language
    if languages not in weights:
        raise CorpusError(f"no weight for questions in {languages[0]!r} over contexts in {languages[1]!r}")
    return weights[languages]


def diagonal_pairs(corpus: ParallelCorpus, languages: Sequence[str] | None = None) -> list[Pair]:
    """Question and context in the same language, every language of every seed.

    This is what the authors' code emits for ``ntl = 0``; by Eq. 3 that would be English only.
    """
    return [pair for pair in corpus.pairs(languages) if pair.question_language == pair.context_language]
