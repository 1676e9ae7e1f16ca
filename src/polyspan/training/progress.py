"""What a person and a file see of a training: progress with time left, losses as JSON lines."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polyspan.files import write_text
from polyspan.processes import is_main_process

if TYPE_CHECKING:
    from polyspan.training.trainer import SpanTrainer

METRICS_FILE = "metrics.jsonl"
TIMING_FILE = "timing.json"
SPEED_PERIOD = 600.0
"""Seconds of the past that the time left is judged by: steps of a processor take seconds, and differ."""


class MetricsLog(TrainerCallback):
    """One JSON line a step: losses, coefficient, learning rate (the highest, where layers have their own).

    No times are written, so that the same run gives the same bytes. Checkpoints keep the lines of
    the steps so far; a run that goes on from one takes up from there.
    """

    def __init__(self, trainer: SpanTrainer, path: Path) -> None:
        self.trainer = trainer
        self.path = path
        self.learning_rate = 0.0

    def save_to(self, checkpoint: Path) -> None:
        """Copy the lines into the checkpoint."""
        shutil.copyfile(self.path, checkpoint / METRICS_FILE)

    def load_from(self, checkpoint: Path) -> None:
        """Take the checkpoint's lines instead of those there are: they may be more, or fewer after a power cut."""
        if is_main_process():
            write_text(self.path, (checkpoint / METRICS_FILE).read_text(encoding="utf-8"))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin with no lines, where the run begins."""
        if state.is_world_process_zero and state.global_step == 0:
            write_text(self.path, "")

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note the step's rate, before the schedule moves on to the next one's."""
        self.learning_rate = max(group["lr"] for group in kwargs["optimizer"].param_groups)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the step's line."""
        losses = self.trainer.last_losses
        if losses is None or not state.is_world_process_zero:
            return
        row = {
            "step": state.global_step,
            "epoch": round(float(state.epoch or 0), 6),
            "loss": float(losses.total.detach()),
            "ce": float(losses.ce),
            "kl": float(losses.kl),
            "coefficient": float(losses.coefficient),
            "consistency": float(losses.consistency),
            "learning_rate": self.learning_rate,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class TrainingClock:
    """Seconds that a training took, those before the checkpoint it goes on from included.

    What came after that checkpoint, and was lost with it, does not count.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.before = 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return self.before + time.monotonic() - self.began

    def save_to(self, folder: Path) -> None:
        """Write them into a checkpoint or a run folder."""
        write_text(folder / TIMING_FILE, json.dumps({"training_seconds": self.seconds}) + "\n")

    def load_from(self, checkpoint: Path) -> None:
        """Go on from a checkpoint's seconds."""
        self.before = float(json.loads((checkpoint / TIMING_FILE).read_text(encoding="utf-8"))["training_seconds"])


class ReadingLines:
    """A line now and then, with time left, while the teacher reads what it is asked before it teaches.

    Args:
        console: where they go; a progress bar there stays below them.
        every: seconds between lines.
    """

    def __init__(self, console: Console, every: float = 30.0) -> None:
        self.console = console
        self.every = every
        self.began = self.spoke = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Called with the tokens read and their total after each batch."""
        now = time.monotonic()
        if done == 0:
            self.began = self.spoke = now
            self.console.print(f"the teacher reads {total:,} tokens")
        elif now - self.spoke >= self.every and done < total:
            self.spoke = now
            left = (now - self.began) / done * (total - done)
            read = f"{100 * done // total}% of {total:,} tokens"
            self.console.print(f"the teacher has read {read}, {left / 60:.1f} min left")


class ProgressBar(TrainerCallback):
    """A bar with steps, loss and time left; where there is no terminal a line each 5% and each minute.

    Args:
        trainer: whose losses are shown.
        console: where they go.
        every: seconds after which a line is due.
    """

    def __init__(self, trainer: SpanTrainer, console: Console, every: float = 60.0) -> None:
        self.trainer = trainer
        self.console = console
        self.every = every
        self.bar: Progress | None = None
        self.spoke = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the bar."""
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            disable=not self.console.is_terminal,
            speed_estimate_period=SPEED_PERIOD,
        )
        self.bar.start()
        self.spoke = time.monotonic()
        self.task = self.bar.add_task("training", total=state.max_steps, completed=state.global_step, loss=0.0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move the bar."""
        losses = self.trainer.last_losses
        loss = float(losses.total.detach()) if losses is not None else 0.0
        if self.bar is not None:
            self.bar.update(self.task, completed=state.global_step, loss=loss)
            twentieth = state.global_step % max(1, state.max_steps // 20) == 0
            if self.bar.disable and (twentieth or time.monotonic() - self.spoke >= self.every):
                self.spoke = time.monotonic()
                left = self.bar.tasks[0].time_remaining
                minutes = f", {left / 60:.1f} min left" if left is not None else ""
                self.console.print(f"step {state.global_step}/{state.max_steps}, loss {loss:.3f}{minutes}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
