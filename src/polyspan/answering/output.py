"""Answers as JSON lines in the order of their questions, written so that a killed run can go on."""

from __future__ import annotations

import heapq
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from polyspan.errors import Difference, PolyspanError, first_difference
from polyspan.files import write_aside, write_text

BYTES = "bytes"
"""In the settings beside a finished shard: how large it is."""


class OutputError(PolyspanError):
    """An output that is there already, belongs to other settings, or lacks a shard."""


class ResumableOutput:
    """A file that appears whole at the end, and a ``.part`` beside it until then.

    What is appended is on the disk when `append` returns. After a kill at any moment the same
    settings go on after the last whole line; the beginning of a line that was cut off is removed.
    An error before the first answer leaves nothing, so that other settings can be tried.

    Args:
        path: of the finished file.
        settings: what the answers depend on; kept in ``.part.json`` beside the part.

    Raises:
        OutputError: the file is there already, or the part was begun with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._settings_file = _settings_file(path)
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; name a file, such as {path / 'answers.jsonl'}")
        if path.exists():
            raise OutputError(f"{path}: is there already; delete it or name another --output")
        self._settings = dict(settings)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._refuse_begun_otherwise()
            # Without a buffer: what cannot be written fails here and now, and closing has nothing left to do.
            self._file: FileIO = self.part.open("ab", buffering=0)
            _lock(self._file, self.part)
            self.last_line = self._mend()
            if not self.last_line:
                self._write_settings(self._settings)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these, each with its ``line``, and flush them to the disk."""
        left = memoryview("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8"))
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.part}: cannot be written ({error.strerror}); make room and run it again"
            ) from error

    def finish(self, keep_settings: bool = False) -> None:
        """Give the file its own name; beside a shard its settings and its size are left, for `join_shards`."""
        if keep_settings:
            self._write_settings({**self._settings, BYTES: os.fstat(self._file.fileno()).st_size})
        self._file.close()
        self.part.replace(self.path)
        if not keep_settings:
            self._settings_file.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None and self.part.is_file() and not self.part.stat().st_size:
            self._settings_file.unlink(missing_ok=True)
            with suppress(PermissionError):  # Windows deletes no open file; an empty one is nobody's
                self.part.unlink()
        self._file.close()

    def _refuse_begun_otherwise(self) -> None:
        if not self.part.exists() or not self.part.stat().st_size:
            return
        # Settings are written before the first answer, and removed after the part has its own name.
        if not self._settings_file.exists():
            raise OutputError(f"{self.part}: was not begun by this command; delete it or name another --output")
        _refuse_others(self.part, "begun", self.path, self._settings)

    def _write_settings(self, settings: Mapping[str, Any]) -> None:
        write_text(self._settings_file, json.dumps(settings, indent=1) + "\n")

    def _mend(self) -> int:
        """Cut off what is no whole line; the number of the last question that is answered."""
        last, good = 0, 0
        with self.part.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                try:
                    last = int(json.loads(raw)["line"])
                except (ValueError, KeyError, TypeError):  # zeros, after a power cut
                    break
                good += len(raw)
        self._file.truncate(good)
        return last


def _lock(file: FileIO, path: Path) -> None:
    """Keep others from writing the same file; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{path}: another process is writing it") from None


def shard_path(path: Path, index: int, count: int) -> Path:
    """Where shard ``index`` of ``count``, from 1, of an output is written."""
    return path if count == 1 else path.with_name(f"{path.stem}.{index}-of-{count}{path.suffix}")


def check_finished(shard: Path, settings: Mapping[str, Any]) -> None:
    """See that a finished shard is what these settings would make.

    Raises:
        OutputError: it was made with others, what it was made with is not known, or it is not whole.
    """
    _refuse_others(shard, "made", shard, settings)
    _refuse_cut(shard)


def join_shards(path: Path) -> int:
    """Merge the finished shards of an output by their lines; the shards are removed.

    Returns:
        How many answers there are.

    Raises:
        OutputError: no shards, one is missing, not finished, not whole or made with other settings
            than the first, or the output is there already.
    """
    name = re.compile(rf"{re.escape(path.stem)}\.\d+-of-(\d+){re.escape(path.suffix)}")
    folder = path.parent.iterdir() if path.parent.is_dir() else ()
    there = {found: int(match[1]) for found in folder if (match := name.fullmatch(found.name))}
    if path.exists():
        return _end_join(path, sorted(there))
    shards = _whole_split(path, sorted(set(there.values())))
    _check_alike(shards)
    for shard in shards:
        _refuse_cut(shard)
    rows = 0
    with write_aside(path) as aside, aside.open("wb") as file:
        for _, raw in heapq.merge(*map(_lines, shards)):
            file.write(raw)
            rows += 1
    _remove(shards)
    return rows


def _whole_split(path: Path, counts: list[int]) -> list[Path]:
    """The shards of the one division of which all are there."""
    if not counts:
        raise OutputError(f"{path}: no finished shards beside it; run polyspan predict --shard 1/N to N/N first")
    splits = {count: [shard_path(path, index, count) for index in range(1, count + 1)] for count in counts}
    whole = [shards for shards in splits.values() if all(shard.is_file() for shard in shards)]
    if len(whole) == 1:
        return whole[0]
    if len(counts) == 1:
        missing = next(shard for shard in splits[counts[0]] if not shard.is_file())
        raise OutputError(f"{missing}: is not there; its part of the work is not finished")
    which = "all of each" if whole else "none of them whole"
    raise OutputError(
        f"{path}: shards of {' and of '.join(map(str, counts))} beside it, {which}; delete those of the"
        " division that is not wanted, or finish one"
    )


def _end_join(path: Path, shards: list[Path]) -> int:
    """Remove the shards that a join left when it was killed: all that they hold is in the output."""
    rows, joined = 0, _lines(path)

    def reach(wanted: tuple[int, bytes]) -> bool:
        nonlocal rows
        for row in joined:
            rows += 1
            if row == wanted:
                return True
        return False

    if not shards or not all(reach(row) for row in heapq.merge(*map(_lines, shards))):
        raise OutputError(f"{path}: is there already; delete it or name another --output")
    _remove(shards)
    return rows + sum(1 for _ in joined)


def _remove(shards: Iterable[Path]) -> None:
    for shard in shards:
        _settings_file(shard).unlink(missing_ok=True)
        shard.unlink()


def _check_alike(shards: list[Path]) -> None:
    first = {**_read_settings(shards[0]), "shard": None}
    for shard in shards[1:]:
        if differs := _first_difference({**_read_settings(shard), "shard": None}, first):
            name, made, other = differs
            raise OutputError(
                f"{shard}: was made with {name} {made!r}, {shards[0].name} with {other!r};"
                f" delete the wrong one and its .part.json, and make it anew with --shard"
            )


def _refuse_cut(shard: Path) -> None:
    there, written = shard.stat().st_size, _read_settings(shard).get(BYTES)
    if there != written:
        raise OutputError(f"{shard}: has {there} bytes, {written} were written; copy it again, or make it anew")


def _settings_file(path: Path) -> Path:
    return path.with_name(path.name + ".part.json")


def _read_settings(path: Path) -> dict[str, Any]:
    """What a part or a finished shard was made with."""
    file = _settings_file(path)
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(
            f"{file}: is missing; it says what {path.name} was made with, and is copied along with it"
        ) from None
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}: cannot be read ({error})") from error
    if not isinstance(settings, dict):
        raise OutputError(f"{file}: is not an object of settings")
    return settings


def _refuse_others(file: Path, how: str, path: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a file, ``path`` when it is finished, that was begun or made with other settings than these."""
    if differs := _first_difference(_read_settings(path), settings):
        name, there, here = differs
        raise OutputError(
            f"{file}: was {how} with {name} {there!r}, not {here!r};"
            f" delete it and {_settings_file(path).name}, or name another --output"
        )


def _first_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> Difference | None:
    """The first setting that differs; a model's name says less than its weights."""
    same_weights = there.get("weights") and there.get("weights") == here.get("weights")
    return first_difference(there, here, skipped={BYTES, "model"} if same_weights else {BYTES})


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield int(json.loads(raw)["line"]), raw
            except (ValueError, KeyError, TypeError) as error:
                raise OutputError(f"{path}: line {number} is no answer; copy it again, or make it anew") from error
