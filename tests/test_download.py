"""Fetching data sets from a server on loopback that breaks off, lies and changes its mind."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from polyspan.corpus import CorpusError, load_corpus
from polyspan.corpus.download import DIGESTS, fetch_set
from polyspan.corpus.publishers import DATA_SETS, DataSet, RemoteFile
from test_cli import polyspan, refused

CONTENT = bytes(range(256)) * 8192  # two megabytes, so that it comes in several pieces
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "The door is red.",
                    "qas": [{"id": "a", "question": "What colour?", "answers": [{"text": "red", "answer_start": 12}]}],
                }
            ]
        }
    ]
}


@dataclass
class Publisher:
    """What the server holds and how it behaves.

    Attributes:
        files: content by name.
        cut_after: bytes after which each of the next replies breaks off, first come first.
        ranges: whether it can send the rest of a file.
        status: an answer other than the file.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int | None = None
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    state = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.lstrip("/"), self.headers.get("Range")
            state.requests.append((name, wanted))
            content = state.files.get(name)
            if state.status or content is None:
                self.send_error(state.status or 404)
                return
            tag = f'"{hashlib.md5(content).hexdigest()}"'
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if self.headers.get("If-Range", tag) != tag:
                start = 0
            if start >= len(content) and start:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", tag)
            self.end_headers()
            part = content[start:]
            if state.cut_after:
                part = part[: state.cut_after.pop(0)]
            self.wfile.write(part)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield state
        server.shutdown()
        thread.join()


def one_file(
    publisher: Publisher, sha256: str | None = SHA256, unpack: str | None = None, name: str = "file.bin"
) -> DataSet:
    file = RemoteFile(name, f"{publisher.address}/{name}", sha256=sha256, unpack=unpack)
    return DataSet("made", "Made", "CC0", "http://127.0.0.1", ("en",), "1", "made/made", (file,))


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_broken_download_goes_on_where_it_stopped(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["file.bin"] = CONTENT
    publisher.cut_after = [700_000, 600_000]
    wanted = one_file(publisher)
    for kept in (700_000, 1_300_000):
        with pytest.raises(CorpusError, match=r"file\.bin.*the same command goes on from there"):
            fetch_set(wanted, tmp_path)
        assert (tmp_path / "made" / "file.bin.part").stat().st_size == kept
        assert not (tmp_path / "made" / "file.bin").exists()
    done: list[tuple[str, int, int | None]] = []
    notes = fetch_set(wanted, tmp_path, advance=lambda *step: done.append(step))
    assert (tmp_path / "made" / "file.bin").read_bytes() == CONTENT
    assert names(tmp_path / "made") == [DIGESTS, "file.bin"]
    assert [wanted for _, wanted in publisher.requests] == [None, "bytes=700000-", "bytes=1300000-"]
    assert done[0][1] > 1_300_000
    assert done[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert "digest right" in notes[0]


def test_what_is_there_is_not_fetched_again_and_a_damaged_file_is(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["file.bin"] = CONTENT
    wanted = one_file(publisher)
    fetch_set(wanted, tmp_path)
    assert "there already" in fetch_set(wanted, tmp_path)[0]
    assert len(publisher.requests) == 1
    (tmp_path / "made" / "file.bin").write_bytes(CONTENT[:-1] + b"x")
    fetch_set(wanted, tmp_path)
    assert (tmp_path / "made" / "file.bin").read_bytes() == CONTENT
    assert len(publisher.requests) == 2


def test_a_corrupted_download_is_not_kept(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["file.bin"] = CONTENT[:-1] + b"x"
    with pytest.raises(CorpusError, match=f"expected {SHA256}.*deleted"):
        fetch_set(one_file(publisher), tmp_path)
    assert names(tmp_path / "made") in ([], ["file.bin.part.etag"])
    publisher.files["file.bin"] = CONTENT
    fetch_set(one_file(publisher), tmp_path)
    assert (tmp_path / "made" / "file.bin").read_bytes() == CONTENT


def test_a_beginning_of_other_bytes_is_thrown_away(publisher: Publisher, tmp_path: Path) -> None:
    """A server without ETags may go on with a new version of the file."""
    publisher.files["file.bin"] = CONTENT
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file.bin.part").write_bytes(b"\xff" * 500_000)
    fetch_set(one_file(publisher), tmp_path)
    assert (tmp_path / "made" / "file.bin").read_bytes() == CONTENT


def test_a_new_version_begins_anew(publisher: Publisher, tmp_path: Path) -> None:
    old = b"old" * 400_000
    publisher.files["file.bin"], publisher.cut_after = old, [500_000]
    with pytest.raises(CorpusError):
        fetch_set(one_file(publisher, None), tmp_path)
    publisher.files["file.bin"] = CONTENT
    notes = fetch_set(one_file(publisher, None), tmp_path)
    assert (tmp_path / "made" / "file.bin").read_bytes() == CONTENT
    assert SHA256 in notes[0]
    assert "no published digest" in notes[0]


def test_a_server_without_ranges_sends_all_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["file.bin"], publisher.ranges, publisher.cut_after = CONTENT, False, [500_000]
    with pytest.raises(CorpusError):
        fetch_set(one_file(publisher), tmp_path)
    fetch_set(one_file(publisher), tmp_path)
    assert (tmp_path / "made" / "file.bin").read_bytes() == CONTENT


def test_the_first_digest_is_held_against_later_downloads(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["file.bin"] = CONTENT
    fetch_set(one_file(publisher, None), tmp_path)
    assert f"{SHA256}  file.bin\n" == (tmp_path / "made" / DIGESTS).read_text(encoding="utf-8")
    (tmp_path / "made" / "file.bin").unlink()
    publisher.files["file.bin"] = CONTENT[::-1]
    with pytest.raises(CorpusError, match=f"publisher has changed the file.*{DIGESTS}, delete that line"):
        fetch_set(one_file(publisher, None), tmp_path)
    assert not (tmp_path / "made" / "file.bin").exists()


def test_what_is_no_json_is_not_kept_as_the_first_download(publisher: Publisher, tmp_path: Path) -> None:
    """A proxy's page, or a reply of unknown length that broke off."""
    wanted = one_file(publisher, None, name="set.json")
    whole = json.dumps(SQUAD).encode()
    for content in (b"<html>Log in</html>", whole[:-10]):
        publisher.files["set.json"] = content
        with pytest.raises(CorpusError, match=r"set\.json: .*not JSON.*deleted, try again"):
            fetch_set(wanted, tmp_path)
        assert not [name for name in names(tmp_path) if not name.endswith(".etag")]
    publisher.files["set.json"] = whole
    fetch_set(wanted, tmp_path)
    assert (tmp_path / "made" / "set.json").read_bytes() == whole


def zipped(members: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    return target.getvalue()


def test_an_archive_is_unpacked_once(publisher: Publisher, tmp_path: Path) -> None:
    name = "test-context-en-question-en.json"
    publisher.files["set.zip"] = zipped(
        {f"SET/test/{name}": json.dumps(SQUAD), "SET/notes.txt": "x", "other.json": "{}"}
    )
    wanted = one_file(publisher, None, "SET/", "set.zip")
    notes = fetch_set(wanted, tmp_path)
    assert "1 files unpacked" in notes[0]
    assert names(tmp_path / "made") == [DIGESTS, f"test/{name}"]
    assert len(load_corpus(tmp_path / "made" / "test")) == 1
    assert "unpacked already" in fetch_set(wanted, tmp_path)[0]
    assert len(publisher.requests) == 1


def test_an_archive_that_was_put_there_by_hand_is_unpacked(publisher: Publisher, tmp_path: Path) -> None:
    wanted = one_file(publisher, sha256=None, unpack="top/")
    (tmp_path / "made").mkdir()
    with zipfile.ZipFile(tmp_path / "made" / "file.bin", "w") as bundle:
        bundle.writestr("top/a.json", "{}")
    assert "1 files unpacked" in fetch_set(wanted, tmp_path)[0]
    assert names(tmp_path / "made") == [DIGESTS, "a.json"]
    assert publisher.requests == []


def test_an_archive_without_what_is_wanted_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as bundle:
        bundle.writestr("other/a.json", "{}")
    publisher.files["file.bin"] = (tmp_path / "other.zip").read_bytes()
    with pytest.raises(CorpusError, match="holds no JSON below top/; the publisher has changed it"):
        fetch_set(one_file(publisher, sha256=None, unpack="top/"), tmp_path)


def test_an_archive_is_unpacked_again_when_a_file_of_it_is_damaged(publisher: Publisher, tmp_path: Path) -> None:
    archive = zipped({"SET/a.json": "{}", "SET/dev/b.json": '{"b": 1}'})
    publisher.files["set.zip"] = archive
    wanted = one_file(publisher, None, "SET/", "set.zip")
    folder = tmp_path / "made"
    fetch_set(wanted, tmp_path)
    (folder / "dev" / "b.json").unlink()
    assert "2 files unpacked" in fetch_set(wanted, tmp_path)[0]
    (folder / "a.json").write_text("{", encoding="utf-8")
    assert "2 files unpacked" in fetch_set(wanted, tmp_path)[0]
    assert (folder / "a.json").read_text(encoding="utf-8") == "{}"
    assert (folder / "dev" / "b.json").is_file()
    (folder / DIGESTS).write_text(f"{hashlib.sha256(archive).hexdigest()}  set.zip\n", encoding="utf-8")
    assert "2 files unpacked" in fetch_set(wanted, tmp_path)[0]
    assert "unpacked already" in fetch_set(wanted, tmp_path)[0]


@pytest.mark.parametrize("member", ["SET/../../evil.json", "SET//etc/evil.json"])
def test_an_archive_cannot_write_elsewhere(publisher: Publisher, tmp_path: Path, member: str) -> None:
    publisher.files["set.zip"] = zipped({member: "{}"})
    with pytest.raises(CorpusError, match="outside"):
        fetch_set(one_file(publisher, None, "SET/", "set.zip"), tmp_path / "data")
    assert not list(tmp_path.rglob("evil.json"))
    assert not Path("/etc/evil.json").exists()


def test_a_broken_archive_is_deleted(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["set.zip"] = zipped({"SET/a.json": "{}"})[:-10]
    with pytest.raises(CorpusError, match="not a whole zip"):
        fetch_set(one_file(publisher, None, "SET/", "set.zip"), tmp_path)
    assert "set.zip" not in "".join(name for name in names(tmp_path) if not name.endswith(".etag"))


def test_a_damaged_archive_is_deleted(publisher: Publisher, tmp_path: Path) -> None:
    """Its table of contents is right, and what was packed is not."""
    whole = zipped({"SET/a.json": json.dumps({str(number): number**5 for number in range(999)})})
    publisher.files["set.zip"] = whole[:60] + b"\xff" * 40 + whole[100:]
    with pytest.raises(CorpusError, match="not a whole zip"):
        fetch_set(one_file(publisher, None, "SET/", "set.zip"), tmp_path)
    assert not [name for name in names(tmp_path) if not name.endswith(".etag")]


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_server_that_refuses_is_quoted(publisher: Publisher, tmp_path: Path, status: int) -> None:
    publisher.status = status
    with pytest.raises(CorpusError, match=str(status)):
        fetch_set(one_file(publisher), tmp_path)
    assert names(tmp_path) == []


def test_the_command_shows_the_licence_and_says_where_the_files_are(publisher: Publisher, tmp_path: Path) -> None:
    for file in DATA_SETS["squad"].files:
        publisher.files[file.name] = b"{}"
    message = polyspan("data", "get", "squad", "--to", tmp_path, "--mirror", publisher.address, code=1).stderr
    assert "CC BY-SA 4.0" in message
    assert "SHA-256" in message.splitlines()[-1]
    assert "Traceback" not in message
    assert "'nix'" in refused("data", "get", "nix", "--mirror", publisher.address)
    for file in DATA_SETS["tydiqa-goldp"].files:
        publisher.files[file.name] = json.dumps(SQUAD).replace('"a"', '"english-1"').encode()
    done = polyspan("data", "get", "tydiqa-goldp", "--to", tmp_path, "--mirror", f"{publisher.address}/")
    folder = Path(done.stdout.strip())
    assert folder == tmp_path / "tydiqa-goldp"
    assert "no published digest" in done.stderr
    corpus = load_corpus(folder / "tydiqa-goldp-v1.1-dev.json")
    assert corpus.languages == ("en",)
    assert len(corpus) == 1


def test_no_connection_is_one_line(tmp_path: Path) -> None:
    message = polyspan("data", "get", "mlqa", "--to", tmp_path, "--mirror", "http://127.0.0.1:9", code=1).stderr
    assert "Connection refused" in message.splitlines()[-1]
    message = polyspan("data", "get", "mlqa", "--to", tmp_path, "--mirror", "nowhere", code=1).stderr
    assert "not an address" in message.splitlines()[-1]


def test_every_published_file_has_a_secure_address() -> None:
    for data_set in DATA_SETS.values():
        for file in data_set.files:
            assert file.url.startswith("https://")
            assert file.url.endswith(file.name)
            assert file.sha256 is None or len(file.sha256) == 64
