"""A teacher that costs no second reading: what the student itself said an epoch ago.

The teacher of an epoch is the student of the epoch before, read once more. The student has read
every window in that epoch already, each at its own step; kept, these logits teach the next epoch
(Kim et al. 2021, *Self-Knowledge Distillation with Progressive Refinement of Targets*, section 3.1,
where the targets are the predictions of the epoch before). The first epoch has none, and asks the
phase-1 model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from safetensors.torch import load_file, save_file
from torch import Tensor

from polyspan.encoding.windows import Windows

RECALL_FILE = "recall.safetensors"


class Recall:
    """Start and end logits of every window, in half precision: those of the last epoch and of this one.

    Eight bytes a token of all windows, in main memory.

    Args:
        windows: the training windows.
        process: which of several this is; the first keeps what all have said.
        device: on which the processes put together what they have.
    """

    def __init__(self, windows: Windows, process: int = 0, device: torch.device | str = "cpu") -> None:
        lengths = windows.lengths()
        self.lengths: list[int] = lengths.tolist()
        self.offsets: list[int] = (np.cumsum(lengths) - lengths).tolist()
        self.process = process
        self.device = device
        self.said = torch.zeros(2, int(lengths.sum()), dtype=torch.float16)
        """(start and end, tokens of all windows), of the last epoch."""
        self.saying = torch.zeros_like(self.said)
        """The same of this epoch, as far as it has come."""

    def keep(self, indices: Sequence[int], starts: Tensor, ends: Tensor) -> None:
        """Keep what the student says of these windows; logits are (batch, tokens)."""
        both = torch.stack([starts.detach(), ends.detach()]).to("cpu", torch.float16)
        for row, index in enumerate(indices):
            begin, length = self.offsets[index], self.lengths[index]
            self.saying[:, begin : begin + length] = both[:, row, :length]

    def logits(self, indices: Sequence[int], length: int) -> tuple[Tensor, Tensor]:
        """Start and end logits of the last epoch, each (batch, length); padding is 0 and must be masked."""
        both = torch.zeros(2, len(indices), length)
        for row, index in enumerate(indices):
            begin, own = self.offsets[index], self.lengths[index]
            both[:, row, :own] = self.said[:, begin : begin + own]
        return both[0], both[1]

    def join(self) -> None:
        """Give the first process what all have said in this epoch; every process must call it."""
        self.saying = self._of_the_first(self._of_all())

    def turn(self) -> None:
        """An epoch is over: what was said in it is what was said; every process must call it."""
        self.said = self._of_all()
        self.saying = torch.zeros_like(self.said)

    def save_to(self, checkpoint: Path) -> None:
        """Write both into the folder, after `join`."""
        save_file({"said": self.said, "saying": self.saying}, checkpoint / RECALL_FILE)

    def load_from(self, checkpoint: Path) -> None:
        """Read them again."""
        kept = load_file(checkpoint / RECALL_FILE)
        self.said = kept["said"]
        self.saying = self._of_the_first(kept["saying"])

    def _of_all(self) -> Tensor:
        """What all processes have said in this epoch: each window is one process's, so a sum puts them together."""
        if PartialState().num_processes == 1:
            return self.saying
        joined: Tensor = reduce(self.saying.to(self.device), "sum").to("cpu")
        return joined

    def _of_the_first(self, said: Tensor) -> Tensor:
        return said if self.process == 0 else torch.zeros_like(said)
