"""Data sets of the Hugging Face hub, through the ``datasets`` library (extra ``hub``)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from polyspan.corpus.builder import CorpusBuilder, Record
from polyspan.corpus.model import CorpusError, ParallelCorpus
from polyspan.corpus.problems import Problems
from polyspan.corpus.rows import record_of_row
from polyspan.errors import one_line


def read_hub(address: str, languages: Sequence[str] | None, problems: Problems) -> ParallelCorpus:
    """Read ``OWNER/NAME[/CONFIG]:SPLIT``, or a local folder in place of OWNER/NAME.

    A parallel set keeps each language in a configuration of its own; name it with a placeholder:
    ``google/xquad/xquad.{language}:validation`` is read once for each of ``languages``, and
    ``facebook/mlqa/mlqa.{context}.{question}:test`` once for each pair of them.

    Args:
        address: see above and `split_address`.
        languages: what placeholders stand for. Without a placeholder the first one is the language
            of a set whose rows have no ``language`` column, English if there is none.
        problems: where bad records go.

    Raises:
        CorpusError: ``datasets`` is not installed, it cannot load the set, or a placeholder
            without languages.
    """
    try:
        import datasets
    except ImportError as error:
        raise CorpusError("reading from the hub needs datasets: pip install 'polyspan[hub]'") from error
    # Its retries would be told line by line; what is wrong is said once, below.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    builder = CorpusBuilder(address, problems, views="{question}" in address)
    for part, of_rows in _expand(address, languages):
        name, config, split = split_address(part)
        try:
            rows = datasets.load_dataset(name, config, split=split)
        except Exception as error:  # datasets raises a dozen kinds; all mean that there is nothing to read
            raise CorpusError(f"hub set {part}: {one_line(error, 300)}") from error
        for record in records_of_rows(part, rows, of_rows, problems):
            builder.add(record)
    return builder.build()


def _expand(address: str, languages: Sequence[str] | None) -> Iterator[tuple[str, tuple[str, str]]]:
    """Addresses without placeholders, each with the question's and the context's language."""
    if "{" not in address:
        only = (languages or ["en"])[0]
        yield address, (only, only)
        return
    if not languages:
        raise CorpusError(f"hub set {address}: name the languages that it is to be read in: --languages en,de")
    for question, context in product(languages, languages):
        if "{language}" in address and question != context:
            continue
        filled = address.replace("{language}", context).replace("{context}", context).replace("{question}", question)
        if "{" in filled:
            raise CorpusError(f"hub set {address}: placeholders are {{language}}, or {{question}} and {{context}}")
        yield filled, (question, context)


def hub_id(address: str) -> str:
    """OWNER/NAME of an address, whatever configuration and split it names."""
    return "/".join(address.partition(":")[0].split("/")[:2])


def split_address(address: str) -> tuple[str, str | None, str]:
    """``OWNER/NAME[/CONFIG]:SPLIT`` to its parts; a local folder is kept whole."""
    name, separator, split = address.rpartition(":")
    if not separator or not name or not split:
        raise CorpusError(f"hub set {address}: name the split, as in OWNER/NAME:validation")
    place = Path(name).expanduser()
    if place.exists():
        return str(place), None, split
    if name.startswith(("/", ".", "~")):
        raise CorpusError(f"hub set {address}: no such file or folder")
    if name.count("/") < 2:
        return name, None, split
    owner, dataset, config = name.split("/", 2)
    return f"{owner}/{dataset}", config, split


def records_of_rows(
    name: str, rows: Iterable[Mapping[str, Any]], languages: tuple[str, str], problems: Problems
) -> Iterator[Record]:
    """Rows of id, context, question and answers {text, answer_start}, as the hub's sets have them.

    Args:
        name: of the set, for messages.
        rows: from `datasets`; see `record_of_row`.
        languages: of question and context.
        problems: where bad rows go.
    """
    for number, row in enumerate(rows):
        if record := record_of_row(f"{name}: row {number}", row, languages, problems):
            yield record
