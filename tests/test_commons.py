"""The corpus that ships: parallel, exact, split by passage, varied enough for what it is used for."""

from __future__ import annotations

import json
import re
import unicodedata
from importlib import resources
from itertools import combinations
from pathlib import Path

import pytest

from polyspan.corpus import ParallelCorpus, load_corpus

LANGUAGES = ["ar", "de", "en", "es", "eu", "hi", "sw", "vi", "zh"]
PARTS = ["train", "dev", "test"]
SCRIPTS = {"ar": "ARABIC", "hi": "DEVANAGARI", "zh": "CJK"}
QUESTION_MARKS = {"ar": "؟", "zh": "？"}
# Swahili counts the hours from six in the morning: 10:15 is 4:15, 3:51 is 9:51.
CLOCK = {("sw", "4:15"): "10:15", ("sw", "9:51"): "3:51"}


@pytest.fixture(scope="module")
def parts() -> dict[str, ParallelCorpus]:
    return {part: load_corpus(f"commons/{part}") for part in PARTS}


def texts_by_language(corpus: ParallelCorpus) -> dict[str, list[tuple[str, str, str, int]]]:
    """(context, question, answer, start) by language, the seeds in order."""
    rows: dict[str, list[tuple[str, str, str, int]]] = {language: [] for language in corpus.languages}
    for seed in corpus.seeds.values():
        for language, answers in seed.answers.items():
            context = corpus.passages[seed.passages[language]].text
            rows[language] += [(context, seed.questions[language], a.text, a.start) for a in answers]
    return rows


def test_size_and_split(parts: dict[str, ParallelCorpus]) -> None:
    contexts = {part: {passage.text for passage in corpus.passages.values()} for part, corpus in parts.items()}
    titles = {part: {passage.title for passage in corpus.passages.values()} for part, corpus in parts.items()}
    ids = {part: {seed.split("q")[0] for seed in corpus.seeds} for part, corpus in parts.items()}
    assert sum(len(names) for names in ids.values()) >= 40
    assert sum(len(corpus) for corpus in parts.values()) >= 120
    assert all(len(ids[part]) >= 8 for part in PARTS)
    for one, other in combinations(PARTS, 2):
        assert not contexts[one] & contexts[other]
        assert not titles[one] & titles[other]
        assert not ids[one] & ids[other]


@pytest.mark.parametrize("part", PARTS)
def test_every_seed_is_whole_in_nine_languages(parts: dict[str, ParallelCorpus], part: str) -> None:
    corpus = parts[part]
    assert sorted(corpus.languages) == LANGUAGES
    for seed in corpus.seeds.values():
        assert sorted(seed.questions) == sorted(seed.passages) == sorted(seed.answers) == LANGUAGES
        assert all(len(answers) == 1 for answers in seed.answers.values()), seed.id
    by_passage = {
        seed.passages["en"]: {language: seed.passages[language] for language in LANGUAGES}
        for seed in corpus.seeds.values()
    }
    for seed in corpus.seeds.values():
        assert by_passage[seed.passages["en"]] == seed.passages
    assert len(corpus.passages) == len(by_passage) * len(LANGUAGES)


@pytest.mark.parametrize("part", PARTS)
def test_answers_are_exact_whole_words(parts: dict[str, ParallelCorpus], part: str) -> None:
    for language, rows in texts_by_language(parts[part]).items():
        for context, question, answer, start in rows:
            end = start + len(answer)
            assert context[start:end] == answer == answer.strip()
            assert language == "zh" or f" {answer.lower()} " not in f" {question.lower()} ", (question, answer)
            if language != "zh":
                assert not re.search(r"\w\Z", context[:start]), (language, context[:start][-20:], answer)
                after = context[end : end + 1]
                assert not after or not (after.isalnum() or unicodedata.category(after)[0] == "M"), (answer, after)


def numbers(language: str, text: str) -> list[str]:
    """Numbers in digits, without the months that Vietnamese and Chinese write so."""
    text = re.sub(r"(\d+) giờ (\d+) phút|(\d+)点(\d+)分", r"\1\3:\2\4", text)
    text = re.sub(r"tháng \d+|\d+月", "", text)
    found = re.findall(r"\d+(?::\d+)?(?:[.,]\d{3})*", text)
    return sorted(CLOCK.get((language, number), number).replace(",", "").replace(".", "") for number in found)


@pytest.mark.parametrize("part", PARTS)
def test_languages_say_the_same_numbers_in_their_own_script(parts: dict[str, ParallelCorpus], part: str) -> None:
    corpus = parts[part]
    for seed in corpus.seeds.values():
        expected = numbers("en", corpus.passages[seed.passages["en"]].text)
        for language in LANGUAGES:
            context, question = corpus.passages[seed.passages[language]].text, seed.questions[language]
            where = f"{seed.id} {language}"
            assert numbers(language, context) == expected, where
            assert question.endswith(QUESTION_MARKS.get(language, "?")), where
            assert question.startswith("¿") or "¿" in question or language != "es", where
            for text in (context, question):
                assert unicodedata.is_normalized("NFC", text), where
                assert not re.search(r"\s\s|\s\Z|\A\s|[\u200b-\u200f\ufeff]", text), where
                letters = [character for character in text if character.isalpha()]
                script = SCRIPTS.get(language, "LATIN")
                assert all(unicodedata.name(letter).startswith(script) for letter in letters) or (
                    # an initial, a name or a unit may stay in Latin letters
                    sum(unicodedata.name(letter).startswith(script) for letter in letters) > 0.95 * len(letters)
                ), where


def test_passages_are_short_and_of_like_length(parts: dict[str, ParallelCorpus]) -> None:
    for corpus in parts.values():
        for seed in corpus.seeds.values():
            english = corpus.passages[seed.passages["en"]].text
            assert 60 <= len(english.split()) <= 120, seed.id
            for language in set(LANGUAGES) - {"zh"}:
                length = len(corpus.passages[seed.passages[language]].text)
                assert 0.7 < length / len(english) < 1.4, (seed.id, language)


def test_answers_are_of_many_kinds(parts: dict[str, ParallelCorpus]) -> None:
    rows = [row for corpus in parts.values() for row in texts_by_language(corpus)["en"]]
    words = [len(answer.split()) for _, _, answer, _ in rows]
    assert sum(count == 1 for count in words) >= 20
    assert sum(count >= 6 for count in words) >= 20
    assert sum(context.count(answer) > 1 for context, _, answer, _ in rows) >= 10
    assert any(answer.isdigit() for _, _, answer, _ in rows)
    positions = [start / len(context) for context, _, _, start in rows]
    assert min(positions) < 0.2
    assert max(positions) > 0.9
    openings = {question.split()[0].lower() for _, question, _, _ in rows}
    assert {"who", "what", "where", "why", "how", "which", "when"} <= openings


def test_questions_cannot_be_answered_by_matching_words(parts: dict[str, ParallelCorpus]) -> None:
    """A window of the answer's length beside the words of the question finds few answers."""
    hits, total = 0, 0
    for corpus in parts.values():
        for context, question, _, start in texts_by_language(corpus)["en"]:
            asked = {word for word in re.findall(r"\w+", question.lower()) if len(word) > 3}
            sentences = [(m.start(), m.end()) for m in re.finditer(r"[^.;:]+[.;:]?", context)]

            def overlap(span: tuple[int, int], text: str = context, words: set[str] = asked) -> int:
                return len(words & set(re.findall(r"\w+", text[span[0] : span[1]].lower())))

            best = max(sentences, key=overlap)
            hits += overlap(best) >= 2 and best[0] <= start < best[1]
            total += 1
    assert hits < 0.15 * total


def test_the_dedication_ships_with_the_texts() -> None:
    folder = Path(str(resources.files("polyspan.corpus"))) / "commons"
    assert "CC0 1.0 Universal" in (folder / "LICENSE").read_text(encoding="utf-8")
    for part in PARTS:
        files = sorted(path.name for path in (folder / part).iterdir())
        assert files == [f"commons.{language}.json" for language in LANGUAGES]
        trees = {name: json.loads((folder / part / name).read_text(encoding="utf-8")) for name in files}
        order = {
            name: [qa["id"] for a in t["data"] for p in a["paragraphs"] for qa in p["qas"]] for name, t in trees.items()
        }
        assert len({tuple(ids) for ids in order.values()}) == 1
