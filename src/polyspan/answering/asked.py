"""What can be asked: a question and a text, checked before any work is done on them."""

from __future__ import annotations

from typing import NamedTuple

from polyspan.errors import PolyspanError


class AskedError(PolyspanError):
    """A question, a context or an option that cannot be worked with; says which and why."""


class Asked(NamedTuple):
    """One question about one text, each in any language."""

    question: str
    context: str


def check_asked(question: object, context: object) -> Asked:
    """The two as they will be read; the question without white space at its edges.

    Raises:
        AskedError: one is not a string, is empty, or holds half of a surrogate pair, which no
            file or request can carry.
    """
    return Asked(_check("question", question).strip(), _check("context", context))


def _check(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise AskedError(f"the {name} is not a text but {type(text).__name__}")
    if not text.strip():
        raise AskedError(f"the {name} is empty")
    refuse_halves(name, text)
    return text


def refuse_halves(name: str, text: str) -> None:
    """See that a text can be written to a file.

    Raises:
        AskedError: it holds half of a surrogate pair.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise AskedError(
            f"the {name} holds half of a surrogate pair at character {error.start}; decode it anew or leave it out"
        ) from None
