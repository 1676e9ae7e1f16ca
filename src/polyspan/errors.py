"""The one base class of errors that a user can mend, and how a failed validation is worded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from pydantic import ValidationError


class PolyspanError(ValueError):
    """What is wrong, where, and what to do, in one line.

    The command line prints the message without a traceback and exits with ``exit_code``.
    """

    exit_code = 1


def first_problem(error: ValidationError) -> str:
    """The first thing that a validation found: the key, with dots between its parts, and what is wrong with it."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    said = "is not an object of keys and values" if first["type"] == "model_type" else first["msg"]
    said = said.removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def one_line(said: object, most: int = 240) -> str:
    """What another library's error says, on one line of so many characters at most."""
    return " ".join(str(said).split())[:most]


class Difference(NamedTuple):
    """A key with two values; None where it is missing."""

    key: str
    there: object
    here: object

    def __str__(self) -> str:
        return f"{self.key} is {self.there} there, {self.here} here"


def first_difference(
    there: Mapping[str, object], here: Mapping[str, object], skipped: Container[str] = ()
) -> Difference | None:
    """The first key whose value is another, or is missing; None if there is none beside those that are skipped."""
    return next(
        (
            Difference(key, there.get(key), here.get(key))
            for key in {**here, **there}
            if key not in skipped and there.get(key) != here.get(key)
        ),
        None,
    )
