"""A recipe to a run folder: everything a person sees of a run can be made again from it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyspan.encoding.crops import crop
from polyspan.encoding.tokens import tokenise_corpus
from polyspan.encoding.windows import make_windows
from polyspan.errors import PolyspanError
from polyspan.experiments.keys import dotted
from polyspan.experiments.leakage import check_training
from polyspan.experiments.model_card import write_model_card
from polyspan.experiments.prepare import Prepared, prepare
from polyspan.experiments.recipe import RECIPE_FILE, Evaluation, Recipe, dump_recipe, load_recipe
from polyspan.files import remove_leftovers, write_text
from polyspan.processes import from_main, is_main_process, join_group, join_shares, process_count, share, wait_for_all

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from polyspan.encoding.windows import Windows
    from polyspan.evaluation.matrix import ScoreMatrix
    from polyspan.training.parallel import ParallelTeacher

CHECKPOINTS = "checkpoints"


class RunError(PolyspanError):
    """A run that cannot start or go on."""


class RunStopped(PolyspanError):
    """A run that was asked to stop and kept what it had."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


@dataclass(frozen=True)
class RunResult:
    """Where the model is and how it scores, when the recipe asks for scores."""

    model: Path
    matrix: ScoreMatrix | None


def run_recipe(recipe: Recipe, console: Console, leakage: str = "warn") -> RunResult:
    """Train, save, and evaluate if the recipe says so.

    A run folder that holds a finished model of the same recipe is not trained again; one that was
    stopped goes on from its newest checkpoint. Several processes, started by ``torchrun`` or
    ``accelerate launch``, divide the steps and the questions; the first of them speaks and writes.

    Args:
        recipe: what to do.
        console: where progress goes.
        leakage: what to do where training data and evaluation share something: "fail", "warn" or
            "ignore"; found is written to ``leakage.json``.

    Raises:
        LeakageError: there is leakage and it was not to be.
        RunError: the run folder belongs to another recipe, or cannot be written.
        CheckpointError: the run to go on with had other data or another number of processes.
        RunStopped: Ctrl-C or SIGTERM came; a checkpoint was written.
    """
    from polyspan.models import load_model, save_model
    from polyspan.training.averaging import WeightAverage
    from polyspan.training.checkpoints import newest_checkpoint

    join_group()
    console.quiet = console.quiet or not is_main_process()
    folder = recipe.run_dir
    model_folder = folder / "model"
    if is_main_process():
        _claim(folder, recipe)
        remove_leftovers(model_folder)
    wait_for_all()
    if model_folder.is_dir():
        console.print(f"{model_folder} is there already; it is not trained again")
        loaded = load_model(str(model_folder))
    else:
        began = time.monotonic()
        loaded = load_model(
            recipe.model,
            attn_implementation=training_attention(recipe.training.dropout),
            dropout=recipe.training.dropout,
            seed=recipe.seed,
        )
        prepared = prepare(recipe.data, recipe.seed)
        check_training(recipe, prepared.corpus, leakage, console)
        began_with = WeightAverage(loaded.model, recipe.training.average_start)
        trainer = make_trainer(recipe, loaded.model, loaded.tokenizer, prepared, console)
        checkpoint, skipped = from_main(lambda: newest_checkpoint(folder / CHECKPOINTS))
        for reason in skipped:
            console.print(f"skipped: {reason}", markup=False, soft_wrap=True)
        if checkpoint is not None:
            console.print(f"going on from {checkpoint}", markup=False, soft_wrap=True)
        _train(trainer, checkpoint, folder)
        began_with.mix_into(trainer.model)
        if is_main_process():
            with _write_errors(folder):
                save_model(trainer.model, loaded.tokenizer, model_folder)
                write_text(folder / "timing.json", json.dumps({"training_seconds": time.monotonic() - began}) + "\n")
            shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        wait_for_all()
        loaded = load_model(str(model_folder))
    matrix = None
    if recipe.evaluation is not None:
        matrix = evaluate_model(
            loaded.model, loaded.tokenizer, recipe.evaluation, folder, console, str(model_folder.resolve())
        )
    if is_main_process():
        write_model_card(folder)
    return RunResult(model_folder, matrix)


def _train(trainer: Any, checkpoint: Path | None, folder: Path) -> None:
    from polyspan.training.stopping import StopOnSignal

    with StopOnSignal() as stop, _write_errors(folder):
        trainer.add_callback(stop)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.received is not None:
        step, steps = trainer.state.global_step, trainer.state.max_steps
        raise RunStopped(
            f"stopped by {stop.received.name} after step {step} of {steps}; the same command goes on from there",
            stop.received.value,
        )


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Each of the libraries that write has an error of its own for a disk that is full."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(f"{folder}: cannot be written ({error}); make room, then run the same command") from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error):
            raise
        raise RunError(f"{folder}: cannot be written, is the disk full? ({error})") from error


def make_trainer(
    recipe: Recipe,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    console: Console,
) -> Any:
    """A trainer for these pairs; also writes what was lost on the way to ``data.json``."""
    import transformers
    from transformers import TrainingArguments

    from polyspan.objectives import Weights
    from polyspan.training.progress import METRICS_FILE, MetricsLog, ProgressBar
    from polyspan.training.trainer import SpanTrainer, device_arguments

    transformers.logging.set_verbosity_error()
    training, objective = recipe.training, recipe.objective
    freeze(model, training.freeze_embeddings, training.frozen_layers)
    tokenised = tokenise_corpus(prepared.corpus, prepared.pairs, tokenizer)
    whole = make_windows(tokenised, prepared.pairs, recipe.data.max_length, recipe.data.overlap)
    windows = crop(whole, recipe.data.crop, recipe.seed) if recipe.data.crop else whole
    report = {
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
        write_text(recipe.run_dir / "data.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
    console.print(
        f"{report['seeds']} seeds, {report['pairs']} pairs, {report['windows']} windows"
        f" of {report['mean_tokens']} tokens on average"
    )
    switches: dict[str, Any] = dict(device_arguments(training.precision))
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
        ),
        training.batch_tokens,
        mask_context=objective.mask == "context",
        teacher_update=objective.teacher,
        teacher_every=objective.teacher_every,
        teacher_decay=objective.teacher_decay,
        parallel=_parallel_teacher(recipe, prepared, windows, tokenizer),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    log = MetricsLog(trainer, recipe.run_dir / METRICS_FILE)
    trainer.add_callback(log)
    trainer.kept.append(log)
    trainer.add_callback(ProgressBar(trainer, console))
    return trainer


def _parallel_teacher(
    recipe: Recipe, prepared: Prepared, students: Windows, tokenizer: PreTrainedTokenizerBase
) -> ParallelTeacher | None:
    from polyspan.training.parallel import ParallelTeacher, teacher_pairs

    question, data = recipe.objective.teacher_question, recipe.data
    if question == "same" or not recipe.objective.alpha_kl:
        return None
    pairs = teacher_pairs(prepared.pairs, question, data.source_language)
    tokenised = tokenise_corpus(prepared.corpus, pairs, tokenizer)
    return ParallelTeacher(make_windows(tokenised, pairs, data.max_length, data.overlap, labelled=False), students)


def freeze(model: nn.Module, embeddings: bool, layers: int) -> None:
    """Take the embeddings and the lowest layers out of the training.

    Raises:
        RunError: the model does not have so many layers.
    """
    body: Any = model.base_model
    if embeddings:
        body.get_submodule("embeddings").requires_grad_(False)
    if layers:
        stack = list(getattr(getattr(body, "encoder", body), "layer", None) or body.layers)
        if layers > len(stack):
            raise RunError(f"training.frozen_layers: {layers}, but the model has {len(stack)} layers")
        for layer in stack[:layers]:
            layer.requires_grad_(False)


def evaluate_model(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    evaluation: Evaluation,
    folder: Path | None,
    console: Console,
    name: str = "",
) -> ScoreMatrix:
    """Ask every pair and score it, on the device there is and divided among the processes there are.

    Args:
        model, tokenizer: of the reader.
        evaluation: what it is asked.
        folder: gets ``predictions.jsonl``, ``scores.json`` and ``evaluation.json``; nothing is written when None.
        console: where progress goes.
        name: of the model, for the record in the folder.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from polyspan.corpus.load import guess_kind, is_shipped, load_corpus
    from polyspan.encoding.predict import inference_precision, predict
    from polyspan.evaluation.evaluate import limit_pairs, rules_for, score_rows, write_predictions
    from polyspan.evaluation.matrix import ScoreMatrix
    from polyspan.evaluation.other_scores import other_scores
    from polyspan.evaluation.record import EvaluationRecord, full_path

    began = time.monotonic()
    model.to(join_group())
    console.quiet = console.quiet or not is_main_process()
    corpus = load_corpus(evaluation.path, kind=evaluation.kind, languages=evaluation.languages)
    kind = evaluation.kind or guess_kind(evaluation.path)
    pairs = limit_pairs(corpus.pairs(), evaluation.limit)
    with Progress(
        TextColumn("evaluating"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("evaluating", total=None)
        with inference_precision(model):
            mine = predict(
                model,
                tokenizer,
                corpus,
                share(pairs),
                evaluation.top_k,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    predictions = join_shares(mine, len(pairs))
    seconds = time.monotonic() - began
    rules = rules_for(None if is_shipped(evaluation.path) else kind, corpus.languages)
    rows = score_rows(corpus, predictions, rules)
    others = other_scores(corpus, predictions, rows, kind, rules)
    matrix = replace(ScoreMatrix.from_rows(rows), other=others)
    if folder is not None and is_main_process():
        write_predictions(folder / "predictions.jsonl", predictions, rows)
        write_text(folder / "scores.json", json.dumps(matrix.to_dict(), indent=1) + "\n")
        EvaluationRecord(
            model=name,
            path=full_path(evaluation.path),
            kind=kind,
            languages=evaluation.languages,
            limit=evaluation.limit,
            rules=rules,
            top_k=evaluation.top_k,
            seconds=round(seconds, 2),
        ).write(folder)
    return matrix


def training_attention(dropout: float) -> str | None:
    """Our own attention on a CPU without dropout, the library's choice elsewhere."""
    import torch

    from polyspan.models.attention import register

    return register() if not torch.cuda.is_available() and dropout == 0 else None


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """What a run recorded, one mapping a step.

    Raises:
        RunError: the folder holds no such record, or a line of it is broken.
    """
    from polyspan.training.progress import METRICS_FILE

    path = run_dir / METRICS_FILE
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise RunError(f"{path}: not one JSON object a line ({error})") from error


def describe_environment() -> dict[str, Any]:
    """Versions and machine, for the run folder and for ``polyspan doctor``."""
    import torch

    packages = ("polyspan", "torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy")
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "processes": process_count(),
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        **{name: metadata.version(name) for name in packages},
    }


def _claim(folder: Path, recipe: Recipe) -> None:
    file = folder / RECIPE_FILE
    try:
        if file.is_file() and (other := _first_difference(load_recipe(file), recipe)):
            raise RunError(
                f"{folder}: holds a run of another recipe ({other}); use another run_dir or delete the folder"
            )
        write_text(file, dump_recipe(recipe))
        write_text(folder / "environment.json", json.dumps(describe_environment(), indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from error


def _first_difference(there: Recipe, here: Recipe) -> str | None:
    """Where a run folder was moved to does not matter."""
    old, new = (dotted(recipe.model_dump(mode="json", exclude={"run_dir"})) for recipe in (there, here))
    return next(
        (
            f"{key} is {old.get(key)} there, {new.get(key)} here"
            for key in {**new, **old}
            if old.get(key) != new.get(key)
        ),
        None,
    )
