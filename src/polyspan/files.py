"""Write files so that a half-written one is never taken for a whole one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MANIFEST = "manifest.json"


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block succeeds, flush it and rename it there.

    The temporary path does not exist yet: create a file or a folder at it. When the block raises,
    nothing is left behind and ``path`` is as it was. A folder replaces an older folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        aside = Path(folder) / path.name
        yield aside
        for file in [aside] if aside.is_file() else [entry for entry in aside.rglob("*") if entry.is_file()]:
            _flush(file)
        if aside.is_dir() and path.is_dir():
            shutil.move(path, Path(folder) / "replaced")
        aside.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_manifest(folder: Path) -> None:
    """Note the sizes of a folder's files in it; written last, it says that the folder is whole."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_text(folder / MANIFEST, json.dumps(sizes) + "\n")


def is_whole(folder: Path) -> bool:
    """Whether a folder has a manifest and every file of it in its size."""
    try:
        sizes = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _flush(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
