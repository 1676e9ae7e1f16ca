"""Records to a `ParallelCorpus`: every reader ends here, so all validate alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from polyspan.corpus.model import Answer, CorpusError, ParallelCorpus, Passage, Seed
from polyspan.corpus.problems import Problems

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair."""


@dataclass(frozen=True, slots=True)
class Record:
    """A question over a context, as a file gives it.

    Attributes:
        where: file and position, for messages.
        id: of the seed.
        question_language, context_language: codes such as "en".
        answers: (text, start), the start None where it is to be searched; none at all means that
            the context holds no answer. White space at the edges of a text is no part of the answer.
    """

    where: str
    id: str
    question_language: str
    context_language: str
    title: str
    context: str
    question: str
    answers: Sequence[tuple[str, int | None]]


_TYPED = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bc\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u3000\n\t", " "),
    }
)
"""Characters that keyboards and word processors put in the place of others."""


@dataclass
class CorpusBuilder:
    """Collects records; texts are kept once.

    Attributes:
        name: of the corpus.
        problems: where bad records go.
        views: the same seed may come again in the same language (MLQA's files are views of one set,
            a table gives one gold answer a row); otherwise it is a duplicate.
    """

    name: str
    problems: Problems
    views: bool = False
    _seeds: dict[str, Seed] = field(default_factory=dict)
    _passages: dict[str, Passage] = field(default_factory=dict)
    _passage_ids: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _spellings: dict[str, str] = field(default_factory=dict)
    _unanswered: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Validate one record and take it in, or report it."""
        if not self._texts_are_sound(record):
            return
        answers = self._answers(record)
        if answers is None:
            return
        seed = self._seeds.get(record.id) or Seed(record.id, {}, {}, {})
        passage = self._passage_id(record)
        old_question = seed.questions.get(record.question_language)
        old_passage = seed.passages.get(record.context_language)
        if old_question is not None and old_passage is not None and not self.views:
            self._report(record, "duplicate id", "this id was used before in the same language")
            return
        if old_question not in (None, record.question):
            self._report(record, "duplicate id", "another question has this id in the same language")
            return
        if old_passage not in (None, passage):
            self._report(record, "duplicate id", "another context has this id in the same language")
            return
        known = seed.answers.get(record.context_language)
        if known is not None and bool(known) != bool(answers):
            self._report(record, "contradictory answers", "this id has both an answer and no answer in one language")
            return
        if not answers:
            self._unanswered.setdefault((record.id, record.context_language), record.where)
        merged = dict.fromkeys([*(known or ()), *answers])
        self._seeds[record.id] = Seed(
            record.id,
            {**seed.questions, record.question_language: record.question},
            {**seed.passages, record.context_language: passage},
            {**seed.answers, record.context_language: tuple(merged)},
        )

    def build(self) -> ParallelCorpus:
        """The corpus of all that was added.

        A text without an answer whose translation has one is reported and left out: a translation that is not
        finished looks like this.

        Raises:
            CorpusError: nothing usable was added.
        """
        for (id_, language), where in self._unanswered.items():
            seed = self._seeds[id_]
            if elsewhere := next((code for code, answers in seed.answers.items() if answers), None):
                message = f"no answer in {language!r}, but one in {elsewhere!r}; fill it in, or empty all"
                self.problems.report(where, id_, "answered elsewhere", message)
                passages, answers = dict(seed.passages), dict(seed.answers)
                del passages[language], answers[language]
                self._seeds[id_] = replace(seed, passages=passages, answers=answers)
        if not self._seeds:
            found = self.problems.found
            first = f"; the first of {len(found)} problems is {found[0]}" if found else ""
            raise CorpusError(f"{self.name}: holds no question that can be used{first}")
        used = {passage for seed in self._seeds.values() for passage in seed.passages.values()}
        return ParallelCorpus(
            self.name, self._seeds, {key: value for key, value in self._passages.items() if key in used}
        )

    def _texts_are_sound(self, record: Record) -> bool:
        texts = {"id": record.id, "context": record.context, "question": record.question}
        if self._passage_key(record) in self._passage_ids:  # a long context is not searched for each of its questions
            del texts["context"]
        for kind, text in texts.items():
            if not text.strip():
                self._report(record, f"empty {kind}", f"the {kind} is empty")
                return False
            if _HALF.search(text):
                self._report(record, "broken text", f"the {kind} holds half of a surrogate pair; save it as UTF-8")
                return False
        for language in (record.question_language, record.context_language):
            if not language.strip():
                self._report(record, "missing language", "the language is missing")
                return False
            first = self._spellings.setdefault(language.lower(), language)
            if language != first:
                self._report(record, "language in other case", f"the language is {language!r}, before it was {first!r}")
                return False
        return True

    def _answers(self, record: Record) -> list[Answer] | None:
        found = []
        for given, at in record.answers:
            text = given.strip()
            start = None if at is None else at + len(given) - len(given.lstrip())
            if not text:
                self._report(record, "empty answer", "the answer is empty")
                return None
            if start is None:
                first = record.context.find(text)
                if first < 0:
                    message = f"answer {text!r} is not in the context{_but(text, record.context)}"
                    self._report(record, "answer not in context", message)
                    return None
                if record.context.find(text, first + 1) >= 0:
                    self._report(
                        record,
                        "answer occurs twice",
                        f"answer {text!r} stands more than once in the context; give answer_start",
                    )
                    return None
                before, after = record.context[:first][-1:], record.context[first + len(text) :][:1]
                if (text[0].isdigit() and before.isdigit()) or (text[-1].isdigit() and after.isdigit()):
                    message = f"answer {text!r} stands in the context only within another number; if it is meant, give"
                    self._report(record, "answer within a number", f"{message} answer_start")
                    return None
                start = first
            if start < 0 or record.context[start : start + len(text)] != text:
                there = record.context[max(0, start) : max(0, start) + len(text)]
                self._report(
                    record,
                    "answer not at its offset",
                    f"answer {text!r} is not at {start} in the context, {there!r} is{_but(text, record.context)}",
                )
                return None
            found.append(Answer(text, start))
        return found

    def _passage_id(self, record: Record) -> str:
        key = self._passage_key(record)
        if key not in self._passage_ids:
            count = self._counts.get(record.context_language, 0)
            self._counts[record.context_language] = count + 1
            new = f"{record.context_language}-{count}"
            self._passage_ids[key] = new
            self._passages[new] = Passage(new, record.context_language, record.title, record.context)
        return self._passage_ids[key]

    def _passage_key(self, record: Record) -> tuple[str, str, str]:
        """What makes a passage; views may name one text otherwise."""
        return record.context_language, "" if self.views else record.title, record.context

    def _report(self, record: Record, kind: str, message: str) -> None:
        self.problems.report(record.where, record.id, kind, message)


def _but(answer: str, context: str) -> str:
    """What may have gone wrong with an answer that is not where it should be, for a message."""
    if (times := context.count(answer)) == 1:
        return f"; it stands at {context.find(answer)}"
    if not times and unicodedata.normalize("NFC", answer) in unicodedata.normalize("NFC", context):
        return "; it is in another Unicode form: normalise both to NFC"
    if not times and (at := _alike(context).find(_alike(answer))) >= 0:
        return f"; {context[at : at + len(answer)]!r} is, with other capitals, quotation marks, hyphens or spaces"
    return ""


def _alike(text: str) -> str:
    """As many characters, with what is easily typed otherwise made the same."""
    lower = "".join(low if len(low := character.lower()) == 1 else character for character in text)
    return lower.translate(_TYPED)
