"""The teacher of self-distillation: a frozen copy of the student, renewed in generations."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from polyspan.training.prefix import shared_prefix
from polyspan.training.recall import Recall

TeacherUpdate = Literal["epoch", "recall", "steps", "ema", "never"]
TEACHER_FILE = "teacher.safetensors"


class Teacher:
    """A frozen copy of a model, in evaluation mode.

    Parameters that the student does not train are shared with it, not copied.

    Attributes:
        prefix: the lowest layers, where they say the same to both; None where there are none.
    """

    def __init__(self, student: nn.Module) -> None:
        self.prefix = shared_prefix(student)
        shared: list[Any] = [p for p in student.parameters() if not p.requires_grad]
        shared += self.prefix.layers if self.prefix else []
        self.model = copy.deepcopy(student, memo={id(one): one for one in shared})
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
        """Start and end logits, each (batch, tokens); ``prefix`` holds what it recorded on the way."""
        with self.prefix.record() if self.prefix else nullcontext():
            outputs = self.model(**inputs)
        return outputs.start_logits, outputs.end_logits

    def save(self, path: Path, student: nn.Module, numbers: dict[str, int]) -> None:
        """Write the parameters that are not shared with the student, and numbers to keep with them."""
        moving = {name for name, p in student.named_parameters() if p.requires_grad}
        tensors = {name: p.contiguous() for name, p in self.model.named_parameters() if name in moving}
        save_file(tensors, path, metadata={name: str(number) for name, number in numbers.items()})

    @torch.no_grad()
    def load(self, path: Path) -> dict[str, int]:
        """Read what `save` wrote into the model; returns the numbers."""
        own = dict(self.model.named_parameters())
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                own[name].copy_(file.get_tensor(name))
            return {name: int(number) for name, number in file.metadata().items() if name != "format"}


class TeacherGenerations(TrainerCallback):
    """Renew the teacher: at every later epoch, every n steps, after every step (EMA), or never.

    With ``recall`` the model is asked in the first epoch alone; from then on a generation is what the
    student said in the epoch before.

    Generation 0 is the phase-1 model, which is also the first student (Carrino et al. 2023,
    section 3.3), so the divergence starts at 0 and acts as an anchor. The teacher, its generation
    and the step of the last renewal are kept in checkpoints: going on inside an epoch must not
    renew the teacher.
    """

    def __init__(
        self,
        teacher: Teacher,
        student: nn.Module,
        update: TeacherUpdate = "epoch",
        every: int = 0,
        decay: float = 0.999,
        recall: Recall | None = None,
    ) -> None:
        self.teacher = teacher
        self.recall = recall
        self.student = student
        self.update = update
        self.every = every
        self.decay = decay
        self.generation = 0
        self.renewed_at = 0

    def save_to(self, checkpoint: Path) -> None:
        """Write the teacher's weights, with its generation beside them."""
        numbers = {"generation": self.generation, "renewed_at": self.renewed_at}
        self.teacher.save(checkpoint / TEACHER_FILE, self.student, numbers)

    def load_from(self, checkpoint: Path) -> None:
        """Read them again."""
        numbers = self.teacher.load(checkpoint / TEACHER_FILE)
        self.generation, self.renewed_at = numbers["generation"], numbers["renewed_at"]

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The teacher becomes the student of the epoch before, or what that said."""
        whole_epoch = float(state.epoch or 0).is_integer()
        if self.update in ("epoch", "recall") and whole_epoch and state.global_step > self.renewed_at:
            self._renew(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Every n steps, or a little after every step."""
        if self.update == "steps" and state.global_step % self.every == 0:
            self._renew(state.global_step)
        elif self.update == "ema":
            self.teacher.follow(self.student, self.decay)

    def _renew(self, step: int) -> None:
        if self.recall is None:
            self.teacher.copy_from(self.student)
        else:
            self.recall.turn()
        self.generation += 1
        self.renewed_at = step
