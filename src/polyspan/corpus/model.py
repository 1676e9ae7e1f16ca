"""What a passage, a question, an answer and a pair are.

Texts are kept once per language; an example is the triple ``Pair``. A sample of a million pairs
therefore costs a million small tuples and not one copied text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from polyspan.errors import PolyspanError

Part = TypeVar("Part")


class CorpusError(PolyspanError):
    """Data that cannot be used; names the file, the article or line, and the id."""


class Pair(NamedTuple):
    """One example: the question of seed ``id`` in one language over its context in another."""

    id: str
    question_language: str
    context_language: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A span of a context: ``context[start:end] == text``, in Python string indices."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Index after the last character."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Passage:
    """A context in one language; its translations are passages of their own."""

    id: str
    language: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Seed:
    """A question with its translations, contexts and answers, each by language.

    Attributes:
        id: the seed id, the same in every language.
        questions: question text by language.
        passages: passage id by context language.
        answers: gold answers by context language; an empty tuple means "no answer in this text".
    """

    id: str
    questions: Mapping[str, str]
    passages: Mapping[str, str]
    answers: Mapping[str, tuple[Answer, ...]]


@dataclass(frozen=True)
class ParallelCorpus:
    """Seeds and passages by id, in the order of the files they were read from."""

    name: str
    seeds: Mapping[str, Seed]
    passages: Mapping[str, Passage] = field(repr=False)

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of any question or context, sorted."""
        found: set[str] = set()
        for seed in self.seeds.values():
            found.update(seed.questions, seed.passages)
        return tuple(sorted(found))

    def pairs(self, languages: Collection[str] | None = None) -> list[Pair]:
        """Every pair there is: seeds in file order, then question and context language sorted.

        Args:
            languages: keep only these, on both sides; all by default.
        """
        return [
            Pair(seed.id, question, context)
            for seed in self.seeds.values()
            for question in sorted(seed.questions)
            for context in sorted(seed.passages)
            if languages is None or (question in languages and context in languages)
        ]

    def question(self, pair: Pair) -> str:
        """The question text of a pair.

        Raises:
            CorpusError: no question with this id, or not in this language.
        """
        return self._in_language(pair, "question", self._seed(pair).questions, pair.question_language)

    def passage(self, pair: Pair) -> Passage:
        """The passage that a pair reads.

        Raises:
            CorpusError: no question with this id, or none over a context in this language.
        """
        return self.passages[self._in_language(pair, "context", self._seed(pair).passages, pair.context_language)]

    def context(self, pair: Pair) -> str:
        """The context text of a pair; raises as `passage` does."""
        return self.passage(pair).text

    def answers(self, pair: Pair) -> tuple[Answer, ...]:
        """The gold answers in the pair's context; empty where the text holds none.

        Raises:
            CorpusError: no question with this id, or none over a context in this language.
        """
        return self._in_language(pair, "context", self._seed(pair).answers, pair.context_language)

    def digest(self, pairs: Iterable[Pair]) -> str:
        """SHA-256 over these pairs in their order and over all texts and answers, in hexadecimal."""
        total = hashlib.sha256()
        for seed in self.seeds.values():
            answers = {k: [(answer.text, answer.start) for answer in v] for k, v in seed.answers.items()}
            total.update(json.dumps([seed.id, seed.questions, seed.passages, answers], sort_keys=True).encode())
        for passage in self.passages.values():
            total.update(json.dumps([passage.id, passage.language, passage.text]).encode())
        for pair in pairs:
            total.update(json.dumps(pair).encode())
        return total.hexdigest()

    def subset(self, ids: Iterable[str]) -> ParallelCorpus:
        """The seeds with these ids, in this corpus' order, and the passages they need."""
        wanted = set(ids)
        if unknown := wanted - self.seeds.keys():
            raise CorpusError(f"{self.name}: no question with id {min(unknown)!r}")
        seeds = {key: seed for key, seed in self.seeds.items() if key in wanted}
        needed = {passage for seed in seeds.values() for passage in seed.passages.values()}
        return ParallelCorpus(self.name, seeds, {key: value for key, value in self.passages.items() if key in needed})

    def in_languages(self, languages: Collection[str]) -> ParallelCorpus:
        """Texts in these languages alone; a seed that is left without a question or context goes."""
        seeds = {}
        for seed in self.seeds.values():
            questions, passages, answers = (
                {language: value for language, value in part.items() if language in languages}
                for part in (seed.questions, seed.passages, seed.answers)
            )
            if questions and passages:
                seeds[seed.id] = Seed(seed.id, questions, passages, answers)  # type: ignore[arg-type]
        needed = {passage for seed in seeds.values() for passage in seed.passages.values()}
        return ParallelCorpus(self.name, seeds, {key: value for key, value in self.passages.items() if key in needed})

    def joined(self, other: ParallelCorpus) -> ParallelCorpus:
        """This corpus and then the other; passages of the other are renamed, texts are not copied.

        Raises:
            CorpusError: both have a question with the same id.
        """
        if shared := self.seeds.keys() & other.seeds.keys():
            raise CorpusError(
                f"{self.name} and {other.name}: both have a question with id {min(shared)!r};"
                " give those of one set other ids"
            )
        renamed = {key: f"{other.name}/{key}" for key in other.passages}
        seeds = {
            seed.id: replace(seed, passages={language: renamed[key] for language, key in seed.passages.items()})
            for seed in other.seeds.values()
        }
        passages = {renamed[key]: replace(passage, id=renamed[key]) for key, passage in other.passages.items()}
        return ParallelCorpus(self.name, {**self.seeds, **seeds}, {**self.passages, **passages})

    def _seed(self, pair: Pair) -> Seed:
        try:
            return self.seeds[pair.id]
        except KeyError:
            raise CorpusError(f"{self.name}: no question with id {pair.id!r}") from None

    def _in_language(self, pair: Pair, part: str, values: Mapping[str, Part], language: str) -> Part:
        try:
            return values[language]
        except KeyError:
            there = ", ".join(sorted(values))
            raise CorpusError(
                f"{self.name}: question {pair.id!r} has no {part} in {language!r}; it has {there}"
            ) from None
