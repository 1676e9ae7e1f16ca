"""A table a person can make in a spreadsheet: CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polyspan.corpus.builder import CorpusBuilder, Record
from polyspan.corpus.model import CorpusError, ParallelCorpus
from polyspan.corpus.problems import Problems

COLUMNS = ("id", "language", "context", "question", "answer")


def read_table(path: Path, problems: Problems) -> ParallelCorpus:
    """Rows of id, language, context, question, answer and, if there is one, answer_start.

    Rows with one id in several languages make one seed; rows with one id in one language give
    several gold answers. An empty answer means that the context holds none. Where answer_start is
    missing the answer is searched, and must stand exactly once in the context.

    Raises:
        CorpusError: no such file, empty, a column is missing, or a bad row when those are not allowed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 at byte {error.start}; save it as CSV UTF-8") from error
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
    if not text.strip():
        raise CorpusError(f"{path}: the file is empty")
    builder = CorpusBuilder(str(path), problems, views=True)
    rows = _json_rows(path, text, problems) if path.suffix == ".jsonl" else _csv_rows(path, text, problems)
    for line, row in rows:
        record = _record(f"{path}: line {line}", row, problems)
        if record is not None:
            builder.add(record)
    return builder.build()


def _csv_rows(path: Path, text: str, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first = text.partition("\n")[0]
    delimiter = "\t" if path.suffix == ".tsv" else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader)]
        if missing := [name for name in COLUMNS if name not in header]:
            raise CorpusError(f"{path}: line 1: no column named {missing[0]!r}; the table has {', '.join(header)}")
        while True:
            line = reader.line_num + 1
            row = next(reader, None)
            if row is None:
                return
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                problems.report(
                    f"{path}: line {line}",
                    None,
                    "broken row",
                    f"has {len(row)} cells, expected {len(header)}",
                )
                continue
            yield line, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise CorpusError(f"{path}: line {reader.line_num}: not a readable table ({error})") from error


def _json_rows(path: Path, text: str, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
        except json.JSONDecodeError as error:
            problems.report(f"{path}: line {line}", None, "broken row", f"not valid JSON ({error.msg})")
            continue
        if not isinstance(row, dict):
            problems.report(f"{path}: line {line}", None, "broken row", "not a JSON object")
            continue
        yield line, row


def _record(where: str, row: Mapping[str, Any], problems: Problems) -> Record | None:
    cells = {name: row.get(name) for name in COLUMNS}
    id_ = str(cells["id"]) if cells["id"] not in (None, "") else None
    if id_ is None:
        problems.report(where, None, "missing id", "the id is missing")
        return None
    for name in ("context", "question", "answer"):
        if cells[name] is None:
            problems.report(where, id_, "missing key", f"has no {name!r}")
            return None
    start = row.get("answer_start")
    try:
        answer_start = None if start is None or str(start).strip() == "" else int(start)
    except ValueError:
        problems.report(where, id_, "bad answer_start", f"answer_start {start!r} is not a whole number")
        return None
    language = str(cells["language"] or "").strip()
    answer = str(cells["answer"])
    answers = [(answer, answer_start)] if answer.strip() else []
    return Record(where, id_, language, language, "", str(cells["context"]), str(cells["question"]).strip(), answers)
