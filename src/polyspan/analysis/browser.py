"""Texts and answers for the report's example browser: every text once, answers as offsets into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polyspan.analysis.study import Group
from polyspan.corpus.model import Answer, ParallelCorpus, Seed

MOST_CHARACTERS = 9_000_000
"""Of all groups together: about the bytes of the page in ASCII, and half of them in Devanagari."""
ROW_CHARACTERS = 24
"""What a row of a run takes, about."""
NO_ANSWER = -1


def browser_data(groups: Sequence[Group], most_characters: int = MOST_CHARACTERS) -> list[dict[str, Any]]:
    """One entry a group; groups without texts have an empty one.

    Seeds are taken in the order of the data set until the room is used up, which is shared equally
    among the groups that have texts. Offsets count UTF-16 units, as JavaScript does.

    Keys of an entry: ``languages``, ``seeds`` (``id``, ``q`` question by language, ``c`` passage
    number by language, ``a`` gold answers by language as [start, end]), ``passages`` (texts),
    ``total`` (seeds of the data set that were asked), ``asked`` (flat: seed, question language,
    context language) and ``runs`` (flat: start, end, F1 in %, EM, rank of the first correct answer,
    probability in %).

    Args:
        groups: of runs.
        most_characters: room for all.
    """
    with_texts = sum(group.corpus is not None for group in groups)
    return [_entry(group, most_characters // max(1, with_texts)) for group in groups]


def _entry(group: Group, room: int) -> dict[str, Any]:
    corpus, correct = group.corpus, group.first_correct
    if corpus is None or correct is None:
        return {}
    asked = group.runs[0].rows
    rows_of: dict[str, int] = {}
    for row in asked:
        rows_of[row.id] = rows_of.get(row.id, 0) + 1
    kept = _fitting(corpus, rows_of, room, len(group.runs))
    number_of = {id_: number for number, id_ in enumerate(kept)}
    passage_numbers: dict[str, int] = {}
    for id_ in kept:
        for passage in corpus.seeds[id_].passages.values():
            passage_numbers.setdefault(passage, len(passage_numbers))
    texts = {passage: corpus.passages[passage].text for passage in passage_numbers}
    languages = sorted({language for row in asked for language in (row.question_language, row.context_language)})
    language_number = {language: number for number, language in enumerate(languages)}
    keys = [(row.id, row.question_language, row.context_language) for row in asked if row.id in number_of]
    flat = [n for id_, q, c in keys for n in (number_of[id_], language_number[q], language_number[c])]
    runs = []
    for run, ranks in zip(group.runs, correct, strict=True):
        of_key = {}
        for row, answers, rank in zip(run.rows, run.answers, ranks, strict=True):
            if row.id not in number_of:
                continue
            start = end = NO_ANSWER
            if answers:
                text = texts[corpus.seeds[row.id].passages[row.context_language]]
                start, end = utf16(text, answers[0].start), utf16(text, answers[0].end)
            probability = round(100 * answers[0].score) if answers else 0
            scores = [round(100 * row.f1), int(row.em), rank or 0, probability]
            of_key[row.id, row.question_language, row.context_language] = [start, end, *scores]
        missing = [NO_ANSWER, NO_ANSWER, 0, 0, 0, 0]
        runs.append([number for key in keys for number in of_key.get(key, missing)])
    return {
        "languages": languages,
        "seeds": [_seed(corpus.seeds[id_], passage_numbers, texts, languages) for id_ in kept],
        "passages": list(texts.values()),
        "total": len(rows_of),
        "asked": flat,
        "runs": runs,
    }


def _fitting(corpus: ParallelCorpus, rows_of: dict[str, int], room: int, runs: int) -> list[str]:
    """Seeds that were asked, in file order, while there is room for their texts and rows."""
    kept: list[str] = []
    seen: set[str] = set()
    for id_, seed in corpus.seeds.items():
        if id_ not in rows_of:
            continue
        new = set(seed.passages.values()) - seen
        size = sum(len(corpus.passages[passage].text) for passage in new)
        size += sum(map(len, seed.questions.values())) + rows_of[id_] * ROW_CHARACTERS * (1 + runs)
        if size > room and kept:
            break
        room -= size
        seen |= new
        kept.append(id_)
    return kept


def _seed(seed: Seed, numbers: dict[str, int], texts: dict[str, str], languages: Sequence[str]) -> dict[str, Any]:
    def spans(language: str, answers: Sequence[Answer]) -> list[list[int]]:
        text = texts[seed.passages[language]]
        return [[utf16(text, answer.start), utf16(text, answer.end)] for answer in answers]

    return {
        "id": seed.id,
        "q": {language: text for language, text in seed.questions.items() if language in languages},
        "c": {language: numbers[passage] for language, passage in seed.passages.items() if language in languages},
        "a": {language: spans(language, found) for language, found in seed.answers.items() if language in languages},
    }


def utf16(text: str, index: int) -> int:
    """A Python string index as JavaScript counts it, where characters beyond U+FFFF take two units."""
    if text.isascii():
        return index
    return index + sum(character > "\uffff" for character in text[:index])
