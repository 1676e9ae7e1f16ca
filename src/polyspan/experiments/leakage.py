"""The leakage guard of a run: what a model was trained on is compared with what it is to be asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from polyspan.corpus.leakage import Leakage, find_leakage
from polyspan.corpus.load import guess_kind, load_corpus, published_name
from polyspan.corpus.model import ParallelCorpus
from polyspan.errors import PolyspanError
from polyspan.experiments.prepare import prepare
from polyspan.experiments.recipe import MODEL_FOLDER, RECIPE_FILE, Evaluation, Recipe, RecipeError, load_recipe
from polyspan.files import write_aside, write_text
from polyspan.models.load import LoadedModel, local_path, looks_local, model_folder, save_model

if TYPE_CHECKING:
    from rich.console import Console

LEAKAGE_FILE = "leakage.json"
AVERAGE_FILE = "average.json"
"""In the folder of an averaged model: of which it is one."""
TRAINED_ON = {"polyspan-qa-en": ("squad",), "polyspan-small": ("squad", "xquad")}
"""Names of the data sets that shipped readers were trained on, of SQuAD its train part."""
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
    _seen: set[Path] = field(default_factory=set)

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
        try:
            for trained, recipe in model_history(model):
                origin = recipe.model
                self._compare_training(trained, recipe)
        except RecipeError as error:  # of another version, for one
            self._could_not(origin, str(error))
            return
        if parents := averaged_of(origin):
            for parent in parents:
                self.compare_model(parent)
            return
        if is_gone(origin):
            self._could_not(origin, "no such model is there any more")
        elif origin not in self.origins:
            self.origins.append(origin)

    def _compare_training(self, model: str, recipe: Recipe) -> None:
        if (folder := Path(model).resolve()) in self._seen:
            return  # of several models that were averaged
        self._seen.add(folder)
        try:
            self.compare_corpus(prepare(recipe.data, recipe.seed).corpus)
        except PolyspanError as error:
            self._could_not(model, str(error))

    def _could_not(self, model: str, why: str) -> None:
        entry = {"model": model, "why": why}
        if entry not in self.not_compared:
            self.not_compared.append(entry)

    def conclude(self, folder: Path | None) -> None:
        """Write ``leakage.json`` where there is a folder, then warn.

        Raises:
            LeakageError: the policy is "fail", and something was found or could not be compared.
        """
        if folder is not None:
            write_text(folder / LEAKAGE_FILE, json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n")
        for entry in self.not_compared:
            line = f"leakage: not compared with the training data of {entry['model']}: {entry['why']}"
            self.console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
        if self.found and self.found[0].near_passages is None:
            self.console.print("leakage: near copies were not looked for: pip install 'polyspan\\[leakage]'")
        leaks = [*(str(leakage) for leakage in self.found if leakage), *self._known_by_name()]
        if leaks and self.policy == "fail":
            raise LeakageError(f"leakage: {'; '.join(leaks)} (--leakage warn goes on all the same)")
        if self.policy == "fail":
            untold = [origin for origin in self.origins if origin not in TRAINED_ON and _is_a_reader(origin)]
            unknown = [*(entry["model"] for entry in self.not_compared), *untold]
            if unknown:
                raise LeakageError(
                    f"leakage: what {', '.join(unknown)} was trained on could not be compared (--leakage warn goes on"
                    " all the same)"
                )
        for leakage in leaks:
            line = f"leakage: {leakage}; scores will be too good"
            self.console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def _known_by_name(self) -> list[str]:
        """What shipped readers have seen of the test set, as far as its name tells."""
        path = self.evaluation.path
        asked = published_name(path, self.evaluation.kind or guess_kind(path))
        if asked == "squad" and "train" not in Path(path).name:
            asked = "xquad"  # whose questions are of SQuAD's other part
        return [
            f"{origin} was trained on questions of {path}"
            for origin in self.origins
            if asked in TRAINED_ON.get(origin, ())
        ]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "policy": self.policy,
            "test": self.evaluation.path,
            "compared": [leakage.to_dict() for leakage in self.found],
            "not_compared": self.not_compared,
            "by_name": self._known_by_name(),
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


def save_average(mean: LoadedModel, models: Sequence[str], shares: Sequence[float] | None, output: Path) -> None:
    """Write an averaged model, and of which models it is; those in folders are noted as seen from its own."""
    with write_aside(output) as aside:
        save_model(mean.model, mean.tokenizer, aside)
        _note_average(models, shares, aside, output.resolve())


def _note_average(models: Sequence[str], shares: Sequence[float] | None, output: Path, place: Path) -> None:
    folders = [(model, local_path(model)) for model in models]
    parents = [os.path.relpath(folder.resolve(), place) if folder.is_dir() else model for model, folder in folders]
    note = {"models": parents, "shares": list(shares or [1.0] * len(models))}
    write_text(output / AVERAGE_FILE, json.dumps(note, ensure_ascii=False, indent=1) + "\n")


def averaged_of(model: str) -> list[str]:
    """The models of which a model is the average; none where it is no such average, or its note is broken."""
    folder = Path(model)
    try:
        parents = json.loads((folder / AVERAGE_FILE).read_text(encoding="utf-8"))["models"]
        places = [(str(name), Path(os.path.normpath(folder.resolve() / str(name)))) for name in parents]
        return [str(place) if place.is_dir() or name.startswith("..") else name for name, place in places]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def model_history(model: str) -> Iterator[tuple[str, Recipe]]:
    """The models a model comes from, newest first, each with the recipe in the run folder around it.

    A run's model lies in the folder ``model`` of the run; a recipe beside another folder is somebody's own file.
    Paths of a recipe count from where its run was started, which its ``run_dir`` tells.
    """
    seen: set[Path] = set()
    while (
        (folder := Path(model).resolve()).name == MODEL_FOLDER
        and folder.is_dir()
        and (file := folder.parent / RECIPE_FILE).is_file()
        and file not in seen
    ):
        seen.add(file)
        recipe = from_its_place(load_recipe(file), file)
        yield model, recipe
        model = recipe.model


def is_gone(model: str) -> bool:
    """Whether this can only have been a folder, and is none any more: not a hub id, nor a name that ships."""
    return (looks_local(model) or Path(model).name == MODEL_FOLDER) and not local_path(model).exists()


def from_its_place(recipe: Recipe, file: Path) -> Recipe:
    """The recipe of a run with the paths that are there as seen from where the run was started."""
    started = file.parent
    own = recipe.run_dir.parts
    if recipe.run_dir.is_absolute() or ".." in own or started.parts[-len(own) :] != own:
        return recipe
    started = Path(*started.parts[: -len(own)])
    if started == Path.cwd():
        return recipe

    def placed(path: str) -> str:
        return str(started / path) if (started / path).exists() else path

    data = recipe.data.model_copy(update={"path": placed(recipe.data.path)})
    if data.pair_weights:
        data = data.model_copy(update={"pair_weights": placed(data.pair_weights)})
    if data.replay:
        data = data.model_copy(update={"replay": data.replay.model_copy(update={"path": placed(data.replay.path)})})
    return recipe.model_copy(update={"model": placed(recipe.model), "data": data})


def _is_a_reader(model: str) -> bool:
    """Whether this is a model that somebody has trained to answer, unlike an encoder, as far as is known here."""
    try:
        folder = model_folder(model)
        if folder is None:
            return False
        kinds = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures")
    except (OSError, ValueError, AttributeError, PolyspanError):
        return False
    return any(str(kind).endswith("QuestionAnswering") for kind in kinds or ())
