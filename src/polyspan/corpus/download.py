"""Fetch a published data set: goes on where a broken download stopped, keeps only what is whole."""

from __future__ import annotations

import http.client
import json
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from polyspan.corpus.model import CorpusError
from polyspan.corpus.publishers import DataSet, RemoteFile
from polyspan.files import read_text, sha256, write_aside, write_text

Advance = Callable[[str, int, int | None], None]

DIGESTS = "SHA256SUMS"
"""Digests of the files of a folder, one ``<digest>  <name>`` a line, as ``sha256sum`` writes them."""
_CHUNK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte
_RANGE_TAKEN, _RANGE_PAST_END = 206, 416


def fetch_set(data_set: DataSet, to: Path, mirror: str | None = None, advance: Advance | None = None) -> list[str]:
    """Fetch every file of a data set that is not there yet.

    A file is downloaded as ``<name>.part`` and takes its name only when its digest is right, so a
    broken download is continued by the next call and never taken for a whole file. An archive is
    unpacked and deleted; the digests of what was in it are kept in ``SHA256SUMS``. Where the
    publisher states no digest, the first download must be readable; its digest is kept there too
    and the notes say so.

    Args:
        data_set: what to fetch.
        to: parent folder; the files go to ``to / data_set.folder``.
        mirror: take ``<mirror>/<name>`` instead of the publisher's address.
        advance: called with a file's name, the bytes there are and the bytes there will be, if known.

    Returns:
        what was done with each file, for the user.

    Raises:
        CorpusError: no connection, the server refuses, the digest is wrong, what came is not JSON,
            or the disk is full; says which file and what to do.
    """
    folder = to / data_set.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_fetch(file, folder, mirror, advance or (lambda name, done, total: None)) for file in data_set.files]
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _fetch(file: RemoteFile, folder: Path, mirror: str | None, advance: Advance) -> str:
    path = folder / file.name
    digests = _read_digests(folder)
    expected = file.sha256 or digests.get(file.name)
    members = {name: digest for name, digest in digests.items() if name != file.name}
    if file.unpack is not None and members and _all_whole(folder, members):
        return f"{file.name}: unpacked already"
    there = path.is_file() and (expected is None or sha256(path) == expected)
    if there and expected is not None and file.unpack is None:
        return f"{file.name}: there already, digest right"
    url = f"{mirror.rstrip('/')}/{file.name}" if mirror else file.url
    part = path.with_name(f"{path.name}.part")
    resumed = part.is_file() and part.stat().st_size > 0
    if there and file.unpack is not None:  # somebody has put the archive there
        path.replace(part)
    else:
        _download(url, part, file, advance)
    found = sha256(part)
    if expected is not None and found != expected and resumed:
        # The beginning that was there may be of another version: once more from nothing.
        part.unlink()
        _download(url, part, file, advance)
        found = sha256(part)
    if expected is not None and found != expected:
        part.unlink()
        message = f"{url}: SHA-256 is {found}, expected {expected}; the download was deleted."
        message += " Try again; if it is the same, the publisher has changed the file"
        if file.sha256 is None:
            message += f", or the first download was bad: its digest is in {folder / DIGESTS}, delete that line"
        raise CorpusError(message)
    if expected is None and path.suffix == ".json":
        _refuse_what_is_no_json(url, part)
    digests[file.name] = found
    note = f"{file.name}: {part.stat().st_size:,} bytes, "
    note += "digest right" if expected else f"no published digest; kept SHA-256 {found} in {DIGESTS}"
    if file.unpack is None:
        part.replace(path)
    else:
        members = _unpack(part, folder, file.unpack)
        digests.update(members)
        note += f", {len(members)} files unpacked"
        part.unlink()
    _version_file(part).unlink(missing_ok=True)
    write_text(folder / DIGESTS, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
    return note


def _refuse_what_is_no_json(url: str, part: Path) -> None:
    """Of a file that no digest tells to be whole."""
    try:
        tree = json.loads(part.read_bytes())
        if not isinstance(tree, dict) or not isinstance(tree.get("data"), list):
            raise ValueError("no list named 'data'")
    except (ValueError, RecursionError) as error:
        part.unlink()
        raise CorpusError(
            f"{url}: cut off or another page, as it is not JSON of a data set ({error}); deleted, try again"
        ) from error


def _download(url: str, part: Path, file: RemoteFile, advance: Advance) -> None:
    """Append what is missing of ``url`` to ``part``; from nothing if the publisher has another version now."""
    done = part.stat().st_size if part.is_file() else 0
    version = _version_file(part)
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "polyspan", "Accept-Encoding": "identity"})
        if done:
            request.add_header("Range", f"bytes={done}-")
            if version.is_file():
                request.add_header("If-Range", version.read_text(encoding="utf-8"))
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:
            if reply.status != _RANGE_TAKEN:
                done = 0
            tag = reply.headers.get("ETag", "")
            if tag and not tag.startswith("W/"):
                version.write_text(tag, encoding="utf-8")
            length = reply.headers.get("Content-Length")
            total = done + int(length) if length is not None else file.size
            with part.open("ab" if done else "wb") as target:
                while chunk := _read(reply, url, part):
                    target.write(chunk)
                    done += len(chunk)
                    advance(file.name, done, total)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_PAST_END:
            return  # all of it is there; the digest will tell
        raise CorpusError(f"{url}: the server says {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise CorpusError(_broken(url, part, str(reason))) from error
    except ValueError as error:
        raise CorpusError(f"{url}: not an address ({error})") from error
    if total is not None and done < total:
        raise CorpusError(_broken(url, part, f"{done:,} of {total:,} bytes came"))


def _read(reply: Any, url: str, part: Path) -> bytes:
    try:
        chunk: bytes = reply.read(_CHUNK)
    except OSError as error:  # of the connection, where any other is of the disk
        raise CorpusError(_broken(url, part, str(error.strerror or error))) from error
    return chunk


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _broken(url: str, part: Path, reason: str) -> str:
    kept = f"{part.name} is kept and the same command goes on from there" if part.is_file() else "try again later"
    return f"{url}: no connection or a broken one ({reason}); {kept}"


def _unpack(archive: Path, folder: Path, prefix: str) -> dict[str, str]:
    """Unpack the JSON members below ``prefix``; returns their digests by name in the folder."""
    digests = {}
    try:
        with zipfile.ZipFile(archive) as bundle:
            for member in bundle.infolist():
                name = PurePosixPath(member.filename.removeprefix(prefix))
                if not member.filename.startswith(prefix) or name.suffix != ".json":
                    continue
                if name.is_absolute() or ".." in name.parts:
                    raise CorpusError(f"{archive}: member {member.filename!r} points outside of the folder")
                with bundle.open(member) as source, write_aside(folder / name) as aside, aside.open("wb") as target:
                    shutil.copyfileobj(source, target)
                digests[name.as_posix()] = sha256(folder / name)
        if not digests:
            raise CorpusError(f"{archive}: holds no JSON below {prefix}; the publisher has changed it")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: packed as no set is
        archive.unlink()
        raise CorpusError(f"{archive}: not a whole zip file ({error}); it was deleted, try again") from error
    return digests


def _all_whole(folder: Path, digests: dict[str, str]) -> bool:
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in digests.items())


def _read_digests(folder: Path) -> dict[str, str]:
    path = folder / DIGESTS
    if not path.is_file():
        return {}
    lines = read_text(path, CorpusError).splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}
