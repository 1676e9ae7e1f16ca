"""A table a person can make in a spreadsheet: CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from polyspan.corpus.builder import CorpusBuilder, Record
from polyspan.corpus.model import CorpusError, ParallelCorpus
from polyspan.corpus.problems import Problems
from polyspan.corpus.rows import is_flat, record_of_row
from polyspan.files import read_text

COLUMNS = ("id", "language", "context", "question", "answer")
PAIR_COLUMNS = ("question_language", "context_language")
"""In place of ``language``, where question and context are in two."""
KNOWN = {*COLUMNS, *PAIR_COLUMNS, "answer_start"}


def read_table(path: Path, problems: Problems, language: str = "en") -> ParallelCorpus:
    """Rows of id, language, context, question, answer and, if there is one, answer_start.

    In place of the language there may be a question_language and a context_language.
    Rows with one id in several languages make one seed; rows with one id in one language give
    several gold answers. An empty answer means that the context holds none, which must be so in every
    language of its id. Where answer_start is missing the answer is searched, and must stand exactly once in
    the context. Lines of JSON may also be flat rows (`polyspan.corpus.rows`).

    Args:
        path: the file.
        problems: where bad rows go.
        language: of flat rows that name none.

    Raises:
        CorpusError: no such file, empty, another layout, a column is missing, or a bad row when
            those are not allowed.
    """
    text = read_text(path, CorpusError, save_as="CSV UTF-8")
    if not text.strip():
        raise CorpusError(f"{path}: the file is empty")
    builder = CorpusBuilder(str(path), problems, views=True)
    json_lines = path.suffix.lower() == ".jsonl"
    if json_lines:
        _refuse_squad(path, text)
    elif text.lstrip()[0] in "{[":
        raise CorpusError(
            f"{path}: is JSON, not CSV; name it .jsonl if each line is a row, or read it with --kind squad"
        )
    rows = _json_rows(path, text, problems) if json_lines else _csv_rows(path, text, problems)
    for line, row in rows:
        where = f"{path}: line {line}"
        if is_flat(row):
            record = record_of_row(where, row, (language, language), problems)
        else:
            record = _record(where, row, problems)
        if record:
            builder.add(record)
    return builder.build()


def plain_name(name: str) -> str:
    """A column's name or a key as it is looked for: "Answer Start" is answer_start."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def fit_cells(row: list[str], header: Sequence[str], needed: Collection[str]) -> Mapping[str, str] | None:
    """A row by the names of its columns; None where it has other cells than they.

    Spreadsheets leave out what is empty at the end of a row, or write more of it.

    Args:
        row: its cells.
        header: names of columns.
        needed: those whose cells are not left out.
    """
    if any(cell.strip() for cell in row[len(header) :]) or set(header[len(row) :]) & set(needed):
        return None
    return dict(zip_longest(header, row[: len(header)], fillvalue=""))


def find_header(path: Path, file: TextIO) -> tuple[str, int]:
    """Go to the header of a table: past empty lines, and past one in which a spreadsheet names what separates cells.

    Args:
        path: a .tsv's cells are separated by tabs; those of other tables, where it is not named, by what shows most
            columns of a known name.
        file: the table, at its beginning and opened with ``newline=""``; afterwards at its header.

    Returns:
        what separates cells, and how many lines were passed.
    """
    passed, begins, first = 0, file.tell(), file.readline()
    while first and not first.strip("\r\n,;\t "):
        passed, begins, first = passed + 1, file.tell(), file.readline()
    if named := re.fullmatch(r"sep=(.)\s*", first):
        return named[1], passed + 1
    file.seek(begins)
    if path.suffix.lower() == ".tsv":
        return "\t", passed

    def shows(separator: str) -> tuple[int, int]:
        names = {plain_name(cell.strip('"\r\n')) for cell in first.split(separator)}
        return len(names & KNOWN), first.count(separator)

    return max(",;\t", key=shows), passed


def _csv_rows(path: Path, text: str, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    file = io.StringIO(text, newline="")
    delimiter, skipped = find_header(path, file)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # no cell is longer
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    line = 1 + skipped
    try:
        header = [plain_name(name) for name in next(reader, [])]
        needed = [name for name in COLUMNS if name != "language" or not set(PAIR_COLUMNS) <= set(header)]
        if missing := [name for name in needed if name not in header]:
            raise CorpusError(
                f"{path}: line {1 + skipped}: no column named {missing[0]!r};"
                f" needed are {', '.join(COLUMNS)}, the table has {', '.join(header)}"
            )
        if twice := [name for name in (*COLUMNS, *PAIR_COLUMNS, "answer_start") if header.count(name) > 1]:
            raise CorpusError(
                f"{path}: line {1 + skipped}: two columns are named {twice[0]!r};"
                " give each of several gold answers a row of its own"
            )
        while True:
            line = reader.line_num + 1 + skipped
            row = next(reader, None)
            if row is None:
                return
            if not any(cell.strip() for cell in row):
                continue
            if (fitted := fit_cells(row, header, needed)) is None:
                message = f"has {len(row)} cells, expected {len(header)}"
                problems.report(f"{path}: line {line}", None, "broken row", message)
                continue
            yield line, fitted
    except csv.Error as error:
        raise CorpusError(
            f"{path}: line {line}: not a readable table: a quotation mark that begins here is not closed, or text"
            f" follows it ({error}, line {reader.line_num + skipped}); a cell that itself begins with one has it"
            ' doubled and stands in quotation marks: """Faust"" is ..."'
        ) from error


def _refuse_squad(path: Path, text: str) -> None:
    """Of a file that is one JSON value and no line of a table; or a list of lines."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):  # several lines, or broken ones, which are named with their numbers
        return
    if isinstance(tree, dict) and isinstance(tree.get("data"), list) and "id" not in tree:
        raise CorpusError(
            f"{path}: is in SQuAD's layout, not a row each line; name it .json, or read it with --kind squad"
        )
    if isinstance(tree, list):
        hint = "name it .json" if tree and is_flat(tree[0]) else "put each of its objects on a line of its own"
        raise CorpusError(f"{path}: is one JSON list, not a row each line; {hint}")


def _json_rows(path: Path, text: str, problems: Problems) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError) as error:
            problems.report(f"{path}: line {line}", None, "broken row", f"not valid JSON ({error})")
            continue
        if not isinstance(row, dict):
            problems.report(f"{path}: line {line}", None, "broken row", "not a JSON object")
            continue
        yield line, {plain_name(key): value for key, value in row.items()}


def _record(where: str, row: Mapping[str, Any], problems: Problems) -> Record | None:
    cells = {name: row.get(name) for name in COLUMNS}
    if cells["id"] in (None, "") or not isinstance(cells["id"], str | int) or isinstance(cells["id"], bool):
        problems.report(where, None, "missing id", "the id is missing, or neither text nor a whole number")
        return None
    id_ = str(cells["id"]).strip()
    for name in ("context", "question", "answer"):
        cell = cells[name]
        # Libraries write an empty cell as NaN, which is no text; nor is true.
        if not isinstance(cell, str | int | float) or isinstance(cell, bool) or cell != cell:
            hint = '; where the context holds none, it is ""' if name == "answer" else ""
            problems.report(where, id_, "missing key", f"has no text named {name!r}{hint}")
            return None
    try:
        answer_start = _offset(row.get("answer_start"))
    except ValueError:
        start = str(row["answer_start"]).strip()
        problems.report(where, id_, "bad answer_start", f"answer_start {start!r} is not a whole number")
        return None
    languages = [row[name] if row.get(name) else cells["language"] for name in PAIR_COLUMNS]
    if not all(isinstance(language, str | None) for language in languages):
        problems.report(where, id_, "missing language", "the language is not text")
        return None
    asked_in, written_in = ((language or "").strip() for language in languages)
    answer = str(cells["answer"])
    answers = [(answer, answer_start)] if answer.strip() else []
    return Record(where, id_, asked_in, written_in, "", str(cells["context"]), str(cells["question"]).strip(), answers)


def _offset(cell: Any) -> int | None:
    """A whole number, also written as 8.0; None for an empty cell, or NaN as libraries write it."""
    if cell is None or cell != cell or not (text := str(cell).strip()):
        return None
    try:
        return int(text)
    except ValueError:
        number = float(text)
        if not number.is_integer():
            raise
        return int(number)
