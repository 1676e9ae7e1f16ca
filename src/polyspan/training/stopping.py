"""Ctrl-C and SIGTERM end a training after the step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from accelerate.utils import gather
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polyspan.processes import process_count

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(TrainerCallback):
    """While the block runs, the first signal asks the trainer to save and stop; a second one is as ever.

    Where several processes train, the signal may reach them in different steps, or some of them
    only: they agree after each step. Their launcher may pass on what the terminal sent already, so
    that they wait for its SIGKILL rather than for a second signal.

    Attributes:
        received: the signal, None if there was none.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop if a signal came to any process."""
        if args.world_size > 1:
            number = torch.tensor(self.received or 0, device=args.device)
            highest = int(gather(number.reshape(1)).max())
            self.received = signal.Signals(highest) if highest else None
        if self.received is not None:
            control.should_save = True
            control.should_training_stop = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if process_count() == 1:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
