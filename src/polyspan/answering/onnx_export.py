"""A reader as an ONNX graph in a folder that `Answerer` reads, written only if it still answers as it did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from polyspan.answering.logits import as_logits, quiet
from polyspan.answering.onnx_gate import Gate, check_export
from polyspan.answering.onnx_model import EXPORT_FILE, ONNX_FILE, OnnxError, OnnxReader, require, write_graph
from polyspan.answering.onnx_precision import (
    LEVELS,
    SAFE_LEVELS,
    adds_exactly,
    input_ranges,
    quantise,
    quantise_embeddings,
    split_skip_norms,
    unpack_attention,
)
from polyspan.errors import one_line
from polyspan.files import remove_leftovers, write_aside
from polyspan.models.load import (
    CALIBRATION_FILE,
    LoadedModel,
    load_reader,
    longest_window,
    model_folder,
    save_around_weights,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["fp32", "int8"]
LEFTOVER_SECONDS = 24 * 3600.0
"""Seconds after which what a killed export left is deleted; another may be measuring its own for hours."""
CALIBRATION_TEXTS = "commons/dev"
CALIBRATION_BATCH = 8


def export_model(
    name: str,
    output: Path,
    precision: Precision,
    gate: Gate,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Export a model, measure it before and after, and keep the export if it lost little enough.

    Args:
        name: shipped name, folder or hub id.
        output: folder to write; an older export is replaced if nothing else lies in it.
        precision: "fp32", or "int8" as `polyspan.answering.onnx_precision` makes it.
        gate: what is measured, and how much may be lost.
        progress: called with what is being done.

    Returns:
        What ``export.json`` holds.

    Raises:
        OnnxError: a package is missing, the output is something else, the model cannot be traced, or a
            language loses more than the gate allows. The output is then as it was.
        ModelError: the model cannot be loaded.
    """
    require("onnx", "onnxscript", "onnxruntime")
    if output.resolve() == Path.cwd():
        raise OnnxError(f"{output}: is the current folder; name one for the export, as it is replaced as a whole")
    if output.exists() and not (output / EXPORT_FILE).is_file() and not (output.is_dir() and not any(output.iterdir())):
        raise OnnxError(f"{output}: is there already and is no export; name another --output")
    if foreign := _foreign(output):
        raise OnnxError(f"{output}: holds {', '.join(foreign)}, which no export wrote; move it away, or name another")
    say = progress or (lambda _: None)
    before = load_reader(name, attn_implementation="eager")
    remove_leftovers(output, older_than=LEFTOVER_SECONDS)
    with write_aside(output) as aside:
        aside.mkdir()
        say("tracing")
        graph = trace(before.model, before.tokenizer)
        if precision == "int8":
            say("rounding")
            round_to_8_bits(graph, before)
        write_graph(graph, aside / ONNX_FILE)
        del graph
        save_around_weights(before.model.config, before.tokenizer, aside)
        folder = model_folder(name)
        if folder is not None and (folder / CALIBRATION_FILE).is_file():
            shutil.copyfile(folder / CALIBRATION_FILE, aside / CALIBRATION_FILE)
        after = LoadedModel(cast("PreTrainedModel", OnnxReader(aside)), before.tokenizer, name, fresh_head=False)
        checks = check_export(before, after, gate, say)
        report = {
            "model": name,
            "precision": precision,
            "needs_vnni": precision == "int8" and adds_exactly(),
            "data": gate.corpus.name,
            "rows": len(gate.pairs),
            "max_f1_loss": gate.max_loss,
            "languages": [check.to_dict() for check in checks],
            "files": sorted([*(entry.name for entry in aside.iterdir()), EXPORT_FILE]),
        }
        (aside / EXPORT_FILE).write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        if failed := [check for check in checks if check.loss > gate.max_loss]:
            lost = ", ".join(f"{c.language} {100 * c.before:.1f} to {100 * c.after:.1f}" for c in failed)
            raise OnnxError(
                f"{name}: not exported: in {precision} F1 falls by more than {gate.max_loss:g} on {gate.corpus.name}"
                f" ({lost}); use --precision fp32, measure on more with --data, or allow it with --max-f1-loss"
            )
    return report


def _foreign(output: Path) -> list[str]:
    """What lies in an older export that it did not write; nothing where it does not say what it wrote."""
    try:
        own = json.loads((output / EXPORT_FILE).read_text(encoding="utf-8"))["files"]
        return sorted(entry.name for entry in output.iterdir() if entry.name not in own)
    except (OSError, ValueError, KeyError, TypeError):
        return []


def trace(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> ModelProto:
    """The model as a graph: any number of windows of any length, attention fused.

    Raises:
        OnnxError: PyTorch cannot export this kind of model.
    """
    import onnx_ir
    from onnxscript.rewriter.ort_fusions import optimize_for_ort

    logits, example = as_logits(model, tokenizer, [("a b c", "e f"), ("d", "g h i j")])
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=longest_window(model.config, tokenizer))}
    try:
        with quiet():
            program = torch.onnx.export(
                logits,
                example,
                input_names=logits.names,
                output_names=["start_logits", "end_logits"],
                dynamo=True,
                dynamic_shapes=(tuple(axes for _ in example),),
                external_data=False,
            )
            assert program is not None  # only without dynamo
            fused, _ = optimize_for_ort(program.model)
    except Exception as error:  # torch, onnxscript and onnx_ir have a dozen kinds
        reason = one_line(error)
        raise OnnxError(f"{type(model).__name__}: cannot be exported to ONNX ({reason})") from error
    graph = onnx_ir.to_proto(fused)
    split_skip_norms(graph)
    return graph


def round_to_8_bits(graph: ModelProto, loaded: LoadedModel) -> None:
    """In place; activation ranges are those on the shipped corpus, one question of each pair of languages."""
    unpack_attention(graph)
    ranges = input_ranges(graph, calibration_feeds(loaded))
    quantise(graph, ranges, LEVELS if adds_exactly() else SAFE_LEVELS)
    quantise_embeddings(graph)


def calibration_feeds(loaded: LoadedModel) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Batches of real questions and contexts in all languages of the shipped corpus."""
    from polyspan.corpus import load_corpus
    from polyspan.encoding.tokens import tokenise_corpus
    from polyspan.encoding.windows import build_batch, make_windows
    from polyspan.evaluation.evaluate import limit_pairs, usual_window

    corpus = load_corpus(CALIBRATION_TEXTS)
    pairs = limit_pairs(corpus.pairs(), 1)
    tokenised = tokenise_corpus(corpus, pairs, loaded.tokenizer)
    longest = usual_window(loaded.model.config, loaded.tokenizer)
    windows = make_windows(tokenised, pairs, longest, labelled=False)
    for first in range(0, len(windows), CALIBRATION_BATCH):
        batch = build_batch(windows, range(first, min(first + CALIBRATION_BATCH, len(windows))))
        yield {name: tensor.numpy() for name, tensor in batch.inputs.items()}
