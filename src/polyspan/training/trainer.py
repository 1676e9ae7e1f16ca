"""A thin ``transformers.Trainer``: our batches, our objective, a teacher."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import reduce
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from polyspan.encoding.precision import faster_in_bf16
from polyspan.encoding.windows import Windows
from polyspan.errors import PolyspanError
from polyspan.objectives import Losses, Weights, combined_loss, read_twice, trust_sum
from polyspan.training.batches import INDICES, WINDOWS, EpochBatches, EpochOrder, train_loader
from polyspan.training.checkpoints import PREFIX, SAVING, Conditions, Kept, publish
from polyspan.training.keeping import PullToStart, slow_lower_layers
from polyspan.training.parallel import ParallelTeacher
from polyspan.training.recall import Recall
from polyspan.training.teacher import Teacher, TeacherGenerations, TeacherUpdate

ENCODER_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TAUGHT = "teacher"
"""Name, in a batch, of the teacher's start and end logits."""
BELOW = "below"
"""Name, in a batch, of what the frozen lowest layers said, where teacher and student share them."""


@dataclass(frozen=True)
class Step:
    """What the batches of one optimiser step share, over all processes and accumulated batches.

    Attributes:
        windows: how many there are.
        batches: how many batches this process has.
        mean_trust: the coefficient of the whole step; None without a teacher.
    """

    windows: Tensor
    batches: int
    mean_trust: Tensor | None


class DivergedError(PolyspanError):
    """A loss that is no number any more."""


class SpanTrainer(Trainer):
    """Trains a span reader with cross-entropy and, if asked, self-distillation.

    The objective is that of the whole step, over all processes and accumulated batches: every
    window weighs the same and the coefficient per batch is the step's, however it was divided.

    The cross-entropy ranges over the context and the first special token. The distillation and the
    coefficient range over the context, and over the first special token where it is the label;
    with ``mask_context=False`` all four range over every real token, as in the authors' code.

    Args:
        model: a question-answering model of ``transformers``.
        args: the trainer's own settings; the batch size is ``batch_tokens``, not theirs.
        windows: the labelled training windows.
        weights: of the objective; the teacher is left out when ``alpha_kl`` is 0.
        batch_tokens: see `EpochBatches`.
        mask_context: see above.
        teacher_update, teacher_every, teacher_decay: see `TeacherGenerations`.
        layer_decay: see `slow_lower_layers`.
        pull_to_start: see `PullToStart`.
        same_language_first: see `EpochBatches`.
        parallel: asks the teacher other questions than the student's; needs a context mask and a
            teacher that is renewed in generations, not recalled.
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
        layer_decay: float = 1.0,
        pull_to_start: float = 0.0,
        same_language_first: bool = False,
        parallel: ParallelTeacher | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=range(len(windows)), **kwargs)
        # compute_loss weighs each batch by its share of the step, so nothing is left to average.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = True
        # Several devices are for several processes; one process would copy the model to all of them.
        self.args._n_gpu = min(self.args.n_gpu, 1)
        self.windows = windows
        self.weights = weights
        self.mask_context = mask_context
        self.layer_decay = layer_decay
        self.batches = EpochBatches(
            windows,
            batch_tokens,
            self.args.seed,
            self.args.gradient_accumulation_steps,
            self.args.world_size,
            self.args.process_index,
            same_language_first,
        )
        self.add_callback(EpochOrder(self.batches))
        precision = next((name for name in ("bf16", "fp16") if getattr(self.args, name)), "fp32")
        self.kept: list[Kept] = [Conditions(self.args.world_size, windows.digest(), precision)]
        if pull_to_start:
            pull = PullToStart(model, pull_to_start)
            self.add_callback(pull)
            self.kept.append(pull)
        self.teacher: Teacher | None = None
        self.parallel = parallel
        self.recall: Recall | None = None
        self.last_losses: Losses | None = None
        self._saving = False
        self._step: Step | None = None
        self._losses: list[Tensor] = []
        if weights.alpha_kl:
            self.teacher = Teacher(model)
            self.recall = (
                Recall(windows, self.args.process_index, self.args.device) if teacher_update == "recall" else None
            )
            self.generations = TeacherGenerations(
                self.teacher, model, teacher_update, teacher_every, teacher_decay, self.recall
            )
            self.add_callback(self.generations)
            self.kept += [self.generations, *([self.recall] if self.recall else [])]

    def get_train_dataloader(self) -> DataLoader[int]:
        """Token-budget batches instead of a number of examples; this process's part of them."""
        loader = train_loader(self.windows, self.batches)
        # The batches are divided already, so accelerate need not: it cannot divide those of unequal size.
        return prepare_data_loader(  # type: ignore[no-any-return]
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True
        )

    def create_optimizer(self, model: nn.Module | None = None) -> Any:
        """The library's, with a learning rate for each layer where asked."""
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if fresh and self.layer_decay < 1:
            assert isinstance(self.model, nn.Module)
            slow_lower_layers(optimizer, self.model, self.layer_decay)
        return optimizer

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Any]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], None]:
        """This process's batches of a step, with the teacher's logits, and what the step has in all.

        The coefficient per batch needs the teacher's view of all of them before the first is learnt.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        totals = torch.zeros(3, device=device)
        for batch in batches:
            totals[0] += batch[WINDOWS]
            if self.teacher is not None:
                batch[TAUGHT] = self._teach(batch)
                if self.teacher.prefix:
                    batch[BELOW] = self.teacher.prefix.take()  # None where the model was not asked
                if batch[WINDOWS]:
                    totals[1:] += self._trust(batch)
        windows, *trust = reduce(totals, "sum")
        mean_trust = trust[0] / trust[1].clamp(min=1) if self.teacher is not None else None
        self._step = Step(windows, len(batches), mean_trust)
        return batches, None

    @torch.no_grad()
    def _teach(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        assert self.teacher is not None
        if (told := self._told(self.teacher)) is not None:
            starts, ends = told.logits(batch[INDICES].tolist(), batch["input_ids"].shape[1])
            return starts.to(self.args.device), ends.to(self.args.device)
        with self.accelerator.autocast():
            return self.teacher.logits({name: batch[name] for name in ENCODER_INPUTS if name in batch})

    def _told(self, teacher: Teacher) -> ParallelTeacher | Recall | None:
        """What holds this generation's logits of every window; None where the teacher reads batch by batch.

        A parallel-question teacher is asked once a generation, also where a run goes on in the middle of one.
        """
        generation = self.generations.generation
        if self.parallel is None:
            return self.recall if generation else None
        if self.parallel.generation != generation:
            with self.accelerator.autocast():
                self.parallel.read(teacher.model, generation)
        return self.parallel

    def _trust(self, batch: dict[str, Any]) -> Tensor:
        gold = batch["start_positions"], batch["end_positions"]
        _, kl_mask = self._masks(batch)
        return trust_sum(batch[TAUGHT], gold, gold[0] > 0, self.weights, kl_mask)

    def _masks(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Where the cross-entropy and where the distillation look, each (batch, tokens)."""
        if not self.mask_context:
            real = batch["attention_mask"].bool()
            return real, real
        ce_mask, kl_mask = batch["context_mask"].clone(), batch["context_mask"].clone()
        ce_mask[:, 0] = True
        kl_mask[:, 0] = batch["start_positions"] == 0
        return ce_mask, kl_mask

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """A batch's part of the step's objective; the terms of the step stay in ``last_losses`` for the log."""
        assert self._step is not None
        prefix = self.teacher.prefix if self.teacher is not None else None
        asked = {name: inputs[name] for name in ENCODER_INPUTS if name in inputs}
        if self.weights.consistency:  # each window twice, side by side: dropout differs
            asked = {name: torch.cat([tensor, tensor]) for name, tensor in asked.items()}
        with prefix.replay(inputs[BELOW]) if prefix else nullcontext():
            outputs = model(**asked)
        count = len(inputs["input_ids"])
        readings = list(zip(outputs.start_logits.split(count), outputs.end_logits.split(count), strict=True))
        last_epoch = float(self.state.epoch or 0) >= self.args.num_train_epochs - 1  # nobody is taught after it
        if self.recall is not None and inputs[WINDOWS] and not last_epoch:
            self.recall.keep(inputs[INDICES].tolist(), *readings[0])
        gold = inputs["start_positions"], inputs["end_positions"]
        ce_mask, kl_mask = self._masks(inputs)
        taught, trust = inputs.get(TAUGHT), self._step.mean_trust
        losses, *again = (
            combined_loss(reading, taught, gold, gold[0] > 0, self.weights, ce_mask, kl_mask, trust)
            for reading in readings
        )
        if again:
            losses = read_twice(readings[0], readings[1], (losses, again[0]), self.weights, ce_mask)
        part = inputs[WINDOWS] / self._step.windows
        self._note(losses, part)
        # The processes' gradients are averaged where the step's objective is a sum over them.
        total = losses.total * (part * self.args.world_size)
        return (total, outputs) if return_outputs else total

    def _note(self, losses: Losses, part: Tensor) -> None:
        """Keep a batch's terms, and with the last batch of a step make them the step's."""
        assert self._step is not None
        names = [field.name for field in fields(losses)]
        self._losses.append(torch.stack([getattr(losses, name).detach() for name in names]) * part)
        if len(self._losses) == self._step.batches:
            self.last_losses = Losses(*reduce(torch.stack(self._losses).sum(dim=0), "sum"))
            self._losses = []
            if not torch.isfinite(self.last_losses.total):
                raise DivergedError(
                    f"the loss of step {self.state.global_step + 1} is not a number: the training diverged; take a"
                    " lower training.learning_rate, or training.precision=fp32 where it was fp16, and another run_dir"
                )

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder) / SAVING) if self._saving else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write a checkpoint aside, with all that is kept, and publish it when it is whole."""
        folder, name = Path(str(self.args.output_dir)), f"{PREFIX}{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder / SAVING, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        if self.recall is not None:
            self.recall.join()
        self._saving = True
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                for kept in self.kept:
                    kept.save_to(folder / SAVING / name)
                publish(folder, name, self.args.save_total_limit or 1)
        except BaseException:
            shutil.rmtree(folder / SAVING, ignore_errors=True)
            raise
        finally:
            self._saving = False
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        for kept in self.kept:
            kept.load_from(Path(resume_from_checkpoint))
        super()._load_from_checkpoint(resume_from_checkpoint, model)


def device_arguments(precision: str) -> dict[str, bool]:
    """The trainer's switches for precision "auto", "fp32", "bf16" or "fp16" on the device there is.

    "auto" is bf16 where the device multiplies faster in it, else fp32.
    """
    if precision == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        precision = "bf16" if faster_in_bf16(device) else "fp32"
    return {
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": not torch.accelerator.is_available(),
    }
