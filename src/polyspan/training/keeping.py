"""Keeping what the model knew: slower lower layers, and a pull back to where the weights began."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polyspan.models.layers import embeddings_of, layers_of
from polyspan.training.checkpoints import CheckpointError

START_FILE = "start.sha256"


def slow_lower_layers(optimizer: Optimizer, model: nn.Module, decay: float) -> None:
    """Give each layer the learning rate of the layer above times ``decay``.

    The head, and what stands above the layers, keep the optimiser's rate; of ``n`` layers the lowest
    has it times ``decay ** n`` and the embeddings times ``decay ** (n + 1)`` (discriminative
    fine-tuning, Howard and Ruder 2018, section 3.2).

    Args:
        optimizer: has taken no step yet; its groups are divided.
        model: whose parameters it has.
        decay: above 0, at most 1.
    """
    parts = [embeddings_of(model), *layers_of(model)]
    below = {id(p): len(parts) - depth for depth, part in enumerate(parts) for p in part.parameters()}
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        by_depth: dict[int, list[Any]] = {}
        for parameter in group["params"]:
            by_depth.setdefault(below.get(id(parameter), 0), []).append(parameter)
        groups += [
            {**group, "params": parameters, "lr": group["lr"] * decay**depth} for depth, parameters in by_depth.items()
        ]
    optimizer.param_groups[:] = groups


class PullToStart(TrainerCallback):
    """After each step the weights move back to where they began, by ``strength`` x learning rate of the way.

    The penalty ``strength / 2 * |w - w0|^2`` (L2-SP; Li et al. 2018), decoupled from Adam's scaling as
    AdamW decouples weight decay (Loshchilov and Hutter 2019).

    Args:
        model: as it is now is where it began.
        strength: 0 or more; times the learning rate it must stay below 1.
    """

    def __init__(self, model: nn.Module, strength: float) -> None:
        self.strength = strength
        self.start = {id(p): p.detach().clone() for p in model.parameters() if p.requires_grad}

    def save_to(self, checkpoint: Path) -> None:
        """Write a digest of where the weights began."""
        (checkpoint / START_FILE).write_text(self.digest() + "\n", encoding="ascii")

    def load_from(self, checkpoint: Path) -> None:
        """Compare it.

        Raises:
            CheckpointError: the weights began elsewhere, so they would be pulled elsewhere.
        """
        if (checkpoint / START_FILE).read_text(encoding="ascii").strip() != self.digest():
            raise CheckpointError(
                f"{checkpoint}: written by a run that began with other weights than the recipe's model has now, and"
                " training.pull_to_start pulls to them; restore the model, or begin again in another run_dir"
            )

    def digest(self) -> str:
        """SHA-256 of where the weights began, in hexadecimal."""
        total = hashlib.sha256()
        for start in self.start.values():
            total.update(start.cpu().contiguous().view(torch.uint8).numpy().data)
        return total.hexdigest()

    @torch.no_grad()
    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Every group by its own learning rate, that of the step just taken."""
        for group in kwargs["optimizer"].param_groups:
            for parameter in group["params"]:
                parameter.lerp_(self.start[id(parameter)].to(parameter.device), group["lr"] * self.strength)
