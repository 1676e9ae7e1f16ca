"""Sets of SQuAD-like files: XQuAD's one file a language, MLQA's one file a pair, TyDiQA's one file."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from polyspan.corpus.builder import CorpusBuilder
from polyspan.corpus.model import CorpusError, ParallelCorpus
from polyspan.corpus.problems import Problems
from polyspan.corpus.publishers import DATA_SETS
from polyspan.corpus.rows import TYDIQA_LANGUAGES
from polyspan.corpus.squad import squad_records

LANGUAGE = r"[a-z]{2,3}(?:[-_][A-Za-z0-9]+)*"
MLQA_FILE = re.compile(
    rf"(?P<split>[\w-]+?)-context-(?P<context>{LANGUAGE})-question-(?P<question>{LANGUAGE})(?i:\.json)"
)
PARALLEL_FILE = re.compile(rf"(?P<name>.+)\.(?P<language>{LANGUAGE})(?i:\.json)")
PUBLISHED_LANGUAGES = {language for data_set in DATA_SETS.values() for language in data_set.languages}
"""What names of files may be trusted to mean."""


def read_squad(path: Path, language: str | None, problems: Problems) -> ParallelCorpus:
    """One SQuAD file.

    Args:
        path: the file.
        language: of all of it. When None it is as the name of one file of a parallel set says,
            and English for other names.
        problems: where bad records go.

    Raises:
        CorpusError: see `polyspan.corpus.squad.squad_records`; or it is not clear whether the name
            says a language, or it says another one.
    """
    languages = _languages_of_name(path, language)
    builder = CorpusBuilder(str(path), problems)
    for record in squad_records(path, _constant(*languages), problems):
        builder.add(record)
    return builder.build()


def read_xquad(folder: Path, languages: Collection[str] | None, problems: Problems) -> ParallelCorpus:
    """A folder of ``NAME.LANGUAGE.json`` files, parallel by id; the shipped corpus has this layout."""
    files = _matching(folder, PARALLEL_FILE, "NAME.LANGUAGE.json")
    _refuse_several(folder, {match["name"] for _, match in files})
    builder = CorpusBuilder(str(folder), problems)
    check_languages(str(folder), languages, {match["language"] for _, match in files})
    for path, match in files:
        language = match["language"]
        if languages is None:
            _refuse_doubtful(path, language)
        if languages is None or language in languages:
            for record in squad_records(path, _constant(language, language), problems):
                builder.add(record)
    return builder.build()


def read_mlqa(folder: Path, languages: Collection[str] | None, problems: Problems) -> ParallelCorpus:
    """A folder of ``SPLIT-context-C-question-Q.json`` files, which are views of one set; or one of these files."""
    files = _matching(folder, MLQA_FILE, "SPLIT-context-C-question-Q.json")
    _refuse_several(folder, {match["split"] for _, match in files})
    check_languages(str(folder), languages, {match[side] for _, match in files for side in ("question", "context")})
    builder = CorpusBuilder(str(folder), problems, views=True)
    for path, match in files:
        if languages is None or {match["question"], match["context"]} <= set(languages):
            for record in squad_records(path, _constant(match["question"], match["context"]), problems):
                builder.add(record)
    return builder.build()


def read_tydiqa(path: Path, languages: Collection[str] | None, problems: Problems) -> ParallelCorpus:
    """TyDiQA-GoldP: one file, whose ids begin with the language's English name."""
    if path.is_dir():
        files = [file for file in sorted(path.glob("*.json")) if not file.name.startswith(".")]
        if len(files) != 1:
            raise CorpusError(f"{path}: holds {len(files)} JSON files; name the one to read")
        path = files[0]
    builder = CorpusBuilder(str(path), problems)

    def of_id(id_: str) -> tuple[str, str]:
        language = TYDIQA_LANGUAGES[id_.partition("-")[0]]
        return language, language

    found = set()
    for record in squad_records(path, of_id, problems):
        found.add(record.context_language)
        if languages is None or record.context_language in languages:
            builder.add(record)
    check_languages(str(path), languages, found)
    return builder.build()


def check_languages(name: str, wanted: Collection[str] | None, found: Collection[str]) -> None:
    """Refuse a language that is not there.

    Raises:
        CorpusError: names it, and says which there are.
    """
    if wanted is not None and (missing := sorted(set(wanted) - set(found))):
        raise CorpusError(
            f"{name}: no language {missing[0]!r}; it has {', '.join(sorted(found)) or 'none'}"
            " (choose none, and all are kept: no --languages, or data.languages=null)"
        )


def _languages_of_name(path: Path, stated: str | None) -> tuple[str, str]:
    """Question and context language of one file; what its name says is not to be contradicted."""
    if match := MLQA_FILE.fullmatch(path.name):
        question, context = match["question"], match["context"]
        if stated is not None and {question, context} != {stated}:
            raise CorpusError(f"{path}: its name says {question!r} over {context!r}, not {stated!r}; rename it if not")
        return question, context
    match = PARALLEL_FILE.fullmatch(path.name)
    if stated is not None:
        if match and match["language"] != stated and match["language"] in PUBLISHED_LANGUAGES:
            raise CorpusError(f"{path}: its name says {match['language']!r}, not {stated!r}; rename it if not")
        return stated, stated
    if match:
        language = match["language"]
        _refuse_doubtful(path, language)
        return language, language
    if named := [part for part in re.split(r"[-_. ]", path.stem) if part in PUBLISHED_LANGUAGES - {"en"}]:
        raise CorpusError(f"{path}: is {named[0]!r} its language? Say it: --languages {named[0]}, or en")
    return "en", "en"


def _refuse_doubtful(path: Path, language: str) -> None:
    """Of what stands where a language would: "dev" and "old" too are codes of languages."""
    if len(re.split("[-_]", language)[0]) > 2:
        raise CorpusError(f"{path}: is {language!r} its language? If so name all that are to be read: --languages")


def _constant(question: str, context: str) -> Callable[[str], tuple[str, str]]:
    return lambda _: (question, context)


def _refuse_several(folder: Path, sets: Collection[str]) -> None:
    if len(sets) > 1:
        raise CorpusError(f"{folder}: holds {' and '.join(sorted(sets))}; put each into a folder of its own")


def _matching(folder: Path, pattern: re.Pattern[str], shown: str) -> list[tuple[Path, re.Match[str]]]:
    if folder.is_file() and (match := pattern.fullmatch(folder.name)):
        return [(folder, match)]
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: not a folder, and this kind is a folder of {shown} files; give another kind"
            " (--kind; in a recipe data.kind), or none to have it guessed"
        )
    # A name that begins with a dot is another system's note about the file without it.
    seen = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    found, others = [], []
    for path in seen:
        if match := pattern.fullmatch(path.name):
            found.append((path, match))
        elif path.suffix.lower() == ".json":
            others.append(path.name)
    if not found:
        raise CorpusError(f"{folder}: holds no file named like {shown}")
    if others:
        raise CorpusError(f"{folder}: holds {', '.join(others)}, not named like {shown}; rename it, or move it away")
    return found
