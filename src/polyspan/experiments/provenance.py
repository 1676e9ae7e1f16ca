"""Where a model comes from: its encoder, everything it was trained on, and under which licences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polyspan.analysis.runs import data_name
from polyspan.corpus.hub import hub_id
from polyspan.corpus.load import Kind, guess_kind, is_shipped, published_name
from polyspan.corpus.publishers import DATA_SETS
from polyspan.errors import PolyspanError
from polyspan.experiments.leakage import TRAINED_ON, averaged_of, is_gone, model_history
from polyspan.experiments.recipe import Recipe

E5_SMALL = "intfloat/multilingual-e5-small"
ENCODERS = {
    E5_SMALL: "mit",
    "google-bert/bert-base-multilingual-cased": "apache-2.0",
    "FacebookAI/xlm-roberta-base": "mit",
    "microsoft/mdeberta-v3-base": "mit",
    "microsoft/Multilingual-MiniLM-L12-H384": "mit",
    "jhu-clsp/mmBERT-base": "mit",
}
"""Licences, as the hub writes them, of the encoders that the shipped recipes start from."""
SHARE_ALIKE = "CC BY-SA"


@dataclass(frozen=True)
class Source:
    """A data set that was trained on, or asked.

    Attributes:
        name: for people.
        licence: as its publisher states it; None where this package does not know it.
        hub_id: its name on the Hugging Face hub, if it has one.
    """

    name: str
    licence: str | None = None
    hub_id: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Everything behind a model.

    Attributes:
        encoder: hub id of what everything began with; None where that was a folder without a recipe.
        encoder_licence: as the hub writes it; None where it is not known.
        sources: each data set of each training, the oldest training's first.
    """

    encoder: str | None
    encoder_licence: str | None
    sources: list[Source]

    @property
    def licence(self) -> str:
        """What the weights can be given away under, as the hub writes it, read with care.

        Share-alike licences of texts are taken to hold for weights trained on them. ``other``
        where a licence is not known.
        """
        if self.encoder_licence is None or any(source.licence is None for source in self.sources):
            return "other"
        if any(SHARE_ALIKE in (source.licence or "") for source in self.sources):
            return "cc-by-sa-4.0"
        return self.encoder_licence


def provenance(recipe: Recipe) -> Provenance:
    """Follow a recipe back through the run folders that its model lies in, as far as they are here."""
    origins, recipes = _ancestry(recipe.model)
    # Shipped models are the embedded encoder after these data.
    found = [published_source(name) for origin in origins for name in TRAINED_ON.get(origin, ())]
    for trained in (*recipes, recipe):
        found += _trained_on(trained)
    unique = list(dict.fromkeys(found))
    encoder, *others = {E5_SMALL if origin in ("embedded", *TRAINED_ON) else origin for origin in origins}
    if others or Path(encoder).exists() or is_gone(encoder) or encoder.count("/") != 1:
        return Provenance(None, None, unique)
    return Provenance(encoder, ENCODERS.get(encoder), unique)


def _ancestry(model: str) -> tuple[list[str], list[Recipe]]:
    """What everything began with, and the trainings since, the oldest first; of an average those of all its parts."""
    later = [recipe for _, recipe in model_history(model)]
    origin = later[-1].model if later else model
    parents = [_ancestry(parent) for parent in averaged_of(origin)]
    origins = list(dict.fromkeys(name for names, _ in parents for name in names)) or [origin]
    return origins, [recipe for _, recipes in parents for recipe in recipes] + later[::-1]


def published_source(name: str) -> Source:
    """One of the data sets that ``polyspan data list`` lists."""
    return Source(DATA_SETS[name].title, DATA_SETS[name].licence, DATA_SETS[name].hub_id)


def data_source(path: str, kind: Kind | None) -> Source:
    """Which data set a path of a recipe means; by the names of its files, its content is not read."""
    if is_shipped(path):
        return Source(f"{path} (ships with Polyspan)", "CC0 1.0")
    try:
        kind = kind or guess_kind(path)
    except PolyspanError:
        return Source(data_name(path))
    if published := published_name(path, kind):
        return published_source(published)
    if kind == "hub":
        name = hub_id(path)
        return Source(name, None, None if Path(name).exists() else name)
    return Source(data_name(path))


def _trained_on(recipe: Recipe) -> Iterator[Source]:
    yield data_source(recipe.data.path, recipe.data.kind)
    if recipe.data.replay is not None:
        yield data_source(recipe.data.replay.path, recipe.data.replay.kind)
