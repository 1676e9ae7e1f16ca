"""Answer normalisation by MLQA's and by SQuAD's published rules, re-implemented from the rules, and our own.

Sources: MLQA's evaluation (Lewis et al. 2020), which follows the language of the context, and
SQuAD v1.1's (Rajpurkar et al. 2016), which treats every language as English. Ours, "language_aware",
is MLQA's for its languages, and finds words in the others that are written without spaces.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Literal

from polyspan.errors import PolyspanError

Rules = Literal["mlqa", "squad", "language_aware"]
UNSPACED = ("ja", "km", "lo", "my", "th")
"""Languages written without spaces between words, whose words ICU's dictionaries find; zh is cut by MLQA's rules."""


class ScoringError(PolyspanError):
    """A language, rules or scores that cannot be worked with."""


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """How one language is treated, after lower-casing and the loss of punctuation.

    Attributes:
        articles: what is replaced by a space; None for nothing.
        by_character: Han characters are tokens of their own; the rest is split on white space.
    """

    articles: re.Pattern[str] | None = None
    by_character: bool = False


def _words(articles: str) -> re.Pattern[str]:
    return re.compile(rf"\b({articles.replace(' ', '|')})\b")


MLQA_LANGUAGES = {
    "en": LanguageRules(_words("a an the")),
    "es": LanguageRules(_words("un una unos unas el la los las")),
    "hi": LanguageRules(),
    "vi": LanguageRules(_words("của là cái chiếc những")),
    "de": LanguageRules(_words("ein eine einen einem eines einer der die das den dem des")),
    # Not at the start of words alone: the published pattern takes it out of their middle too.
    "ar": LanguageRules(re.compile("ال")),
    "zh": LanguageRules(by_character=True),
}
"""MLQA's rules by the language of the context."""

_OTHER_LANGUAGE = LanguageRules()
_SQUAD_LANGUAGE = MLQA_LANGUAGES["en"]
_SQUAD_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))
_HAN = re.compile("[\u4e00-\u9fa5]")


@cache
def _mlqa_punctuation() -> dict[int, None]:
    """Every character of a Unicode category P* and ASCII's, which has symbols (S*) as well."""
    every = range(sys.maxunicode + 1)
    unicode = dict.fromkeys(point for point in every if unicodedata.category(chr(point))[0] == "P")
    return unicode | _SQUAD_PUNCTUATION


def normalised_tokens(text: str, language: str, rules: Rules = "mlqa", strict: bool = True) -> list[str]:
    """Lower-case, delete punctuation, replace articles by a space, split: the tokens that F1 counts.

    The published normal form is these tokens with one space between them. No token holds white
    space, so two normal forms are equal exactly where the tokens are.

    Args:
        text: an answer.
        language: of the context it was cut from, such as ``zh`` or ``zh-TW``; SQuAD's rules do not look at it.
        rules: "mlqa", "squad" or "language_aware".
        strict: refuse a language that MLQA has no rules for, under its rules. Otherwise such a
            language has no articles and is split on white space.

    Raises:
        ScoringError: unknown rules; when strict, an unknown language; words are to be found in a
            language without spaces and the extra ``segment`` is missing.
    """
    language = primary_language(language)
    if rules == "squad":
        of_language, punctuation = _SQUAD_LANGUAGE, _SQUAD_PUNCTUATION
    elif rules == "mlqa":
        of_language, punctuation = _mlqa_language(language, strict), _mlqa_punctuation()
    elif rules == "language_aware":
        of_language, punctuation = _mlqa_language(language, strict=False), _mlqa_punctuation()
        if language in UNSPACED:
            # Words first: punctuation is a boundary that deleting it would hide.
            words = _segments(text.lower(), language)
            return [plain for word in words if (plain := "".join(word.translate(punctuation).split()))]
    else:
        raise ScoringError(f"unknown scoring rules {rules!r}; use 'mlqa', 'squad' or 'language_aware'")
    plain = text.lower().translate(punctuation)
    if of_language.articles is not None:
        plain = of_language.articles.sub(" ", plain)
    if of_language.by_character:
        plain = _HAN.sub(r" \g<0> ", plain)
    return plain.split()


def primary_language(code: str) -> str:
    """``zh`` of ``zh``, ``zh-TW``, ``zh_Hant`` and ``ZH``: the part that tells the language (BCP 47)."""
    return re.split("[-_]", code, maxsplit=1)[0].lower()


def _segments(text: str, language: str) -> list[str]:
    """Words, and what stands between them, by Unicode's word boundaries and ICU's dictionaries."""
    try:
        from icu4py.breakers import WordBreaker
    except ImportError as error:
        raise ScoringError(
            f"words in {language!r} are found with icu4py, which is not here: pip install 'polyspan[segment]'"
        ) from error
    return list(WordBreaker(text, language))


def _mlqa_language(language: str, strict: bool) -> LanguageRules:
    if strict and language not in MLQA_LANGUAGES:
        raise ScoringError(
            f"MLQA has no scoring rules for language {language!r}, only for"
            f" {', '.join(MLQA_LANGUAGES)}; use rules='squad' or strict=False"
        )
    return MLQA_LANGUAGES.get(language, _OTHER_LANGUAGE)
