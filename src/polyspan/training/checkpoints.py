"""Checkpoints that are whole or not there: a killed run must never go on from a half-written one."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from polyspan.errors import PolyspanError
from polyspan.files import flush, what_is_broken, write_manifest

PREFIX = "checkpoint-"
SAVING = ".saving"
"""Folder, beside the checkpoints, in which the next one is written."""
CONDITIONS_FILE = "conditions.json"


class CheckpointError(PolyspanError):
    """A checkpoint that this run cannot go on from."""


class Kept(Protocol):
    """What a checkpoint holds beside the trainer's own files."""

    def save_to(self, checkpoint: Path) -> None:
        """Write files into the folder; called in the main process."""

    def load_from(self, checkpoint: Path) -> None:
        """Read them again; called in every process."""


@dataclass(frozen=True)
class Conditions:
    """What a run cannot go on without, because its steps would be others.

    Attributes:
        processes: how many train together.
        data: digest of the windows.
        precision: "fp32", "bf16" or "fp16", which "auto" means by the machine.
    """

    processes: int
    data: str
    precision: str

    def save_to(self, checkpoint: Path) -> None:
        """Write them into the checkpoint."""
        (checkpoint / CONDITIONS_FILE).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")

    def load_from(self, checkpoint: Path) -> None:
        """Compare them with the checkpoint's.

        Raises:
            CheckpointError: they are others.
        """
        before = Conditions(**json.loads((checkpoint / CONDITIONS_FILE).read_text(encoding="utf-8")))
        if before.processes != self.processes:
            raise CheckpointError(
                f"{checkpoint}: written by a run of {_processes(before.processes)}, this is one of"
                f" {_processes(self.processes)}; go on with as many as before, or begin again in another run_dir"
            )
        if before.data != self.data:
            raise CheckpointError(
                f"{checkpoint}: written by a run on other data than the recipe gives now; restore the data,"
                " or begin again in another run_dir"
            )
        if before.precision != self.precision:
            raise CheckpointError(
                f"{checkpoint}: written by a run in {before.precision}, and on this machine it is one in"
                f" {self.precision}; go on where it began, or begin again in another run_dir"
            )


def _processes(count: int) -> str:
    return f"{count} process" if count == 1 else f"{count} processes"


def publish(folder: Path, name: str, keep: int) -> None:
    """Make what was written aside a checkpoint, then delete all but the newest.

    Args:
        folder: where the checkpoints are; this one was written into its folder `SAVING`.
        name: ``checkpoint-`` and the step.
        keep: how many to keep. One that is not whole does not count, nor does one of a later step:
            the run has gone back behind it because it is damaged.
    """
    aside = folder / SAVING / name
    write_manifest(aside)
    shutil.rmtree(folder / name, ignore_errors=True)
    aside.replace(folder / name)
    flush(folder)
    shutil.rmtree(folder / SAVING, ignore_errors=True)
    kept = 0
    for path in _newest_first(folder):
        if _step(path) <= _step(folder / name) and kept < keep and what_is_broken(path, digests=False) is None:
            kept += 1
        else:
            shutil.rmtree(path, ignore_errors=True)


def newest_checkpoint(folder: Path) -> tuple[Path | None, list[str]]:
    """The whole checkpoint of the highest step, and why newer ones were passed over."""
    skipped = [f"{path}: its writing was not finished" for path in _newest_first(folder / SAVING)]
    for path in _newest_first(folder):
        broken = what_is_broken(path)
        if broken is None:
            return path, skipped
        skipped.append(f"{path}: {broken}")
    return None, skipped


def _newest_first(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob(f"{PREFIX}*") if _step(path) >= 0), key=_step, reverse=True)


def _step(path: Path) -> int:
    number = path.name.removeprefix(PREFIX)
    return int(number) if number.isdecimal() else -1
