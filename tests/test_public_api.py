"""What others lean on: the public names, their parameters, and how quickly the package starts."""

from __future__ import annotations

import inspect
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

import polyspan
from polyspan.cli.main import app

QUICK = 0.3
"""Seconds of processor time; the clock on the wall says more of a busy machine than of us."""
BARE = """
import typer

app = typer.Typer()
app.command("a")(lambda: None)
app.command("b")(lambda: None)
app()
"""
"""The least that has a help page: what its libraries take on a slow machine is not ours."""

COMMANDS = {
    "ask",
    "calibrate",
    "compare",
    "data",
    "data check",
    "data get",
    "data leakage",
    "data list",
    "demo",
    "doctor",
    "evaluate",
    "export",
    "predict",
    "push",
    "recipe",
    "recipe check",
    "recipe copy",
    "recipe list",
    "report",
    "reproduce",
    "results",
    "results collect",
    "results figures",
    "results table",
    "serve",
    "sweep",
    "train",
}
"""Commands that stay; a new one is added here when its words are settled."""


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_package_offers_just_these_names() -> None:
    assert polyspan.__all__ == [
        "Answerer",
        "Pair",
        "ParallelCorpus",
        "ScoreMatrix",
        "load_corpus",
        "load_model",
        "load_recipe",
        "run_recipe",
        "sample_pairs",
        "score_answer",
    ]


@pytest.mark.parametrize("name", polyspan.__all__)
def test_each_name_is_there_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(polyspan, name))


def test_the_package_lists_its_names_and_tells_its_version() -> None:
    assert set(polyspan.__all__) <= set(dir(polyspan))
    assert polyspan.__version__ == version("polyspan")


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = polyspan.nothing


@pytest.mark.parametrize(
    ("room", "function", "first"),
    [
        ("corpus", "load_corpus", ["path", "kind", "languages"]),
        ("corpus", "sample_pairs", ["corpus", "target_languages", "seed"]),
        ("evaluation", "score_answer", ["prediction", "golds", "language", "rules"]),
        ("objectives", "coefficient", ["teacher_logits", "gold", "kind", "k", "delta", "mask"]),
        ("models", "load_model", ["name"]),
    ],
)
def test_parameters_keep_their_names_and_order(room: str, function: str, first: list[str]) -> None:
    found = parameters(getattr(import_module(f"polyspan.{room}"), function))
    assert found[: len(first)] == first


def test_what_they_give_keeps_its_form() -> None:
    from polyspan.corpus import Pair
    from polyspan.models.load import SHIPPED

    assert Pair._fields == ("id", "question_language", "context_language")
    assert {"polyspan-qa-en", "polyspan-small"} <= set(SHIPPED)
    score = polyspan.score_answer("the red door", ["red door"], "en", rules="mlqa")
    assert (score.f1, score.em) == (1.0, 1.0)


def test_commands_stay() -> None:
    def names(command: Any, before: str = "") -> set[str]:
        found = set()
        for name, child in getattr(command, "commands", {}).items():
            found |= {before + name} | names(child, f"{before}{name} ")
        return found

    assert names(typer.main.get_command(app)) >= COMMANDS


def test_the_package_is_typed() -> None:
    assert Path(str(polyspan.__file__)).with_name("py.typed").is_file()


def processor_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def is_quick(command: list[str], least: list[str]) -> bool:
    """Once in a few tries under the limit, or under twice the least: other work on the machine only ever adds."""
    ours, theirs = [], []
    for _ in range(6):
        ours.append(processor_seconds(*command))
        theirs.append(processor_seconds(*least))
        if min(ours) < max(QUICK, 2 * min(theirs)):
            return True
    return False


def test_import_is_quick() -> None:
    assert processor_seconds(sys.executable, "-c", "import polyspan") < QUICK


def test_help_is_quick() -> None:
    polyspan_help = [str(Path(sys.executable).with_name("polyspan")), "--help"]
    assert is_quick(polyspan_help, least=[sys.executable, "-c", BARE, "--help"])


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = "import sys, polyspan.cli.main; print(*{'torch', 'transformers', 'numpy', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"
