"""Models on the line, or in the plane, between models of one kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig

from polyspan.errors import first_difference
from polyspan.models.errors import ModelError
from polyspan.models.load import LoadedModel, load_reader

_NOT_COMPUTED = {"architectures", "dtype", "transformers_version", "_name_or_path", "id2label", "label2id", "use_cache"}
"""What a configuration says beside how its model computes."""


@torch.no_grad()
def average_models(names: Sequence[str], shares: Sequence[float] | None = None) -> LoadedModel:
    """The weighted mean of the weights of several models, parameter by parameter.

    ``sum of share * weights``. Between a model and the one it was fine-tuned from this gives back
    what was forgotten (Wortsman et al. 2022, WiSE-FT); between runs from one start it joins what
    each has learnt at the price of one model (Wortsman et al. 2022, model soups). A share below 0 takes
    away: ``1, 1, -1`` of a new start, a run and the start it had is the new start with what the run
    had learnt (Ilharco et al. 2023, task arithmetic). None holds for models that did not begin with
    the same weights.

    Args:
        names: shipped names, folders or hub ids, two or more.
        shares: one for each, divided by their sum, which is above 0. Equal by default.

    Raises:
        ModelError: fewer than two models, shares that do not fit, a model that was not trained to
            answer, or models of different shape, configuration or vocabulary.
    """
    if len(names) < 2:
        raise ModelError("an average needs two models or more")
    shares = [1.0] * len(names) if shares is None else shares
    if len(shares) != len(names):
        raise ModelError(f"{len(names)} models, but {len(shares)} shares; give one for each")
    if not (0 < sum(shares) < math.inf):
        raise ModelError("shares must be finite numbers with a sum above 0")
    total: dict[str, torch.Tensor] = {}
    first: LoadedModel | None = None
    for name, share in zip(names, shares, strict=True):
        loaded = load_reader(name)
        first = first or loaded
        weights = dict(loaded.model.named_parameters())
        if total and {key: value.shape for key, value in weights.items()} != {k: v.shape for k, v in total.items()}:
            raise ModelError(f"{name}: not of the same shape as {names[0]}")
        if differs := first_difference(_computing(first.model.config), _computing(loaded.model.config)):
            raise ModelError(f"{name}: computes otherwise than {names[0]} ({differs})")
        if loaded.tokenizer.get_vocab() != first.tokenizer.get_vocab():
            raise ModelError(f"{name}: its tokeniser has other tokens than that of {names[0]}")
        for key, value in weights.items():
            part = value.to(torch.float64) * (share / sum(shares))
            total[key] = total[key] + part if key in total else part
    assert first is not None
    for key, value in first.model.named_parameters():
        value.copy_(total[key])
    return first


def _computing(config: PreTrainedConfig) -> dict[str, Any]:
    """A configuration without its bookkeeping, and without what is for training alone."""
    return {
        key: value
        for key, value in config.to_dict().items()
        if key not in _NOT_COMPUTED and "dropout" not in key and "initializer" not in key
    }
