"""Weights on the line between the model a run began with and the one it ended with."""

from __future__ import annotations

import torch
from torch import nn


class WeightAverage:
    """Keeps the weights a training begins with, and mixes them into those it ends with.

    ``(1 - share) * trained + share * start``, parameter by parameter (Wortsman et al. 2022, WiSE-FT,
    for fine-tuning without forgetting): it costs one addition and no more time for an answer.

    Args:
        start: the model before the training; parameters are copied only if ``share`` is above 0.
        share: from 0 (all trained) to 1 (all start).
    """

    def __init__(self, start: nn.Module, share: float) -> None:
        self.share = share
        self._start = {name: value.detach().clone() for name, value in start.named_parameters()} if share else {}

    @torch.no_grad()
    def mix_into(self, trained: nn.Module) -> None:
        """Change the trained model's parameters in place."""
        for name, value in trained.named_parameters():
            if name in self._start:
                value.lerp_(self._start[name].to(value.device), self.share)
