"""``polyspan data``: list, fetch and check data sets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyspan.cli.listed import listed

if TYPE_CHECKING:
    from rich.console import Console

    from polyspan.corpus.problems import Problem

app = typer.Typer(no_args_is_help=True)
HEADINGS = {
    "contexts": "texts",
    "unanswerable": "no answer",
    "answer_at_%": "answer at %",
    "median_tokens": "median tokens",
}
"""How a table of 80 columns says what JSON calls otherwise."""
EXAMPLES = 10
"""Bad records that are shown."""


@app.command("list")
def list_sets(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Data sets that can be fetched, with their licences."""
    from rich.console import Console
    from rich.table import Table

    from polyspan.corpus.publishers import DATA_SETS

    if as_json:
        print(json.dumps([data_set.to_dict() for data_set in DATA_SETS.values()]))
        return
    table = Table(box=None)
    for heading in ("name", "languages", "questions", "licence"):
        table.add_column(heading, overflow="fold")
    for name, data_set in DATA_SETS.items():
        table.add_row(name, " ".join(data_set.languages), data_set.questions, data_set.licence)
    console = Console()
    console.print(table)
    console.print("commons/train, commons/dev and commons/test ship with polyspan (CC0).")


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="As `polyspan data list` shows it.")],
    to: Annotated[Path, typer.Option(help="Folder to put it in, as FOLDER/NAME.")] = Path("data"),
    mirror: Annotated[
        str | None, typer.Option(envvar="POLYSPAN_DATA_MIRROR", help="Fetch the files from here instead.")
    ] = None,
) -> None:
    """Fetch a data set from its publisher; goes on where a broken download stopped."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from polyspan.corpus.download import fetch_set
    from polyspan.corpus.model import CorpusError
    from polyspan.corpus.publishers import DATA_SETS

    if name not in DATA_SETS:
        raise CorpusError(f"no data set {name!r}; there are {', '.join(DATA_SETS)}")
    console = Console(stderr=True)
    data_set = DATA_SETS[name]
    console.print(f"{data_set.title}, {data_set.licence}, {data_set.homepage}")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        tasks: dict[str, Any] = {}

        def advance(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=total)
            bar.update(tasks[file], completed=done, total=total)

        notes = fetch_set(data_set, to, mirror, advance)
    for note in notes:
        console.print(note)
    print(to / data_set.folder)


@app.command("leakage")
def leakage(
    train: Annotated[str, typer.Option("--train", help="File, folder or name of what is trained on.")],
    test: Annotated[str, typer.Option("--test", help="File, folder or name of what is measured on.")],
    train_kind: Annotated[
        str | None,
        typer.Option(help="Layout of --train: squad, mlqa, xquad, tydiqa, table or hub; guessed when left out."),
    ] = None,
    test_kind: Annotated[str | None, typer.Option(help="The same for the test set.")] = None,
    train_languages: Annotated[str | None, typer.Option(help="Train on these alone, such as en,de,zh.")] = None,
    test_languages: Annotated[str | None, typer.Option(help="Measure on these alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a test set shares with training data: ids, passages, near copies, translated questions.

    The exit code is 0 whatever is found; train and evaluate have --leakage fail.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from polyspan.corpus import load_corpus
    from polyspan.corpus.leakage import KINDS, find_leakage

    train_corpus, test_corpus = (
        load_corpus(path, kind=kind, languages=listed(languages))  # type: ignore[arg-type]
        for path, kind, languages in ((train, train_kind, train_languages), (test, test_kind, test_languages))
    )
    found = find_leakage(train_corpus, test_corpus)
    if as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    table = Table(box=None)
    for heading in ("of the test set", "shared", "of", "for example"):
        table.add_column(heading, justify="right" if heading in {"shared", "of"} else "left", overflow="fold")
    for kind, count in found.counts().items():
        total = found.test_passages if kind in {"passages", "near_passages"} else found.questions
        first = next(iter(getattr(found, kind)), "")
        table.add_row(KINDS[kind], str(count), str(total), Text(first if isinstance(first, str) else first.begins))
    Console().print(table)


@app.command("check")
def check(
    path: Annotated[str, typer.Argument(help="File, folder or name, such as commons/test.")],
    kind: Annotated[
        str | None, typer.Option(help="squad, mlqa, xquad, tydiqa, table or hub; guessed when left out.")
    ] = None,
    languages: Annotated[str | None, typer.Option(help="Keep only these, such as en,de,zh.")] = None,
    on_bad: Annotated[str, typer.Option(help="skip counts bad records, fail stops at the first.")] = "skip",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read a data set and say what is in it and what is wrong with it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from polyspan.corpus import load_corpus
    from polyspan.corpus.model import CorpusError
    from polyspan.corpus.report import describe
    from polyspan.models.embedded import EmbeddedModelError

    console = Console()
    problems: list[Problem] = []
    try:
        corpus = load_corpus(
            path,
            kind=kind,  # type: ignore[arg-type]
            languages=listed(languages),
            on_bad=on_bad,  # type: ignore[arg-type]
            problems=problems,
        )
    except CorpusError:
        if problems and as_json:
            print(json.dumps(_counted(problems)))
        else:
            _show(console, problems)
        raise
    try:
        count_tokens = _token_counter()
    except EmbeddedModelError as error:
        count_tokens = None
        Console(stderr=True).print(f"token lengths are left out: {error}", markup=False, soft_wrap=True)
    report = describe(corpus, count_tokens)
    if as_json:
        print(json.dumps({**report, **_counted(problems)}))
    else:
        table = Table(box=None)
        rows = report["languages"]
        for heading in ("language", *next(iter(rows.values()))):
            table.add_column(HEADINGS.get(heading, heading), justify="right", overflow="fold")
        for language, row in rows.items():
            table.add_row(Text(language), *(str(value) for value in row.values()))
        console.print(f"{report['seeds']} seeds, {report['pairs']} pairs", highlight=False)
        console.print(table)
        for number, seeds in report["alignment"].items():
            console.print(f"{seeds} seeds in {number} languages")
        _show(console, problems)
    if problems:
        raise typer.Exit(1)


def _counted(problems: Sequence[Problem]) -> dict[str, Any]:
    kinds = Counter(problem.kind for problem in problems)
    return {"problems": dict(kinds), "bad_records": [str(problem) for problem in problems]}


def _show(console: Console, problems: Sequence[Problem]) -> None:
    for kind, count in _counted(problems)["problems"].items():
        console.print(f"[red]{count} x {kind}[/red]")
    for problem in problems[:EXAMPLES]:
        console.print(f"  {problem}", markup=False, highlight=False, soft_wrap=True)
    if len(problems) > EXAMPLES:
        console.print(f"  … and {len(problems) - EXAMPLES} more; --json lists all")


def _token_counter() -> Callable[[list[str]], list[int]]:
    """Tokens of the embedded encoder, which need not be unpacked for them."""
    from polyspan.encoding.tokens import CHUNK
    from polyspan.models.embedded import find_data_file, read_embedded
    from polyspan.models.unigram import build_tokenizer

    tokenizer = build_tokenizer(read_embedded(find_data_file()).vocabulary)

    def count(texts: list[str]) -> list[int]:
        return [
            len(encoding.ids)
            for start in range(0, len(texts), CHUNK)
            for encoding in tokenizer.encode_batch_fast(texts[start : start + CHUNK], add_special_tokens=False)
        ]

    return count
