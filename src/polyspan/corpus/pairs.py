"""Many pairs in little memory: three numbers each instead of three texts."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

from polyspan.corpus.model import Pair


class PairTable(Sequence[Pair]):
    """A sequence of pairs, eight bytes each, which grows by `add`.

    Attributes:
        ids, languages: the texts that the numbers stand for.
        seeds: (pairs,), int32, into ``ids``.
        questions, contexts: (pairs,), int16, into ``languages``.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.languages: list[str] = []
        self.seeds = array("i")
        self.questions = array("h")
        self.contexts = array("h")
        self._id_numbers: dict[str, int] = {}
        self._language_numbers: dict[str, int] = {}

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> PairTable:
        """A table of these pairs; the same one if they are a table already."""
        if isinstance(pairs, PairTable):
            return pairs
        table = cls()
        for pair in pairs:
            table.add(pair)
        return table

    def add(self, pair: Pair) -> None:
        """Put a pair at the end."""
        self.seeds.append(_number(self.ids, self._id_numbers, pair.id))
        self.questions.append(_number(self.languages, self._language_numbers, pair.question_language))
        self.contexts.append(_number(self.languages, self._language_numbers, pair.context_language))

    def __len__(self) -> int:
        return len(self.seeds)

    @overload
    def __getitem__(self, at: int) -> Pair: ...

    @overload
    def __getitem__(self, at: slice) -> list[Pair]: ...

    def __getitem__(self, at: int | slice) -> Pair | list[Pair]:
        if isinstance(at, slice):
            return [self[index] for index in range(len(self))[at]]
        return Pair(self.ids[self.seeds[at]], self.languages[self.questions[at]], self.languages[self.contexts[at]])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"PairTable({len(self)} pairs of {len(self.ids)} ids in {', '.join(sorted(self.languages))})"


def _number(names: list[str], numbers: dict[str, int], name: str) -> int:
    number = numbers.setdefault(name, len(names))
    if number == len(names):
        names.append(name)
    return number
