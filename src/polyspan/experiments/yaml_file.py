"""YAML that people write, recipes and sweeps: a mapping of keys, none of which stands twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from polyspan.errors import PolyspanError
from polyspan.files import read_text

_TIMESTAMP, _BOOL = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 keeps the last of two values of one key without a word, and makes a date of 2024-01-01, False of no."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as the base class has it)
        first: [(tag, pattern) for tag, pattern in known if tag not in (_TIMESTAMP, _BOOL)]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be a word, not a list or mapping", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def parse_yaml(text: str) -> Any:
    """What a text says; only true and false are truth values, as no is a language.

    Raises:
        yaml.YAMLError: it is not YAML, a key stands twice, a number has thousands of digits, or brackets have no end.
    """
    try:
        return yaml.load(text, _Loader)
    except ValueError as error:
        raise yaml.MarkedYAMLError(problem=str(error).partition(";")[0]) from error
    except RecursionError as error:
        raise yaml.MarkedYAMLError(problem="too many brackets within each other") from error


def read_mapping(path: Path, what: str, error: type[PolyspanError]) -> dict[str, Any]:
    """The keys of a file.

    Args:
        path: the file.
        what: it is to be, for messages.
        error: raised when it is not there, broken YAML, or something else than keys.
    """
    text = read_text(path, error)
    try:
        tree = parse_yaml(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        reason = getattr(problem, "problem", None) or " ".join(str(problem).split())
        raise error(f"{path}: {place}not valid YAML ({reason})") from problem
    if not isinstance(tree, dict):
        found = "the file is empty" if tree is None else f"this is a {type(tree).__name__}"
        raise error(f"{path}: a {what} is a mapping of keys; {found}")
    return tree
