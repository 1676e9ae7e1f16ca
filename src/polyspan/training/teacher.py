"""The teacher of self-distillation: a frozen copy of the student, renewed in generations."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

TeacherUpdate = Literal["epoch", "steps", "ema", "never"]
TEACHER_FILE = "teacher.safetensors"


class Teacher:
    """A frozen copy of a model, in evaluation mode.

    Parameters that the student does not train are shared with it, not copied.
    """

    def __init__(self, student: nn.Module) -> None:
        shared = {id(p): p for p in student.parameters() if not p.requires_grad}
        self.model = copy.deepcopy(student, memo=dict(shared))
        self.model.requires_grad_(False)
        self.model.eval()

    def _moving(self, student: nn.Module) -> list[tuple[Tensor, Tensor]]:
        return [
            (mine, theirs)
            for mine, theirs in zip(self.model.parameters(), student.parameters(), strict=True)
            if theirs.requires_grad
        ]

    @torch.no_grad()
    def copy_from(self, student: nn.Module) -> None:
        """Become the student as it is now."""
        for mine, theirs in self._moving(student):
            mine.copy_(theirs)

    @torch.no_grad()
    def follow(self, student: nn.Module, decay: float) -> None:
        """Move towards the student: ``decay * teacher + (1 - decay) * student``."""
        for mine, theirs in self._moving(student):
            mine.lerp_(theirs, 1 - decay)

    @torch.no_grad()
    def logits(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Start and end logits, each (batch, tokens)."""
        outputs = self.model(**inputs)
        return outputs.start_logits, outputs.end_logits

    def save(self, path: Path, student: nn.Module) -> None:
        """Write the parameters that are not shared with the student."""
        moving = {name for name, p in student.named_parameters() if p.requires_grad}
        tensors = {name: p.contiguous() for name, p in self.model.named_parameters() if name in moving}
        save_file(tensors, path)

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        own = dict(self.model.named_parameters())
        for name, value in load_file(path).items():
            own[name].copy_(value)


class TeacherGenerations(TrainerCallback, ExportableState):
    """Renew the teacher: at every later epoch, every n steps, after every step (EMA), or never.

    Generation 0 is the phase-1 model, which is also the first student (Carrino et al. 2023,
    section 3.3), so the divergence starts at 0 and acts as an anchor. The step of the last renewal
    is kept in checkpoints: going on inside an epoch must not renew the teacher.
    """

    def __init__(self, teacher: Teacher, update: TeacherUpdate = "epoch", every: int = 0, decay: float = 0.999) -> None:
        self.teacher = teacher
        self.update = update
        self.every = every
        self.decay = decay
        self.generation = 0
        self.renewed_at = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the teacher's weights."""
        return {
            "args": {"update": self.update, "every": self.every, "decay": self.decay},
            "attributes": {"generation": self.generation, "renewed_at": self.renewed_at},
        }

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The teacher becomes the student of the epoch before."""
        whole_epoch = float(state.epoch or 0).is_integer()
        if self.update == "epoch" and whole_epoch and state.global_step > self.renewed_at:
            self._renew(kwargs["model"], state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Every n steps, or a little after every step."""
        if self.update == "steps" and state.global_step % self.every == 0:
            self._renew(kwargs["model"], state.global_step)
        elif self.update == "ema":
            self.teacher.follow(kwargs["model"], self.decay)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put the teacher into the checkpoint that was just written."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        self.teacher.save(folder / TEACHER_FILE, kwargs["model"])

    def _renew(self, student: nn.Module, step: int) -> None:
        self.teacher.copy_from(student)
        self.generation += 1
        self.renewed_at = step
