"""Windows as the trainer's data: token-budget batches in an order of each epoch's own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from polyspan.encoding.batches import token_batches
from polyspan.encoding.windows import Windows, build_batch


class _Indices(Dataset[int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class EpochBatches:
    """Batches grouped once, visited in another order every epoch.

    The grouping is fixed so that every epoch has the same number of steps, which the schedule and
    a resumed run rely on. The order depends on the seed and the epoch alone.
    """

    def __init__(self, windows: Windows, batch_tokens: int, seed: int) -> None:
        self.batches = token_batches(windows.lengths().tolist(), batch_tokens, seed)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(len(self.batches)))
        random.Random(f"{self.seed}-{self.epoch}").shuffle(order)
        return (self.batches[at] for at in order)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch


@dataclass(frozen=True)
class Collator:
    """Put the token lists of a batch together, as a flat mapping of tensors."""

    windows: Windows

    def __call__(self, indices: list[int]) -> dict[str, Tensor]:
        batch = build_batch(self.windows, indices)
        start, end = batch.gold
        return {
            **batch.inputs,
            "context_mask": batch.context_mask,
            "start_positions": start,
            "end_positions": end,
        }


def train_loader(windows: Windows, batch_tokens: int, seed: int) -> DataLoader[int]:
    """A loader of the windows; built in the training process, as workers gain nothing here."""
    return DataLoader(
        _Indices(len(windows)),
        batch_sampler=EpochBatches(windows, batch_tokens, seed),
        collate_fn=Collator(windows),
    )
