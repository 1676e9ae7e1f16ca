"""Flat rows of a question, its context and ``answers: {text, answer_start}``, as ``datasets`` keeps and writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Any

from polyspan.corpus.builder import Record
from polyspan.corpus.problems import Problems

TYDIQA_LANGUAGES = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
}
"""What ids of TyDiQA-GoldP begin with."""
TYDIQA_ID = re.compile(rf"({'|'.join(TYDIQA_LANGUAGES)})-\d.*")


def is_flat(row: Any) -> bool:
    """Whether a JSON value is such a row."""
    return isinstance(row, Mapping) and isinstance(row.get("answers"), Mapping) and "context" in row


def record_of_row(where: str, row: Mapping[str, Any], languages: tuple[str, str], problems: Problems) -> Record | None:
    """One row, or None after it was reported.

    Args:
        where: it stands, for messages.
        row: with id, context, question and answers; no text in ``answers``, or ``is_impossible``, means that the
            context holds none. A ``language`` column, and an id of TyDiQA's, say more than ``languages`` does.
        languages: of question and context.
        problems: where a bad row goes.
    """
    try:
        impossible = _checked(row.get("is_impossible"), "is_impossible", bool | None)
        found = [] if impossible else zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
        answers = [(_checked(text, "answer", str), int(start)) for text, start in found]
        id_ = str(_checked(row["id"], "id", str | int))
        if of_id := TYDIQA_ID.fullmatch(id_):
            languages = (TYDIQA_LANGUAGES[of_id[1]],) * 2
        question, context = (str(row.get("language") or language) for language in languages)
        return Record(
            where,
            id_,
            question,
            context,
            str(row.get("title") or ""),
            _checked(row["context"], "context", str),
            _checked(row["question"], "question", str).strip(),
            answers,
        )
    except (KeyError, TypeError, ValueError) as error:
        problems.report(where, None, "missing key", f"not a question answering row ({error!r})")
        return None


def _checked(value: Any, name: str, kind: type | UnionType) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}")
    return value
