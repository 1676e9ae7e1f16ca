"""A recipe's parts put together: the model's frozen layers, its windows, the objective, the trainer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from polyspan.encoding.crops import crop
from polyspan.encoding.tokens import tokenise_corpus
from polyspan.encoding.windows import make_windows
from polyspan.errors import PolyspanError
from polyspan.experiments.prepare import Prepared
from polyspan.experiments.recipe import Recipe, Training
from polyspan.files import write_text
from polyspan.models.layers import embeddings_of, layers_of
from polyspan.models.load import longest_window
from polyspan.processes import is_main_process

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from polyspan.corpus.model import Pair
    from polyspan.encoding.windows import Windows
    from polyspan.training.parallel import ParallelTeacher

CHECKPOINTS = "checkpoints"
DATA_FILE = "data.json"
"""What is trained on, counted."""


class RunError(PolyspanError):
    """A run that cannot start or go on."""


def make_trainer(
    recipe: Recipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    console: Console,
) -> Any:
    """A trainer for these pairs; also writes what was lost on the way to ``data.json``.

    Raises:
        RunError: the model or this machine cannot do what the recipe asks, or no data are left.
    """
    import transformers
    from transformers import TrainingArguments

    from polyspan.objectives import Weights
    from polyspan.training.progress import METRICS_FILE, MetricsLog, ProgressBar
    from polyspan.training.trainer import SpanTrainer, device_arguments

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    training, objective = recipe.training, recipe.objective
    asked_of_teacher = _asked_of_teacher(recipe, prepared)  # what is missing is told of before anything is tokenised
    check_layers(model, training)
    switches: dict[str, Any] = dict(device_arguments(training.precision))
    if switches["fp16"] and switches["use_cpu"]:
        raise RunError("training.precision: fp16 needs a GPU; use auto")
    freeze(model, training.freeze_embeddings, training.frozen_layers)
    tokenised = tokenise_corpus(prepared.corpus, prepared.pairs, tokenizer)
    whole = make_windows(tokenised, prepared.pairs, recipe.data.max_length, recipe.data.overlap)
    room = longest_window(model.config, tokenizer)
    _check_lengths(whole, recipe, room)
    windows = crop(whole, recipe.data.crop, recipe.seed) if recipe.data.crop else whole
    if not len(windows):
        raise RunError(
            f"data: no window is left of {len(prepared.pairs)} pairs, {sum(whole.lost.values())} of which have their"
            " answer in no window; look at data.languages, sampling, max_length and crop"
        )
    report = {
        "digest": prepared.digest(),
        "languages": list(prepared.corpus.languages),
        "seeds": len(prepared.corpus),
        "pairs": len(prepared.pairs),
        "windows": len(windows),
        "mean_tokens": round(float(windows.lengths().mean()), 1),
        "dropped_seeds": prepared.dropped,
        "skipped_records": [str(problem) for problem in prepared.problems],
        "answers_in_no_window": dict(windows.lost),
        "questions_cut": dict(windows.cut_questions),
    }
    if is_main_process():
        write_text(recipe.run_dir / DATA_FILE, json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    console.print(
        f"{report['seeds']} seeds, {report['pairs']} pairs, {report['windows']} windows"
        f" of {report['mean_tokens']} tokens on average"
    )
    arguments = TrainingArguments(
        output_dir=str(recipe.run_dir / CHECKPOINTS),
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        warmup_steps=training.warmup,
        weight_decay=training.weight_decay,
        max_grad_norm=training.clip,
        gradient_accumulation_steps=training.accumulate,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        save_steps=training.save_steps,
        save_total_limit=2,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=recipe.seed,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        **switches,
    )
    if not (arguments.bf16 or arguments.fp16):
        arguments.mixed_precision = "no"  # `accelerate launch` may have left another in the environment
    trainer = SpanTrainer(
        model,
        arguments,
        windows,
        Weights(
            alpha_ce=objective.alpha_ce,
            alpha_kl=objective.alpha_kl,
            temperature=objective.temperature,
            scale_by_temperature=objective.scale_by_temperature,
            coefficient=objective.coefficient,
            level=objective.level,
            k=objective.k,
            delta=objective.delta,
            consistency=objective.consistency,
        ),
        training.batch_tokens,
        mask_context=objective.mask == "context",
        teacher_update=objective.teacher,
        teacher_every=objective.teacher_every,
        teacher_decay=objective.teacher_decay,
        layer_decay=training.layer_decay,
        pull_to_start=training.pull_to_start,
        same_language_first=training.order == "same_language_first",
        parallel=_parallel_teacher(asked_of_teacher, recipe, prepared, windows, tokenizer, room, console),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    log = MetricsLog(trainer, recipe.run_dir / METRICS_FILE)
    trainer.add_callback(log)
    trainer.kept.append(log)
    trainer.add_callback(ProgressBar(trainer, console))
    return trainer


def _asked_of_teacher(recipe: Recipe, prepared: Prepared) -> list[Pair]:
    """What the parallel-question teacher reads; nothing where the teacher reads what the student does.

    Raises:
        RunError: a question is not there in the language it is to be asked in.
    """
    from polyspan.training.parallel import teacher_pairs

    question = recipe.objective.teacher_question
    if question == "same" or not recipe.objective.alpha_kl:
        return []
    pairs = teacher_pairs(prepared.pairs, question, recipe.data.source_language)
    seeds = prepared.corpus.seeds
    if lacking := next((pair for pair in pairs if pair.question_language not in seeds[pair.id].questions), None):
        raise RunError(
            f"objective.teacher_question: {question}, but question {lacking.id!r} has no"
            f" {lacking.question_language!r} text; use another teacher_question, or data that have it"
        )
    return pairs


def _parallel_teacher(
    pairs: list[Pair],
    recipe: Recipe,
    prepared: Prepared,
    students: Windows,
    tokenizer: PreTrainedTokenizerBase,
    room: int,
    console: Console,
) -> ParallelTeacher | None:
    from polyspan.training.parallel import ParallelTeacher
    from polyspan.training.progress import ReadingLines

    if not pairs:
        return None
    data = recipe.data
    tokenised = tokenise_corpus(prepared.corpus, pairs, tokenizer)
    windows = make_windows(tokenised, pairs, data.max_length, data.overlap, labelled=False)
    _check_lengths(windows, recipe, room)
    return ParallelTeacher(windows, students, ReadingLines(console))


def _check_lengths(windows: Windows, recipe: Recipe, room: int) -> None:
    if room < int(windows.lengths().max(initial=0)):
        raise RunError(
            f"data.max_length: {recipe.data.max_length}, but {recipe.model} reads no more than {room} tokens at once"
        )


def check_layers(model: nn.Module, training: Training) -> None:
    """Settings of single layers need a model that has so many, in a list.

    Raises:
        RunError: it has not.
    """
    stack = layers_of(model)
    kind = type(model.base_model).__name__
    for name, asked in {"frozen_layers": training.frozen_layers > 0, "layer_decay": training.layer_decay < 1}.items():
        if asked and not stack:
            usual = Training.model_fields[name].default
            raise RunError(
                f"training.{name}: {getattr(training, name)}, but a {kind} has no layers in a list; use {usual:g}"
            )
    if training.frozen_layers > len(stack):
        raise RunError(f"training.frozen_layers: {training.frozen_layers}, but the model has {len(stack)} layers")


def freeze(model: nn.Module, embeddings: bool, layers: int) -> None:
    """Take the embeddings and the lowest layers out of the training."""
    if embeddings:
        embeddings_of(model).requires_grad_(False)
    for layer in layers_of(model)[:layers]:
        layer.requires_grad_(False)


def training_attention(dropout: float) -> str | None:
    """Our own attention on a CPU without dropout, the library's choice elsewhere."""
    import torch

    from polyspan.models.attention import register

    return register() if not torch.cuda.is_available() and dropout == 0 else None
