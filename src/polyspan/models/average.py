"""Models on the line, or in the plane, between models of one kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from polyspan.models.load import LoadedModel, ModelError, load_model


@torch.no_grad()
def average_models(names: Sequence[str], shares: Sequence[float] | None = None) -> LoadedModel:
    """The weighted mean of the weights of several models, parameter by parameter.

    ``sum of share * weights``. Between a model and the one it was fine-tuned from this gives back
    what was forgotten (Wortsman et al. 2022, WiSE-FT); between runs from one start it joins what
    each has learnt at the price of one model (Wortsman et al. 2022, model soups). Neither holds for
    models that did not begin with the same weights.

    Args:
        names: shipped names, folders or hub ids, two or more.
        shares: one for each, 0 or more; divided by their sum. Equal by default.

    Raises:
        ModelError: fewer than two models, shares that do not fit, a model that was not trained to
            answer, or models of different shape.
    """
    if len(names) < 2:
        raise ModelError("an average needs two models or more")
    shares = [1.0] * len(names) if shares is None else shares
    if len(shares) != len(names):
        raise ModelError(f"{len(names)} models, but {len(shares)} shares; give one for each")
    if not all(0 <= share < math.inf for share in shares) or sum(shares) == 0:
        raise ModelError("shares must be finite, 0 or more, and not all 0")
    total: dict[str, torch.Tensor] = {}
    first: LoadedModel | None = None
    for name, share in zip(names, shares, strict=True):
        loaded = load_model(name)
        if loaded.fresh_head:
            raise ModelError(
                f"{name}: has no question-answering head, and one drawn at random says nothing; train it first"
            )
        first = first or loaded
        weights = dict(loaded.model.named_parameters())
        if total and {key: value.shape for key, value in weights.items()} != {k: v.shape for k, v in total.items()}:
            raise ModelError(f"{name}: not of the same shape as {names[0]}")
        for key, value in weights.items():
            part = value.to(torch.float64) * (share / sum(shares))
            total[key] = total[key] + part if key in total else part
    assert first is not None
    for key, value in first.model.named_parameters():
        value.copy_(total[key])
    return first
