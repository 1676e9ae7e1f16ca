"""Questions over texts that hold no answer to them, made from questions over texts that do."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from polyspan.corpus.model import CorpusError, Pair, ParallelCorpus, Passage, Seed

_SUFFIX = "/mismatched"


def mismatched(
    corpus: ParallelCorpus, pairs: Sequence[Pair], count: int, seed: int = 1
) -> tuple[ParallelCorpus, list[Pair]]:
    """Ask questions over another article's passage of the same language.

    The other passage may, by chance, answer the question after all; between articles that is rare.

    Args:
        corpus: holds the pairs.
        pairs: whose questions are asked, each at most once.
        count: how many, drawn without replacement.
        seed: of the draw.

    Returns:
        The corpus with a seed without answers for each, and the pairs that ask them.

    Raises:
        CorpusError: more are wanted than there are, or a language has one article alone.
    """
    if count > len(pairs):
        raise CorpusError(f"{corpus.name}: {count} mismatched questions wanted, {len(pairs)} are there")
    generator = random.Random(seed)
    by_language: defaultdict[str, list[Passage]] = defaultdict(list)
    of_article: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for passage in corpus.passages.values():
        of_article[_article(passage)].append(len(by_language[passage.language]))
        by_language[passage.language].append(passage)
    seeds = dict(corpus.seeds)
    made = []
    for pair in generator.sample(list(pairs), count):
        passage = corpus.passage(pair)
        own, passages = of_article[_article(passage)], by_language[passage.language]
        if len(own) == len(passages):
            raise CorpusError(
                f"{corpus.name}: only one article in {passage.language!r}, nothing to mismatch it with;"
                " give articles titles, or make no such rows (--no-answer-share 0)"
            )
        at = generator.randrange(len(passages) - len(own))
        for place in own:  # they are left out of the count
            at += at >= place
        other = passages[at]
        id_ = f"{pair.id}/{pair.question_language}-{pair.context_language}{_SUFFIX}"
        question = {pair.question_language: corpus.question(pair)}
        seeds[id_] = Seed(id_, question, {pair.context_language: other.id}, {pair.context_language: ()})
        made.append(Pair(id_, pair.question_language, pair.context_language))
    return ParallelCorpus(corpus.name, seeds, corpus.passages), made


def question_of(id_: str) -> str:
    """The id of the question that is asked, of a mismatched one or any other."""
    return id_.removesuffix(_SUFFIX).rpartition("/")[0] if id_.endswith(_SUFFIX) else id_


def _article(passage: Passage) -> tuple[str, str, str]:
    """Passages without titles are articles of their own."""
    return passage.language, passage.title, "" if passage.title else passage.id
