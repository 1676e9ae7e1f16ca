"""Data sets of the Hugging Face hub, through the ``datasets`` library (extra ``hub``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from polyspan.corpus.builder import CorpusBuilder, Record
from polyspan.corpus.model import CorpusError, ParallelCorpus
from polyspan.corpus.problems import Problems


def read_hub(address: str, language: str, problems: Problems) -> ParallelCorpus:
    """Read ``NAME[/CONFIG]:SPLIT``, where NAME is what ``datasets.load_dataset`` takes.

    Args:
        address: such as ``google/xquad/xquad.de:validation`` or ``json:rows.jsonl``, see
            `split_address`.
        language: of a set whose rows have no ``language`` column.
        problems: where bad records go.

    Raises:
        CorpusError: ``datasets`` is not installed, or it cannot load the set.
    """
    try:
        import datasets
    except ImportError as error:
        raise CorpusError("reading from the hub needs datasets: pip install 'polyspan[hub]'") from error
    import logging

    name, config, split = split_address(address)
    # Its retries would be told line by line; what is wrong is said once, below.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        rows = datasets.load_dataset(name, config, split=split)
    except Exception as error:  # datasets raises a dozen kinds; all mean that there is nothing to read
        raise CorpusError(f"hub set {address}: {' '.join(str(error).split())[:300]}") from error
    return corpus_of_rows(address, rows, language, problems)


def split_address(address: str) -> tuple[str, str | None, str]:
    """``OWNER/NAME[/CONFIG]:SPLIT`` to its parts; a local folder is kept whole."""
    from pathlib import Path

    name, separator, split = address.rpartition(":")
    if not separator:
        raise CorpusError(f"hub set {address}: name the split, as in OWNER/NAME:validation")
    if Path(name).exists() or name.count("/") < 2:
        return name, None, split
    owner, dataset, config = name.split("/", 2)
    return f"{owner}/{dataset}", config, split


def corpus_of_rows(name: str, rows: Iterable[Mapping[str, Any]], language: str, problems: Problems) -> ParallelCorpus:
    """Rows of id, context, question and answers {text, answer_start}, as the hub's sets have them."""
    builder = CorpusBuilder(name, problems)
    for number, row in enumerate(rows):
        where = f"{name}: row {number}"
        try:
            answers = [
                (str(text), int(start))
                for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
            ]
            of_row = str(row.get("language") or language)
            record = Record(
                where,
                str(row["id"]),
                of_row,
                of_row,
                str(row.get("title") or ""),
                str(row["context"]),
                str(row["question"]).strip(),
                answers,
            )
        except (KeyError, TypeError, ValueError) as error:
            problems.report(where, None, "missing key", f"not a question answering row ({error!r})")
            continue
        builder.add(record)
    return builder.build()
