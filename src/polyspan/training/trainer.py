"""A thin ``transformers.Trainer``: our batches, our objective, a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from polyspan.encoding.windows import Windows
from polyspan.objectives import Losses, Weights, combined_loss
from polyspan.training.batches import train_loader
from polyspan.training.checkpoints import CheckpointManifest
from polyspan.training.teacher import TEACHER_FILE, Teacher, TeacherGenerations, TeacherUpdate


class SpanTrainer(Trainer):
    """Trains a span reader with cross-entropy and, if asked, self-distillation.

    The cross-entropy ranges over the context and the first special token. The distillation and the
    coefficient range over the context, and over the first special token where it is the label;
    with ``mask_context=False`` all four range over every real token, as in the authors' code.

    Args:
        model: a question-answering model of ``transformers``.
        args: the trainer's own settings; the batch size is ``batch_tokens``, not theirs.
        windows: the labelled training windows.
        weights: of the objective; the teacher is left out when ``alpha_kl`` is 0.
        batch_tokens: tokens of a batch, padding included.
        mask_context: see above.
        teacher_update, teacher_every, teacher_decay: see `TeacherGenerations`.
    """

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        windows: Windows,
        weights: Weights,
        batch_tokens: int,
        mask_context: bool = True,
        teacher_update: TeacherUpdate = "epoch",
        teacher_every: int = 0,
        teacher_decay: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=range(len(windows)), **kwargs)
        # The loss is a mean over the batch, so accumulated batches must be averaged.
        self.model_accepts_loss_kwargs = False
        self.windows = windows
        self.weights = weights
        self.batch_tokens = batch_tokens
        self.mask_context = mask_context
        self.teacher: Teacher | None = None
        self.last_losses: Losses | None = None
        if weights.alpha_kl:
            self.teacher = Teacher(model)
            self.add_callback(TeacherGenerations(self.teacher, teacher_update, teacher_every, teacher_decay))
        self.add_callback(CheckpointManifest())

    def get_train_dataloader(self) -> DataLoader[int]:
        """Token-budget batches instead of a number of examples."""
        loader = train_loader(self.windows, self.batch_tokens, self.args.seed)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The objective of one batch; its terms stay in ``last_losses`` for the log."""
        inputs = dict(inputs)
        gold = inputs.pop("start_positions"), inputs.pop("end_positions")
        context_mask = inputs.pop("context_mask")
        answerable = gold[0] > 0
        outputs = model(**inputs)
        student = outputs.start_logits, outputs.end_logits
        teacher = None
        if self.teacher is not None:
            with self.accelerator.autocast():
                teacher = self.teacher.logits(inputs)
        ce_mask = kl_mask = inputs["attention_mask"].bool()
        if self.mask_context:
            ce_mask = context_mask.clone()
            ce_mask[:, 0] = True
            kl_mask = context_mask.clone()
            kl_mask[:, 0] = ~answerable
        losses = combined_loss(student, teacher, gold, answerable, self.weights, ce_mask, kl_mask)
        self.last_losses = losses
        return (losses.total, outputs) if return_outputs else losses.total

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.teacher is not None:
            self.teacher.load(Path(resume_from_checkpoint) / TEACHER_FILE)


def device_arguments(precision: str) -> dict[str, bool]:
    """The trainer's switches for precision "auto", "fp32", "bf16" or "fp16" on the device there is.

    "auto" is bf16 where the device multiplies in it, else fp32.
    """
    if precision == "auto":
        precision = "bf16" if _has_bf16() else "fp32"
    return {
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": not torch.accelerator.is_available(),
    }


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
