"""Answer normalisation by MLQA's and by SQuAD's published rules, re-implemented from the rules."""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

from polyspan.errors import PolyspanError

Rules = Literal["mlqa", "squad"]
_HAN = re.compile("[\u4e00-\u9fa5]")


class ScoringError(PolyspanError):
    """A language or rule that answers cannot be scored by."""


@dataclass(frozen=True)
class LanguageRules:
    """How MLQA treats one language.

    Attributes:
        articles: what is replaced by a space, None for nothing.
        by_character: Han characters and punctuation are tokens of their own.
    """

    articles: re.Pattern[str] | None
    by_character: bool = False


def _words(*articles: str) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(articles)})\b")


MLQA_LANGUAGES = {
    "en": LanguageRules(_words("a", "an", "the")),
    "es": LanguageRules(_words("un", "una", "unos", "unas", "el", "la", "los", "las")),
    "hi": LanguageRules(None),
    "vi": LanguageRules(_words("của", "là", "cái", "chiếc", "những")),
    "de": LanguageRules(
        _words("ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des")
    ),
    "ar": LanguageRules(re.compile("ال")),
    "zh": LanguageRules(None, by_character=True),
}


@cache
def _mlqa_punctuation() -> dict[int, None]:
    """Every character of a Unicode category P* and every ASCII punctuation mark, to be deleted."""
    return {
        point: None
        for point in range(sys.maxunicode + 1)
        if unicodedata.category(chr(point)).startswith("P") or chr(point) in string.punctuation
    }


_SQUAD_PUNCTUATION = {ord(mark): None for mark in string.punctuation}


def mlqa_rules(language: str) -> LanguageRules:
    """MLQA's rules for a language.

    Raises:
        ScoringError: MLQA has none for it.
    """
    try:
        return MLQA_LANGUAGES[language]
    except KeyError:
        raise ScoringError(
            f"MLQA has no scoring rules for language {language!r}, only for {', '.join(MLQA_LANGUAGES)};"
            " use rules='squad'"
        ) from None


def normalised_tokens(text: str, language: str, rules: Rules = "mlqa") -> list[str]:
    """Lower-case, delete punctuation, blank out articles, then split: the tokens F1 counts.

    Args:
        text: an answer.
        language: of the context the answer was cut from; SQuAD's rules use English for all.
        rules: whose.

    Raises:
        ScoringError: unknown rules, or a language that MLQA has no rules for.
    """
    if rules == "squad":
        plain = text.lower().translate(_SQUAD_PUNCTUATION)
        articles = MLQA_LANGUAGES["en"].articles
        return (articles.sub(" ", plain) if articles else plain).split()
    if rules != "mlqa":
        raise ScoringError(f"unknown rules {rules!r}; use 'mlqa' or 'squad'")
    own = mlqa_rules(language)
    plain = text.lower().translate(_mlqa_punctuation())
    if own.articles is not None:
        plain = own.articles.sub(" ", plain)
    if own.by_character:
        plain = _HAN.sub(r" \g<0> ", plain)
    return plain.split()
