"""SQuAD's JSON, v1.1 and v2: the layout that XQuAD, MLQA and TyDiQA-GoldP share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from polyspan.corpus.builder import Record
from polyspan.corpus.model import CorpusError
from polyspan.corpus.problems import Problems
from polyspan.corpus.rows import is_flat, record_of_row
from polyspan.files import read_text


def read_json(path: Path) -> Any:
    """A JSON file, or an error that names the line.

    Raises:
        CorpusError: no such file, empty, not UTF-8, not JSON, or a JSON value each line.
    """
    text = read_text(path, CorpusError)
    if not text.strip():
        raise CorpusError(f"{path}: the file is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 1 and error.colno == 1:
            raise CorpusError(
                f"{path}: more JSON begins in line {error.lineno}; if each line is a row, name it .jsonl"
            ) from error
        raise CorpusError(f"{path}: line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, endless brackets
        raise CorpusError(f"{path}: JSON that cannot be read ({error})") from error


def squad_records(path: Path, languages: Callable[[str], tuple[str, str]], problems: Problems) -> Iterator[Record]:
    """The questions of one file, in order. Unknown keys are ignored.

    In place of articles there may be flat rows (`polyspan.corpus.rows`), also as a bare list.

    Args:
        path: the JSON file.
        languages: question and context language of an id.
        problems: where bad records go.

    Raises:
        CorpusError: the file as a whole is not of this layout.
    """
    tree = read_json(path)
    articles = tree.get("data") if isinstance(tree, dict) else tree
    flat = isinstance(articles, list) and bool(articles) and is_flat(articles[0])
    if not isinstance(articles, list) or not (isinstance(tree, dict) or flat):
        raise CorpusError(f"{path}: not in SQuAD's layout, which is an object with a list named 'data'")
    if flat:
        yield from _flat_records(path, articles, languages, problems)
        return
    for article_number, article in enumerate(articles, start=1):
        where = f"{path}: article {article_number}"
        if not isinstance(article, dict) or not isinstance(article.get("paragraphs"), list):
            problems.report(where, None, "missing key", "has no list named 'paragraphs'")
            continue
        title = str(article.get("title") or "")
        for paragraph_number, paragraph in enumerate(article["paragraphs"], start=1):
            place = f"{where}, paragraph {paragraph_number}"
            if not isinstance(paragraph, dict) or not isinstance(paragraph.get("qas"), list):
                problems.report(place, None, "missing key", "has no list named 'qas'")
                continue
            for qa in paragraph["qas"]:
                record = _record(place, title, paragraph.get("context"), qa, languages, problems)
                if record is not None:
                    yield record


def _flat_records(
    path: Path, rows: list[Any], languages: Callable[[str], tuple[str, str]], problems: Problems
) -> Iterator[Record]:
    for number, row in enumerate(rows, start=1):
        where = f"{path}: row {number}"
        try:
            of_id = languages(str(row.get("id")) if isinstance(row, dict) else "")
        except KeyError:
            problems.report(where, None, "missing language", "the id does not begin with a known language")
            continue
        if record := record_of_row(where, row, of_id, problems):
            yield record


def _record(
    where: str,
    title: str,
    context: Any,
    qa: Any,
    languages: Callable[[str], tuple[str, str]],
    problems: Problems,
) -> Record | None:
    id_ = qa.get("id") if isinstance(qa, dict) else None
    if not isinstance(id_, str | int):
        problems.report(where, None, "missing key", "a question has no 'id'")
        return None
    id_ = str(id_)
    if not isinstance(context, str) or not isinstance(qa.get("question"), str):
        missing = "question" if isinstance(context, str) else "context"
        problems.report(where, id_, "missing key", f"has no text named {missing!r}")
        return None
    answers: list[tuple[str, int | None]] = []
    impossible = qa.get("is_impossible")
    if not isinstance(impossible, bool | None):
        problems.report(where, id_, "bad is_impossible", f"'is_impossible' is {impossible!r}, neither true nor false")
        return None
    given = [] if impossible else qa.get("answers")
    if given is None:
        problems.report(where, id_, "missing key", "has no 'answers'")
        return None
    if not isinstance(given, list):
        problems.report(where, id_, "bad answers", "'answers' is not a list of objects with 'text' and 'answer_start'")
        return None
    if not given and not impossible:
        problems.report(where, id_, "bad answers", "'answers' is empty; where there is none, 'is_impossible' is true")
        return None
    for answer in given:
        text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
        if not isinstance(text, str) or type(start) is not int:
            problems.report(where, id_, "missing key", "an answer has no 'text' or no whole number 'answer_start'")
            return None
        answers.append((text, start))
    try:
        question_language, context_language = languages(id_)
    except KeyError:
        problems.report(where, id_, "missing language", "the id does not begin with a known language")
        return None
    return Record(where, id_, question_language, context_language, title, context, qa["question"].strip(), answers)
