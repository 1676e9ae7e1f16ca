"""One door to every layout."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from polyspan.corpus.folders import (
    MLQA_FILE,
    PARALLEL_FILE,
    check_languages,
    read_mlqa,
    read_squad,
    read_tydiqa,
    read_xquad,
)
from polyspan.corpus.hub import hub_id, read_hub
from polyspan.corpus.model import CorpusError, ParallelCorpus
from polyspan.corpus.problems import OnBad, Problem, Problems
from polyspan.corpus.publishers import DATA_SETS
from polyspan.corpus.table import read_table

Kind = Literal["squad", "mlqa", "xquad", "tydiqa", "table", "hub"]
SHIPPED = "commons"
SHIPPED_SPLITS = ("train", "dev", "test")
TABLES = {".csv", ".tsv", ".jsonl"}
READABLE = {".json", *TABLES}
SPREADSHEETS = {".xlsx", ".xls", ".ods"}
SQUAD_FILES = {file.name for file in DATA_SETS["squad"].files}
PACKED = {".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"}


def load_corpus(
    path: str | Path,
    kind: Kind | None = None,
    languages: Sequence[str] | None = None,
    on_bad: OnBad = "fail",
    problems: list[Problem] | None = None,
) -> ParallelCorpus:
    """Read a data set.

    Args:
        path: a file or folder; ``commons/train``, ``commons/dev`` or ``commons/test`` for the
            corpus that ships; for kind "hub" see `polyspan.corpus.hub.read_hub`.
        kind: the layout; guessed from the names of files when None.
        languages: keep only these, at least one. SQuAD, hub and flat sets without a language column are
            in one language, English unless named here; a SQuAD file named like one of a parallel set is in
            the language of its name.
        on_bad: "fail" raises at the first bad record, "skip" passes over bad records.
        problems: a list to put the skipped records into.

    Raises:
        CorpusError: nothing there, an unknown layout or ``on_bad``, a bad record, a language that is not
            there, or no question over a text in the languages.
    """
    if on_bad not in get_args(OnBad):
        raise CorpusError(f"on_bad is {' or '.join(get_args(OnBad))}, not {on_bad!r}")
    collector = Problems(on_bad, problems if problems is not None else [])
    kind = kind or guess_kind(path)
    if kind not in get_args(Kind):
        raise CorpusError(f"unknown kind {kind!r}; use one of {', '.join(get_args(Kind))}")
    if isinstance(languages, str):
        languages = [languages]
    if languages is not None and not languages:
        raise CorpusError("languages: none is named; leave them out, and all are kept")
    if kind == "hub":
        return _in_languages(read_hub(str(path), languages, collector), languages)
    place = _shipped(path) or Path(path)
    if not place.exists():
        raise CorpusError(f"{path}: no such file or folder{_how_to_get(path)}")
    refuse_packed(place)
    if kind == "squad":
        if languages is not None and len(languages) != 1:
            raise CorpusError(f"{path}: a SQuAD file is in one language, name just that one")
        return read_squad(_file(place), languages[0] if languages else None, collector)
    if kind == "table":
        only = languages[0] if languages and len(languages) == 1 else "en"
        return _in_languages(read_table(_file(place), collector, only), languages)
    reader = {"mlqa": read_mlqa, "xquad": read_xquad, "tydiqa": read_tydiqa}[kind]
    return _in_languages(reader(place, languages, collector), languages)


def guess_kind(path: str | Path) -> Kind:
    """The layout that the names of files speak for.

    Raises:
        CorpusError: nothing is there, or they speak for none.
    """
    place = _shipped(path) or Path(path)
    if place.is_dir():
        if kind := _kind_of_folder(place):
            return kind
        if inside := [entry.name for entry in sorted(place.iterdir()) if _can_be_read(entry)]:
            several = sum(name.lower().endswith(".json") for name in inside) > 1
            hint = "; files of a parallel set are named NAME.LANGUAGE.json" if several else ""
            raise CorpusError(f"{path}: holds {', '.join(inside)}; name one of them, such as {path}/{inside[0]}{hint}")
    elif place.is_file():
        refuse_packed(place)
        if place.suffix.lower() in TABLES:
            return "table"
        if MLQA_FILE.fullmatch(place.name):
            return "mlqa"
        if place.suffix.lower() == ".json":
            return "tydiqa" if "tydiqa" in place.name else "squad"
    else:
        hint = "; a set on the hub needs --kind hub" if ":" in str(path) else _how_to_get(path)
        raise CorpusError(f"{path}: no such file or folder{hint}")
    if place.suffix.lower() in SPREADSHEETS:
        raise CorpusError(f"{path}: is a spreadsheet; save it as CSV (UTF-8) and name that file")
    raise CorpusError(f"{path}: its layout is not clear; name it: --kind {'|'.join(get_args(Kind))}")


def _kind_of_folder(place: Path) -> Kind | None:
    names = [entry.name for entry in place.iterdir() if not entry.name.startswith(".")]
    if any(MLQA_FILE.fullmatch(name) for name in names):
        return "mlqa"
    if any("tydiqa" in name and name.endswith(".json") for name in names):
        return "tydiqa"
    if any(PARALLEL_FILE.fullmatch(name) for name in names):
        return "xquad"
    return None


def _can_be_read(entry: Path) -> bool:
    if entry.name.startswith("."):
        return False
    return _kind_of_folder(entry) is not None if entry.is_dir() else entry.suffix.lower() in READABLE


def refuse_packed(path: Path) -> None:
    """Archives and packed files are not read.

    Raises:
        CorpusError: this is one.
    """
    if path.is_file() and path.suffix.lower() in PACKED:
        raise CorpusError(f"{path}: is packed; unpack it and name the file that comes out")


def _how_to_get(path: str | Path) -> str:
    """Of a path that names a public set, as recipes do: the command that fetches it."""
    known = next((part for part in Path(path).parts if part in DATA_SETS), None)
    return f"; fetch it with: polyspan data get {known}" if known else ""


def published_name(path: str | Path, kind: Kind) -> str | None:
    """Which data set of ``polyspan data list`` a path means, None for another one.

    By its layout and the last two parts of the path; its content is not read. ``kind`` "hub" goes by the hub's name.
    """
    if kind == "hub":
        return next((name for name, known in DATA_SETS.items() if known.hub_id == hub_id(str(path))), None)
    if kind == "squad" and Path(path).name in SQUAD_FILES:
        return "squad"
    if kind in ("squad", "xquad", "table"):
        return "xquad" if "xquad" in "/".join(Path(path).parts[-2:]).lower() else None
    return {"mlqa": "mlqa", "tydiqa": "tydiqa-goldp"}[kind]


def is_shipped(path: str | Path) -> bool:
    """Whether this names a part of the corpus that ships."""
    return _shipped(path) is not None


def _shipped(path: str | Path) -> Path | None:
    name, _, split = str(path).partition("/")
    if name != SHIPPED or Path(path).exists():
        return None
    if split not in SHIPPED_SPLITS:
        raise CorpusError(
            f"{path}: the shipped corpus has the parts {', '.join(SHIPPED_SPLITS)}; write {SHIPPED}/train"
        )
    return Path(str(resources.files("polyspan.corpus"))) / SHIPPED / split


def _file(path: Path) -> Path:
    if path.is_dir():
        raise CorpusError(f"{path}: is a folder; name a file in it")
    return path


def _in_languages(corpus: ParallelCorpus, languages: Sequence[str] | None) -> ParallelCorpus:
    check_languages(corpus.name, languages, corpus.languages)
    if languages is None or set(languages) == set(corpus.languages):
        return corpus
    kept = corpus.in_languages(languages)
    if not kept.seeds:
        only = ", ".join(languages)
        raise CorpusError(f"{corpus.name}: no question in {only} over a text in {only}; name the languages of both")
    return kept
