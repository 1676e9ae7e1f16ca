"""Questions and texts of the shipped corpus, for the page to show what can be asked."""

from __future__ import annotations

from functools import cache
from typing import TypedDict

NAMES = {
    "ar": "العربية",
    "de": "Deutsch",
    "en": "English",
    "es": "Español",
    "eu": "Euskara",
    "hi": "हिन्दी",
    "sw": "Kiswahili",
    "vi": "Tiếng Việt",
    "zh": "中文",
}
PAIRS = (
    ("p05q3", "en", "en"),
    ("p20q3", "es", "de"),
    ("p20q3", "ar", "ar"),
    ("p10q1", "en", "ar"),
    ("p39q3", "vi", "zh"),
    ("p39q3", "hi", "hi"),
    ("p15q3", "zh", "es"),
    ("p05q3", "sw", "en"),
    ("p15q3", "eu", "es"),
)
"""Seed, the question's language, the text's language; out of the part that no shipped model was trained on."""
UNANSWERED = ("p10q1", "en", "p15q3", "en")
"""A seed's question about another seed's text, which does not say."""


class Example(TypedDict):
    """What the page fills in."""

    question: str
    context: str
    question_language: str
    context_language: str
    question_language_name: str
    context_language_name: str
    answerable: bool


@cache
def load_examples() -> list[Example]:
    """The examples, in the order in which they are offered."""
    from polyspan.corpus import load_corpus

    corpus = load_corpus("commons/test")
    asked = [(seed, question, seed, context) for seed, question, context in PAIRS] + [UNANSWERED]
    return [
        Example(
            question=corpus.seeds[seed].questions[question],
            context=corpus.passages[corpus.seeds[of].passages[context]].text,
            question_language=question,
            context_language=context,
            question_language_name=NAMES[question],
            context_language_name=NAMES[context],
            answerable=seed == of,
        )
        for seed, question, of, context in asked
    ]
