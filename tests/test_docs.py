"""The documents hold what they promise: their code runs, their commands, names and links are there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from rich.emoji import Emoji

from doc_pages import PAGES, REPOSITORY, command_lines, links, name_of, prose, scripts
from polyspan.cli.main import app
from polyspan.experiments.shipped import shipped_recipes

QUICK = {"README.md", "docs/architecture.md", "docs/method.md"}
"""Pages whose code is run by make test; make test-all runs that of all."""
SECONDS = 900
POLYSPAN: click.Command = typer.main.get_command(app)

each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def pages_with_code() -> list[Any]:
    return [
        pytest.param(page, id=name_of(page), marks=() if name_of(page) in QUICK else pytest.mark.slow)
        for page in PAGES
        if scripts(page)
    ]


@pytest.mark.parametrize("page", pages_with_code())
def test_code_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    for folder in ("recipes", "benchmarks"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    tools = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "agg",
    }
    for language, code in scripts(page):
        command = [sys.executable, "-"] if language == "python" else ["bash", "-euo", "pipefail", "-s"]
        done = subprocess.run(
            command, input=code, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", prose(there), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, target


@each_page
def test_commands_and_their_options_are_there(page: Path) -> None:
    for words in command_lines(page):
        if words[0] == "make":
            targets = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            rules = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{target}:", rules, re.MULTILINE) for target in targets), words
        elif "polyspan" in words:
            check_command(words[words.index("polyspan") + 1 :])


def check_command(words: list[str]) -> None:
    command = POLYSPAN
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"no command {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in options | {"--help"}, f"no option {word} in {' '.join(words)}"


def every_command(command: click.Command) -> list[click.Command]:
    return [command, *(each for inner in getattr(command, "commands", {}).values() for each in every_command(inner))]


def test_help_is_shown_as_it_is_written() -> None:
    """The library that draws it reads a word between two colons as an emoji."""
    texts = [text for command in every_command(POLYSPAN) for text in (command.help, *map(help_of, command.params))]
    assert [text for text in texts if text and Emoji.replace(text) != text] == []


def help_of(parameter: click.Parameter) -> str | None:
    return getattr(parameter, "help", None)


@each_page
def test_names_of_ours_can_be_imported(page: Path) -> None:
    dotted = r"polyspan(?:\.\w+)+"
    named = re.findall(rf"^::: ({dotted})", prose(page), re.MULTILINE) + re.findall(
        rf"`({dotted})(?=[`(])", prose(page)
    )
    for name in named:
        assert find(name) is not None, name


def find(name: str) -> object:
    """The module or what is in it."""
    module, *rest = name.split(".")
    found: Any = import_module(module)
    for part in rest:
        if not hasattr(found, part):
            import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


@each_page
def test_recipes_that_are_named_ship(page: Path) -> None:
    for name in re.findall(r"\brecipes/([\w/.-]+)\.yaml", page.read_text(encoding="utf-8")):
        assert name in shipped_recipes()


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in (REPOSITORY / "docs").glob("*.md")}
    assert pages <= {path.stem for path in tmp_path.glob("*.html")}


def slug(heading: str) -> str:
    """A heading's anchor, as mkdocs and GitHub form it."""
    plain = re.sub(r"[^\w\s-]", "", re.sub(r"`|\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
    return re.sub(r"\s", "-", plain)


def messages_of_the_code() -> str:
    """Every text in the code, with … where something is put in, one a line."""
    found = []
    for path in (REPOSITORY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_errors_that_are_explained_are_those_of_the_code() -> None:
    said = messages_of_the_code()
    headings = re.findall(r"^#### `(.+)`$", (REPOSITORY / "docs" / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings
    assert [heading for heading in headings if heading not in said] == []
