"""Windows as the trainer's data: token-budget batches in an order of each epoch's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polyspan.encoding.batches import token_batches
from polyspan.encoding.windows import Windows, build_batch

WINDOWS = "windows"
"""Name, in a batch, of the number of windows that count: 0 in a stand-in."""
INDICES = "window_indices"
"""Name, in a batch, of which windows they are, (batch,)."""


class _Indices(Dataset[int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class EpochBatches:
    """Batches grouped once, visited in another order every epoch.

    What one optimiser step sees, over all processes and accumulated batches, is grouped first, by
    a budget of ``batch_tokens`` for each part; then it is divided into the parts. So the steps of
    a run depend on the product of the three alone: two processes see what one process sees that
    accumulates two batches, or that has twice the budget. Whole windows are dealt out, so a part
    can be over its budget by less than one window. A step of fewer windows than parts leaves some
    parts empty; every process has the same number of parts, and every window is in exactly one.

    The grouping is fixed so that every epoch has the same number of steps, which the schedule and
    a resumed run rely on. The order depends on the seed and the epoch alone. With
    ``same_language_first`` the pairs of one language are grouped apart from those of two, and the
    first epoch has them first (a curriculum; Bengio et al. 2009); later epochs mix the steps.

    Args:
        windows: what is grouped.
        batch_tokens: of a part, windows times tokens of the longest.
        seed: of grouping and order.
        accumulate: parts of a step that this process sees one after the other.
        processes, process: how many there are, and which this is.
        same_language_first: see above.
    """

    def __init__(
        self,
        windows: Windows,
        batch_tokens: int,
        seed: int,
        accumulate: int = 1,
        processes: int = 1,
        process: int = 0,
        same_language_first: bool = False,
    ) -> None:
        lengths = windows.lengths()
        easy = np.ones(len(windows), bool)
        if same_language_first:
            within = np.array([pair.question_language == pair.context_language for pair in windows.pairs])
            easy = within[windows.pair_index]
        self.stages: list[list[list[int]]] = []
        """Windows of each step, by stage of the first epoch."""
        for stage in (easy, ~easy):
            members = np.flatnonzero(stage)
            steps = token_batches(lengths[members].tolist(), batch_tokens * accumulate * processes, seed)
            self.stages.append([members[step].tolist() for step in steps])
        self.seed = seed
        self.epoch = 0
        self.accumulate = accumulate
        self.processes = processes
        self.process = process

    def __len__(self) -> int:
        return sum(map(len, self.stages)) * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        generator = random.Random(f"{self.seed}-{self.epoch}")
        for stage in self.stages if self.epoch == 0 else [list(chain(*self.stages))]:
            steps = list(stage)
            generator.shuffle(steps)
            for step in steps:
                parts = divide(step, self.accumulate * self.processes)
                yield from parts[self.process :: self.processes]

    def set_epoch(self, epoch: int) -> None:
        """Take this epoch's order."""
        self.epoch = epoch


class EpochOrder(TrainerCallback):
    """Tell the batches which epoch begins, also where a run goes on in the middle of one.

    Whether the loaders and samplers around them pass the epoch on depends on the libraries' versions.
    """

    def __init__(self, batches: EpochBatches) -> None:
        self.batches = batches

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called before the epoch's first batch is drawn."""
        self.batches.set_epoch(int(state.epoch or 0))


def divide(items: list[int], parts: int) -> list[list[int]]:
    """Runs of items of nearly the same number, the longer ones first; empty ones where there are too few."""
    size, longer = divmod(len(items), parts)
    found, begin = [], 0
    for part in range(parts):
        end = begin + size + (part < longer)
        found.append(items[begin:end])
        begin = end
    return found


@dataclass(frozen=True)
class Collator:
    """Put the token lists of a batch together, as a flat mapping of tensors.

    An empty batch becomes the shortest window as a stand-in that does not count, because every
    process must take part in every step.
    """

    windows: Windows
    shortest: int

    def __call__(self, indices: list[int]) -> dict[str, Tensor]:
        batch = build_batch(self.windows, indices or [self.shortest])
        start, end = batch.gold
        return {
            **batch.inputs,
            "context_mask": batch.context_mask,
            "start_positions": start,
            "end_positions": end,
            WINDOWS: torch.tensor(len(indices)),
            INDICES: batch.windows,
        }


def train_loader(windows: Windows, batches: EpochBatches) -> DataLoader[int]:
    """A loader of the windows; built in the training process, as workers gain nothing here."""
    return DataLoader(
        _Indices(len(windows)),
        batch_sampler=batches,
        collate_fn=Collator(windows, int(windows.lengths().argmin())),
    )
