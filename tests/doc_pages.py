"""What is in the Markdown of the documents: blocks of code, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md")
    for path in sorted(REPOSITORY.glob(pattern))
]

_BLOCK = re.compile(
    r"^(?P<skip><!-- not run: [^>]+-->\s*\n)?(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block; ``skipped`` where the page says that it is not run."""

    language: str
    code: str
    skipped: bool


def name_of(page: Path) -> str:
    """How a test calls a page."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = []
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        indent = len(match["indent"])
        code = "".join(line[indent:] for line in match["code"].splitlines(keepends=True))
        found.append(Block(match["language"], code, match["skip"] is not None))
    return found


def scripts(page: Path) -> list[tuple[str, str]]:
    """What is run of a page: (bash or python, code); neighbours in one language are one script."""
    run = [block for block in blocks(page) if block.language in ("bash", "python") and not block.skipped]
    return [
        (language, "\n".join(block.code for block in group))
        for language, group in groupby(run, key=lambda block: block.language)
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Targets of links and pictures."""
    return [next(filter(None, match.groups())) for match in _LINK.finditer(prose(page))]


def command_lines(page: Path) -> Iterator[list[str]]:
    """Words of every shell line that a page shows or names, from the first command on."""
    for block in blocks(page):
        if block.language not in ("bash", "console"):
            continue
        for line in re.sub(r"\\\n\s*(> )?", " ", block.code).splitlines():
            if block.language == "bash" or line.startswith("$ "):
                yield from _words(line.removeprefix("$ "))
    for text in _INLINE.findall(prose(page)):
        if re.match(r"(polyspan|make) [a-z]", text):
            yield from _words(text)


def _words(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quotation that goes on in the next line
        return
    part: list[str] = []
    for word in [*words, ";"]:
        if word in {";", "&", "&&", "|", "||"}:
            if part:
                yield part
            part = []
        else:
            part.append(word)
