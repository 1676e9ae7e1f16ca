"""A recipe: one YAML file that says everything about a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from polyspan.corpus.load import Kind
from polyspan.errors import PolyspanError, first_problem
from polyspan.experiments.shipped import shipped_recipes
from polyspan.experiments.yaml_file import parse_yaml, read_mapping
from polyspan.models.load import local_path

RECIPE_FILE = "recipe.yaml"
MODEL_FOLDER = "model"
"""Of a run's folder."""
Positive = Annotated[int, Field(ge=1, lt=2**31)]
NotNegative = Annotated[int, Field(ge=0, lt=2**31)]


def at_home(value: Any) -> Any:
    """A path with the ``~`` at its beginning filled in, as a shell does it; anything else as it is."""
    return str(local_path(value)) if isinstance(value, str) and value.startswith("~") else value


Place = Annotated[str, BeforeValidator(at_home)]


class RecipeError(PolyspanError):
    """A recipe that cannot be read; names the file and the key."""


class Section(BaseModel):
    """Unknown keys are errors: a misspelt key must not be passed over."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Replay(Section):
    """Questions of another set that are mixed in, so that what the model knew is not forgotten."""

    path: Place
    """File, folder or name."""
    kind: Kind | None = None
    """Layout; guessed from the path when left out."""
    languages: list[str] | None = None
    """Keep only these."""
    seeds: Positive | None = None
    """Use this many questions, drawn at random; all by default."""
    certain_answers: bool = False
    """Keep only those whose answer stands once, as whole words, in its context."""


class Data(Section):
    """What is trained on."""

    path: Place
    """File or folder, or a name of the shipped corpus such as commons/train."""
    kind: Kind | None = None
    """Layout; guessed from the path when left out."""
    languages: list[str] | None = None
    """Keep only these; all by default. For a SQuAD file, the one language it is in."""
    on_bad: Literal["fail", "skip"] = "fail"
    """What to do with a bad record."""
    sampling: Literal["cross", "diagonal"] = "cross"
    """cross: every ordered pair of the drawn languages (Eq. 3); diagonal: same language only."""
    target_languages: NotNegative = 0
    """ntl: languages drawn for each seed beside the source."""
    source_language: str = "en"
    """Always among a seed's languages."""
    seeds: Positive | None = None
    """Use this many seed questions, drawn at random; all by default."""
    certain_answers: bool = False
    """Keep only seeds whose answer stands once, as whole words, in its context."""
    questions_per_passage: Positive | None = None
    """At most this many seeds of each passage, drawn at random; all by default."""
    pairs_per_seed: Positive | None = None
    """At most this many of each seed's pairs of languages, drawn at random; all by default."""
    pair_weights: Place | None = None
    """Scores that `polyspan evaluate --json` printed: pairs of languages are drawn in proportion to the F1
    that they lack. For pairs_per_seed; every pair is as likely by default."""
    max_length: Positive = 384
    """Tokens of a window, special tokens included."""
    overlap: NotNegative = 128
    """Context tokens that consecutive windows share."""
    crop: Positive | None = None
    """Train on a random stretch of this many context tokens around the answer; whole windows by default."""
    replay: Replay | None = None
    """Mixed in, each question over its own context; nothing by default."""


class Objective(Section):
    """alpha_ce * CE + alpha_kl * coefficient * KL (Eq. 4 and 6), and consistency."""

    alpha_ce: float = Field(1.0, ge=0)
    """Weight of the cross-entropy."""
    alpha_kl: float = Field(0.0, ge=0)
    """Weight of the self-distillation; 0 trains without a teacher."""
    temperature: float = Field(2.0, gt=0)
    """T, softens both distributions."""
    scale_by_temperature: bool = True
    """Multiply the divergence by T squared."""
    coefficient: Literal["constant", "first_hit", "eq5", "ap", "entropy"] = "constant"
    """Which mAP@k coefficient, or the teacher's certainty (entropy); constant is 1."""
    level: Literal["batch", "example", "head"] = "batch"
    """One coefficient a batch, an example, or a head of an example."""
    k: Positive = 10
    """How many of the teacher's best positions are looked at."""
    delta: Positive = 5
    """Half width of the interval around the gold position, in tokens."""
    mask: Literal["context", "none"] = "context"
    """context: softmax over context tokens, and over the first special token where it may be the label; none: over
    all tokens, as in the authors' code."""
    teacher: Literal["epoch", "recall", "steps", "ema", "never"] = "epoch"
    """When the teacher is renewed; recall: it is what the student said in the epoch before, which takes no
    second reading."""
    teacher_question: Literal["same", "context", "source", "ensemble"] = "same"
    """Which question the teacher reads over the student's context: the student's; that in the context's
    language; that in the source language; or all that were sampled, the mean of their log-probabilities."""
    teacher_every: Positive = 100
    """Steps between renewals, for teacher: steps."""
    teacher_decay: float = Field(0.999, ge=0, le=1)
    """Share the teacher keeps of itself at each step, for teacher: ema."""
    consistency: float = Field(0.0, ge=0)
    """Weight of the divergence between two readings of each window with different dropout (R-Drop), which take twice
    the time; needs training.dropout."""


class Training(Section):
    """How the weights are moved."""

    epochs: Positive = 1
    """Passes over the data."""
    learning_rate: float = Field(5e-5, gt=0)
    """Highest rate; AdamW."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps in which the rate rises; then it falls linearly to 0."""
    weight_decay: float = Field(0.0, ge=0)
    """Of AdamW."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    batch_tokens: Positive = 4096
    """Windows of a batch times the tokens of the longest of them."""
    accumulate: Positive = 1
    """Batches before each step."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of hidden states and attention; above 0 it halves the speed on a CPU."""
    freeze_embeddings: bool = True
    """Keep word, position and type embeddings as they are."""
    frozen_layers: NotNegative = 0
    """Keep this many of the lowest layers as they are."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """The learning rate of each layer is that of the layer above times this."""
    pull_to_start: float = Field(0.0, ge=0)
    """Each step moves the weights by this times the learning rate back to where they began."""
    order: Literal["random", "same_language_first"] = "random"
    """Of the first epoch's steps; same_language_first: those with question and context in one language first."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the device multiplies faster in it."""
    save_steps: Positive = 500
    """Steps between checkpoints."""


class Evaluation(Section):
    """What the trained model is asked."""

    path: Place
    """File, folder or name."""
    kind: Kind | None = None
    """Layout; guessed from the path when left out."""
    languages: list[str] | None = None
    """Keep only these."""
    limit: Positive | None = None
    """Questions of each pair of languages."""
    top_k: Positive = 10
    """Answers of each row to keep, best first; the table of answer ranks counts among them."""


class Recipe(Section):
    """A run from data to scores."""

    run_dir: Annotated[Path, BeforeValidator(at_home)]
    """Where everything goes."""
    seed: int = Field(1, ge=0, lt=2**32)
    """Of sampling, batches and new weights."""
    model: str = "polyspan-qa-en"
    """Shipped name, folder or hub id to start from."""
    data: Data
    objective: Objective = Field(default_factory=lambda: Objective.model_validate({}))
    training: Training = Field(default_factory=lambda: Training.model_validate({}))
    evaluation: Evaluation | None = None

    @field_validator("run_dir", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if value == "":
            raise ValueError("empty; name a folder")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.objective.alpha_ce and not self.objective.alpha_kl:
            raise ValueError("objective: alpha_ce and alpha_kl are both 0, nothing would be learnt")
        given = self.objective.model_fields_set
        idle = [key for key in Objective.model_fields if key in given - {"alpha_ce", "mask", "consistency"}]
        if idle and "alpha_kl" not in given:
            raise ValueError(f"objective: {idle[0]} does nothing without a teacher; set alpha_kl, to 1 for instance")
        if self.objective.teacher_question != "same":
            if self.objective.teacher == "ema":
                raise ValueError("objective: a teacher that moves every step (ema) cannot be asked other questions")
            if self.objective.teacher == "recall":
                raise ValueError("objective: what is recalled are answers to the same question; use teacher: epoch")
            if self.objective.mask == "none":
                raise ValueError("objective: teacher_question is about context tokens; it needs mask: context")
        if self.objective.consistency and not self.training.dropout:
            raise ValueError("objective: without training.dropout two readings are the same; consistency needs it")
        if self.training.pull_to_start * self.training.learning_rate >= 1:
            raise ValueError("training: pull_to_start times learning_rate must stay below 1")
        if self.data.pair_weights is not None and self.data.pairs_per_seed is None:
            raise ValueError("data: pair_weights say which pairs are drawn; they need pairs_per_seed")
        return self


def load_recipe(path: str | Path, settings: list[str] | None = None) -> Recipe:
    """Read a recipe and apply ``key=value`` settings such as ``training.epochs=2``.

    Raises:
        RecipeError: no such file, broken YAML, an unknown key or a value out of range.
    """
    path = Path(path)
    name = path.with_suffix("").as_posix().removeprefix("recipes/")
    if not path.exists() and name in shipped_recipes():
        raise RecipeError(f"{path}: no such file; copy the one that ships: polyspan recipe copy {name} FILE.yaml")
    tree = read_mapping(path, "recipe", RecipeError)
    if "recipe" in tree and "run_dir" not in tree:
        raise RecipeError(f"{path}: this is a sweep, not a recipe; run it with: polyspan sweep {path}")
    for setting in settings or []:
        _apply(tree, setting)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_first_problem(error)}") from error


def split_setting(setting: str) -> tuple[str, str]:
    """The key and the value of a ``--set``.

    Raises:
        RecipeError: it is no key=value.
    """
    key, separator, value = setting.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {setting}: write it as key=value, such as training.epochs=2")
    return key, value


def takes_whole_numbers(key: str) -> bool:
    """Whether a dotted key of a recipe is a number that must be whole."""
    kinds: set[Any] = {Recipe}
    for part in key.split("."):
        fields: dict[str, Any] = next((kind.model_fields for kind in kinds if hasattr(kind, "model_fields")), {})
        kinds = _kinds(fields[part].annotation) if part in fields else set()
    return int in kinds


def _kinds(annotation: Any) -> set[Any]:
    """The types that a field may be of, without what limits them."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    return set().union(*map(_kinds, get_args(annotation))) or {annotation}


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe, defaults written out, as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _apply(tree: dict[str, Any], setting: str) -> None:
    key, value = split_setting(setting)
    *sections, last = key.split(".")
    for section in sections:
        if tree.get(section) is None:  # also a section that is written out as null
            tree[section] = {}
        tree = tree[section]
        if not isinstance(tree, dict):
            raise RecipeError(f"--set {setting}: {section!r} is a value, not a section")
    try:
        tree[last] = float(value) if _POWER_OF_TEN.fullmatch(value) else parse_yaml(value)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "not a YAML value"
        raise RecipeError(f"--set {setting}: cannot be read ({problem}); put quotes around the value") from error


_POWER_OF_TEN = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+\s*")
"""YAML reads 5e-5 as text; a person means the number."""

_SECTIONS = {
    "data": Data,
    "replay": Replay,
    "objective": Objective,
    "training": Training,
    "evaluation": Evaluation,
}


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        section: Any = Recipe
        for part in first["loc"][:-1]:
            section = _SECTIONS[str(part)]
        return f"unknown key {where!r}; known here: {', '.join(section.model_fields)}"
    if first["type"] == "missing":
        return f"the key {where!r} is missing"
    return first_problem(error)
