"""Which checkpoints are whole: a killed run must never go on from a half-written one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polyspan.files import what_is_broken, write_manifest


class CheckpointManifest(TrainerCallback):
    """Write a manifest into each checkpoint, last of all that is written."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Runs after the callbacks that add files of their own."""
        if state.is_world_process_zero:
            write_manifest(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")


def newest_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """The whole checkpoint of the highest step, and why newer ones were passed over."""
    skipped: list[str] = []
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        broken = what_is_broken(path)
        if broken is None:
            return path, skipped
        skipped.append(f"{path}: {broken}")
    return None, skipped
