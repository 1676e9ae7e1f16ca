"""Bad records: the first one stops the reading, or each is counted and passed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from polyspan.corpus.model import CorpusError

OnBad = Literal["fail", "skip"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One bad record.

    Attributes:
        where: file and article and paragraph, or line.
        id: of the question, where it is known.
        kind: a short name to count by.
        message: what is wrong.
    """

    where: str
    id: str | None
    kind: str
    message: str

    def __str__(self) -> str:
        named = f", id {self.id!r}" if self.id is not None else ""
        return f"{self.where}{named}: {self.message}"


@dataclass
class Problems:
    """What a reader reports bad records to."""

    on_bad: OnBad = "fail"
    found: list[Problem] = field(default_factory=list)

    def report(self, where: str, id: str | None, kind: str, message: str) -> None:
        """Keep the problem, or raise it as a `CorpusError` when bad records are not allowed."""
        problem = Problem(where, id, kind, message)
        if self.on_bad == "fail":
            raise CorpusError(f"{problem} (`polyspan data check` lists all bad records)")
        self.found.append(problem)
