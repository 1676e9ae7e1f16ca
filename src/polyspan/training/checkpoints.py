"""Which checkpoints are whole: a killed run must never go on from a half-written one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polyspan.files import is_whole, write_manifest


class CheckpointManifest(TrainerCallback):
    """Write a manifest into each checkpoint, last of all that is written."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Runs after the callbacks that add files of their own."""
        if state.is_world_process_zero:
            write_manifest(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")


def newest_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint of the highest step; half-written ones are passed over."""
    whole = [path for path in folder.glob("checkpoint-*") if is_whole(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
