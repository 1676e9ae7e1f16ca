"""A file of questions to a file of answers: as a stream, in order, and going on after a kill."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from polyspan.answering.answerer import Answerer, Reading
from polyspan.answering.output import OutputError, ResumableOutput, check_finished, shard_path
from polyspan.answering.records import BadRecord, Record, read_records
from polyspan.corpus.model import CorpusError
from polyspan.corpus.problems import OnBad
from polyspan.files import sha256

CHUNK_RECORDS = 128
CHUNK_CHARACTERS = 200_000
"""A chunk is answered and written at once: so much is done again after a kill, and so much is in memory."""
NAMED_BAD = 20


@dataclass(frozen=True)
class Contents:
    """What a first look through a file found.

    Attributes:
        records: this shard's records that can be asked.
        characters: of their contexts, which is what answering takes time for.
        bad: what cannot be asked, of all shards.
    """

    records: int
    characters: int
    bad: list[BadRecord]


@dataclass(frozen=True)
class Done:
    """What a run came to: where the answers are, how many, how many were there already, what was skipped."""

    path: Path
    records: int
    resumed: int
    skipped: list[BadRecord]


def look_through(path: Path, shard: tuple[int, int], on_bad: OnBad) -> Contents:
    """Read all records once, before any is answered, so that bad ones are known at the start.

    Args:
        path: the file.
        shard: which, from 1, of how many.
        on_bad: "fail" raises when there is any.

    Raises:
        CorpusError: a file that cannot be read, bad records, or no records at all.
    """
    records = characters = everything = 0
    bad = []
    for number, record in enumerate(read_records(path)):
        if isinstance(record, BadRecord):
            bad.append(record)
            continue
        everything += 1
        if number % shard[1] == shard[0] - 1:
            records += 1
            characters += len(record.asked.context)
    if bad and on_bad == "fail":
        more = f"; and {len(bad) - NAMED_BAD} more" if len(bad) > NAMED_BAD else ""
        named = "; ".join(f"line {line}: {message}" for line, message in bad[:NAMED_BAD])
        raise CorpusError(f"{path}: {named}{more} (--on-bad skip passes over bad records)")
    if not everything:
        raise CorpusError(f"{path}: holds no question that can be asked")
    return Contents(records, characters, bad)


def predict_file(
    answerer: Answerer,
    path: Path,
    output: Path,
    reading: Reading,
    shard: tuple[int, int] = (1, 1),
    on_bad: OnBad = "fail",
    begin: Callable[[Contents], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Done:
    """Answer every question of a file; see `ResumableOutput` for what a kill leaves.

    Each line of the output is an object with ``line`` (where the question stands), ``id`` if it has
    one, and what `Answers.to_dict` gives.

    Args:
        answerer: who answers.
        path: as `read_records` reads it.
        output: the file, or the one that shards are joined into.
        reading: how to read.
        shard: which, from 1, of how many; records are dealt out in turn.
        on_bad: "fail" refuses a file with bad records before anything is answered.
        begin: called with what there is to do.
        progress: called with the records and the context characters that are done.

    Raises:
        CorpusError: as `look_through`.
        OutputError: the output is there, cannot be written, or was begun or made with other settings.
    """
    mine = shard_path(output, *shard)
    if output.exists() and path.exists() and output.samefile(path):
        raise OutputError(f"{output}: holds the questions; name another --output")
    if output.exists() and mine != output:
        raise OutputError(f"{output}: is there already; delete it or name another --output")
    if mine.exists() and mine != output:
        check_finished(mine, _settings(answerer, path, reading, shard))
        with mine.open("rb") as file:  # finished before; only other shards are missing
            records = sum(1 for _ in file)
        return Done(mine, records, records, [])
    contents = look_through(path, shard, on_bad)
    if begin is not None:
        begin(contents)
    with ResumableOutput(mine, _settings(answerer, path, reading, shard)) as out:
        records = characters = resumed = 0
        for chunk in _chunks(_of_shard(path, shard)):
            todo = [record for record in chunk if record.line > out.last_line]
            size = sum(len(record.asked.context) for record in chunk)

            def move(done: int, total: int, so_far: int = records, behind: int = characters, size: int = size) -> None:
                if progress is not None:
                    progress(so_far, behind + size * done // total)

            out.append(_answer(answerer, todo, reading, move))
            resumed += len(chunk) - len(todo)
            records += len(chunk)
            characters += size
            if progress is not None:
                progress(records, characters)
        out.finish(keep_settings=mine != output)
    return Done(mine, records, resumed, contents.bad)


def _answer(
    answerer: Answerer, records: list[Record], reading: Reading, progress: Callable[[int, int], None]
) -> Iterator[dict[str, Any]]:
    languages = [record.languages for record in records]
    answers = answerer.answer_many([record.asked for record in records], reading, progress, languages)
    for record, found in zip(records, answers, strict=True):
        named = {} if record.id is None else {"id": record.id}
        yield {"line": record.line, **named, **found.to_dict()}


def _of_shard(path: Path, shard: tuple[int, int]) -> Iterator[Record]:
    for record in islice(read_records(path), shard[0] - 1, None, shard[1]):
        if isinstance(record, Record):
            yield record


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    characters = 0
    for record in records:
        chunk.append(record)
        characters += len(record.asked.context)
        if len(chunk) == CHUNK_RECORDS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _settings(answerer: Answerer, path: Path, reading: Reading, shard: tuple[int, int]) -> dict[str, Any]:
    from polyspan.models.load import CALIBRATION_FILE, model_folder

    folder = model_folder(answerer.name)
    # The calibration has a key of its own.
    kinds = ("*.safetensors", "*.onnx*", "*.json")
    files = {file for kind in kinds for file in folder.glob(kind)} if folder else set()
    weights = sorted(
        (file for file in files if file.name != CALIBRATION_FILE), key=lambda file: (file.suffix == ".json", file)
    )
    calibration = "" if answerer.calibration is None else answerer.calibration.model_dump_json()
    return {
        "data": sha256(path),
        "model": answerer.name,
        "backend": answerer.backend,
        "weights": [sha256(file) for file in weights],
        "calibration": hashlib.sha256(calibration.encode("utf-8")).hexdigest(),
        **asdict(reading),
        "shard": list(shard),
    }
