"""Read texts, and write files so that a half-written one is never taken for a whole one."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from polyspan.errors import PolyspanError

MANIFEST = "manifest.json"
ASIDE = ".aside"
"""How the hidden folders end in which things are written before they are renamed."""


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block succeeds, flush it and rename it there.

    The temporary path does not exist yet: create a file or a folder at it. When the block raises,
    nothing is left behind and ``path`` is as it was. A folder replaces an older folder.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - a name may be "..", and links stay links
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=ASIDE) as folder:
        aside = Path(folder) / path.name
        yield aside
        for entry in [aside, *(aside.rglob("*") if aside.is_dir() else ())]:
            flush(entry)
        replaced = Path(folder) / "replaced"
        try:
            if aside.is_dir() and path.is_dir():
                path.rename(replaced)
            aside.replace(path)
        except BaseException:
            if replaced.is_dir() and not path.exists():
                replaced.rename(path)
            raise
        flush(path.parent)


def remove_leftovers(path: Path, older_than: float = 0.0) -> None:
    """Delete what `write_aside` of this path left behind when its process was killed.

    Args:
        path: that was to be written.
        older_than: seconds; what is younger stays, where another process may be at it.
    """
    for left in path.parent.glob(f".{escape(path.name)}.*{ASIDE}"):
        with suppress(OSError):
            if not older_than or time.time() - left.stat().st_mtime > older_than:
                shutil.rmtree(left, ignore_errors=True)


def read_text(path: Path, error: type[PolyspanError], save_as: str = "UTF-8") -> str:
    """Read UTF-8 text, with or without a byte order mark.

    Args:
        path: the file.
        error: raised when it is not there or not UTF-8.
        save_as: what the program that wrote it may call UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise error(f"{path}: {problem.strerror}") from problem
    return decoded(content, str(path), error, save_as)


def refuse_utf16(beginning: bytes, name: str, error: type[PolyspanError], save_as: str = "UTF-8") -> None:
    """Raise the error where a file that begins so is UTF-16; arguments as in `read_text`."""
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error(f"{name}: is UTF-16, which some programs call Unicode; save it as {save_as}")


def decoded(content: bytes, name: str, error: type[PolyspanError], save_as: str = "UTF-8") -> str:
    """The text of UTF-8 bytes, with or without a byte order mark; arguments as in `read_text`, and where it is from."""
    refuse_utf16(content, name, error, save_as)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{name}: not UTF-8 at byte {problem.start}; save it as {save_as}") from problem


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_manifest(folder: Path) -> None:
    """Flush a folder's files and note their sizes and digests in it; written last, it says that all are there."""
    rows = {}
    for path in sorted(folder.rglob("*")):
        flush(path)
        if path.is_dir() or path.name == MANIFEST:
            continue
        rows[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": sha256(path)}
    write_text(folder / MANIFEST, json.dumps(rows, indent=1) + "\n")


def what_is_broken(folder: Path, digests: bool = True) -> str | None:
    """Why a folder with a manifest is not whole; None if it is.

    Args:
        folder: where `write_manifest` wrote.
        digests: also read every file; otherwise only sizes are compared.
    """
    try:
        rows = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, row in rows.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != row["size"]:
                return f"{name} has {path.stat().st_size} bytes, not {row['size']}"
            if digests and sha256(path) != row["sha256"]:
                return f"{name} is damaged"
    except FileNotFoundError:
        return "its writing was not finished"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its manifest cannot be read ({error})"
    return None


def sha256(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """See that a file's content, or a folder's list of names, has reached the disk."""
    if path.is_dir() and os.name == "nt":  # which flushes names by itself and opens no folders
        return
    # Windows flushes only what it may write; elsewhere what may be read will do.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
