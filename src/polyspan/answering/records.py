"""Questions out of a file, one at a time: JSON lines, CSV, TSV, or SQuAD's JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from polyspan.answering.asked import Asked, AskedError, check_asked, refuse_halves
from polyspan.corpus.load import refuse_packed
from polyspan.corpus.model import CorpusError
from polyspan.corpus.squad import read_json
from polyspan.corpus.table import find_header, fit_cells, plain_name
from polyspan.files import refuse_utf16

SUFFIXES = (".jsonl", ".csv", ".tsv", ".json")
KNOWN = ("id", "question", "context", "language", "question_language", "context_language")
LONGEST_FIELD = 2**31 - 1  # the csv module's own limit is far below a long context


@dataclass(frozen=True, slots=True)
class Record:
    """One question over one context.

    Attributes:
        line: where it begins in its file, from 1; in SQuAD's layout its number among the questions.
        id: the file's own name for it, if it has one.
        asked: question and context, checked.
        languages: of the question and the context, where the file says them.
    """

    line: int
    id: str | int | None
    asked: Asked
    languages: tuple[str, str] | None


class BadRecord(NamedTuple):
    """What stands there and cannot be asked, and why."""

    line: int
    message: str


def read_records(path: Path) -> Iterator[Record | BadRecord]:
    """The records of a file in their order; tables are read as a stream, SQuAD's JSON as a whole.

    Rows need ``question`` and ``context``; ``id``, ``language`` or ``question_language`` and
    ``context_language`` are taken along, anything else is ignored. Empty lines are no records.

    Raises:
        CorpusError: no such file, packed, an unknown suffix, a table without the two columns or with a
            quote that is not closed, or JSON that is not in SQuAD's layout.
    """
    refuse_packed(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise CorpusError(f"{path}: questions are read from {', '.join(SUFFIXES)} (SQuAD's layout) files")
    if not path.is_file():
        raise CorpusError(f"{path}: no such file")
    if suffix == ".json":
        return _squad(path)
    with path.open("rb") as file:
        refuse_utf16(file.read(2), str(path), CorpusError, "UTF-8" if suffix == ".jsonl" else "CSV UTF-8")
    return _json_lines(path) if suffix == ".jsonl" else _table(path)


def _json_lines(path: Path) -> Iterator[Record | BadRecord]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                yield BadRecord(number, f"not UTF-8 at byte {error.start}")
            except json.JSONDecodeError as error:
                yield BadRecord(number, f"not valid JSON ({error.msg}, column {error.colno})")
            except (ValueError, RecursionError) as error:  # a number of thousands of digits; deep nesting
                yield BadRecord(number, f"JSON that cannot be read ({str(error)[:80]})")
            else:
                yield _json_record(number, row)


def _json_record(line: int, row: Any) -> Record | BadRecord:
    if not isinstance(row, dict):
        return BadRecord(line, "not a JSON object")
    if isinstance(row.get("data"), list) and "question" not in row:
        return BadRecord(line, "in SQuAD's layout, not one question; name such a file .json")
    return _record(line, {plain_name(key): value for key, value in row.items()})


def _table(path: Path) -> Iterator[Record | BadRecord]:
    csv.field_size_limit(LONGEST_FIELD)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        delimiter, skipped = find_header(path, file)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = [plain_name(name) for name in next(rows, [])]
        except csv.Error as error:
            raise CorpusError(f"{path}: line {1 + skipped}: not a readable row ({error})") from error
        if not header:
            raise CorpusError(f"{path}: the file is empty")
        for name in ("question", "context"):
            if name not in header:
                raise CorpusError(
                    f"{path}: line {1 + skipped}: no column named {name!r}; the table has {', '.join(header)}"
                )
        if twice := [name for name in KNOWN if header.count(name) > 1]:
            raise CorpusError(f"{path}: line {1 + skipped}: two columns are named {twice[0]!r}; keep one")
        while True:
            line = rows.line_num + skipped + 1
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                # Where lines after it were taken for its text, it cannot be passed over.
                if rows.line_num + skipped > line:
                    raise CorpusError(
                        f"{path}: line {line}: the quotes of this row do not end where a cell does ({error},"
                        f" line {rows.line_num + skipped}); close them, and write a quote within a cell twice"
                    ) from error
                yield BadRecord(line, f"not a readable row ({error})")
                continue
            if not any(cell.strip() for cell in row):
                continue
            if (fitted := fit_cells(row, header, ("question", "context"))) is None:
                yield BadRecord(line, f"has {len(row)} cells, expected {len(header)}")
            elif any("\udc80" <= character <= "\udcff" for cell in row for character in cell):
                yield BadRecord(line, "not UTF-8; save the table as CSV UTF-8")
            else:
                yield _record(line, fitted)


def _squad(path: Path) -> Iterator[Record | BadRecord]:
    tree = read_json(path)
    try:
        paragraphs = [paragraph for article in tree["data"] for paragraph in article["paragraphs"]]
        questions = [(paragraph.get("context"), qa) for paragraph in paragraphs for qa in paragraph["qas"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{path}: not in SQuAD's layout: data, paragraphs, context and qas ({error!r})") from error
    for number, (context, qa) in enumerate(questions, start=1):
        if isinstance(qa, dict):
            yield _record(number, {"id": qa.get("id"), "question": qa.get("question"), "context": context})
        else:
            yield BadRecord(number, "not a JSON object")


def _record(line: int, row: Mapping[str, Any]) -> Record | BadRecord:
    id_ = row.get("id")
    if id_ is not None and (isinstance(id_, bool) or not isinstance(id_, str | int)):
        return BadRecord(line, f"the id is neither text nor a whole number but {type(id_).__name__}")
    shared = row.get("language")
    languages = [row.get(f"{side}_language") or shared for side in ("question", "context")]
    if any(language and not isinstance(language, str) for language in languages):
        return BadRecord(line, "a language is not text but a number, a list or an object")
    if bool(languages[0]) != bool(languages[1]):
        return BadRecord(line, "question_language and context_language belong together")
    try:
        asked = check_asked(row.get("question"), row.get("context"))
        for name, text in (("id", id_), ("language", languages[0]), ("language", languages[1])):
            refuse_halves(name, str(text))
    except AskedError as error:
        return BadRecord(line, str(error))
    return Record(
        line,
        None if id_ == "" else id_,
        asked,
        (str(languages[0]), str(languages[1])) if all(languages) else None,
    )
