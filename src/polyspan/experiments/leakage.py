"""The leakage guard of a run: what a model was trained on is compared with what it is to be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from polyspan.corpus.leakage import Leakage, find_leakage
from polyspan.corpus.load import load_corpus
from polyspan.corpus.model import ParallelCorpus
from polyspan.errors import PolyspanError
from polyspan.experiments.prepare import prepare
from polyspan.experiments.recipe import MODEL_FOLDER, RECIPE_FILE, Evaluation, Recipe, load_recipe
from polyspan.files import write_text

if TYPE_CHECKING:
    from rich.console import Console

LEAKAGE_FILE = "leakage.json"
Policy = Literal["fail", "warn", "ignore"]


class LeakageError(PolyspanError):
    """The test set shares something with the training data, and that was not to be."""


@dataclass
class Guard:
    """Compares one test set with one training set after the other and keeps what was found.

    Attributes:
        evaluation: what is to be asked.
        policy: "fail" raises once all is written, "warn" prints, "ignore" does not even look.
        console: where warnings go.
        found: one result for each training set.
        not_compared: models whose training data cannot be read, each with the reason.
        origins: models that everything began with, whose training data no recipe tells.
    """

    evaluation: Evaluation
    policy: Policy
    console: Console
    found: list[Leakage] = field(default_factory=list)
    not_compared: list[dict[str, str]] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    _test: ParallelCorpus | None = None

    def compare_corpus(self, train: ParallelCorpus) -> None:
        """With data that is in memory already."""
        self.found.append(find_leakage(train, self.read_test(), near=find_spec("datasketch") is not None))

    def read_test(self) -> ParallelCorpus:
        """What is to be asked, read once."""
        if self._test is None:
            chosen = self.evaluation
            self._test = load_corpus(chosen.path, kind=chosen.kind, languages=chosen.languages)
        return self._test

    def compare_model(self, model: str) -> None:
        """With all that a model was trained on, back to the first one that no recipe lies beside."""
        origin = model
        for trained, recipe in model_history(model):
            origin = recipe.model
            try:
                self.compare_corpus(prepare(recipe.data, recipe.seed).corpus)
            except PolyspanError as error:
                self.not_compared.append({"model": trained, "why": str(error)})
        self.origins.append(origin)

    def conclude(self, folder: Path | None) -> None:
        """Write ``leakage.json`` where there is a folder, then warn.

        Raises:
            LeakageError: something was found and the policy is "fail".
        """
        if folder is not None:
            write_text(folder / LEAKAGE_FILE, json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n")
        for entry in self.not_compared:
            line = f"leakage: not compared with the training data of {entry['model']}: {entry['why']}"
            self.console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
        if self.found and self.found[0].near_passages is None:
            self.console.print("leakage: near copies were not looked for: pip install 'polyspan\\[leakage]'")
        leaks = [leakage for leakage in self.found if leakage]
        if leaks and self.policy == "fail":
            raise LeakageError(f"leakage: {'; '.join(map(str, leaks))} (--leakage warn goes on all the same)")
        for leakage in leaks:
            line = f"leakage: {leakage}; scores will be too good"
            self.console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "policy": self.policy,
            "test": self.evaluation.path,
            "compared": [leakage.to_dict() for leakage in self.found],
            "not_compared": self.not_compared,
            "origins": self.origins,
        }


def check_training(recipe: Recipe, train: ParallelCorpus, policy: str, console: Console) -> None:
    """Compare a run's training data, and that of the model it starts from, with its evaluation.

    Raises:
        LeakageError: an unknown policy, or something is found and the policy is "fail".
    """
    guard = _guard(recipe.evaluation, policy, console)
    if guard is None:
        if recipe.evaluation is not None:  # data that cannot be read are told of before the training, not after it
            Guard(recipe.evaluation, "ignore", console).read_test()
    else:
        guard.compare_corpus(train)
        guard.compare_model(recipe.model)
        guard.conclude(recipe.run_dir)


def check_evaluation(model: str, evaluation: Evaluation, folder: Path | None, policy: str, console: Console) -> None:
    """Compare what a model was trained on with what it is to be asked.

    Raises:
        LeakageError: an unknown policy, or something is found and the policy is "fail".
    """
    guard = _guard(evaluation, policy, console)
    if guard is not None:
        guard.read_test()  # data that cannot be read are told of before anything is written
        guard.compare_model(model)
        guard.conclude(folder)


def check_policy(policy: str) -> None:
    """For commands that run many models: one error before the first of them.

    Raises:
        LeakageError: an unknown policy.
    """
    if policy not in get_args(Policy):
        raise LeakageError(f"--leakage is {', '.join(get_args(Policy))}, not {policy!r}")


def _guard(evaluation: Evaluation | None, policy: str, console: Console) -> Guard | None:
    check_policy(policy)
    if evaluation is None or policy == "ignore":
        return None
    return Guard(evaluation, policy, console)  # type: ignore[arg-type]


def model_history(model: str) -> Iterator[tuple[str, Recipe]]:
    """The models a model comes from, newest first, each with the recipe in the run folder around it.

    A run's model lies in the folder ``model`` of the run; a recipe beside another folder is somebody's own file.
    """
    seen: set[Path] = set()
    while (
        (folder := Path(model).resolve()).name == MODEL_FOLDER
        and folder.is_dir()
        and (file := folder.parent / RECIPE_FILE).is_file()
        and file not in seen
    ):
        seen.add(file)
        recipe = load_recipe(file)
        yield model, recipe
        model = recipe.model
