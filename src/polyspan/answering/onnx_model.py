"""An exported reader that is called like the PyTorch model it came from."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from polyspan.answering.onnx_precision import adds_exactly
from polyspan.answering.part_reader import Part, PartReader
from polyspan.errors import PolyspanError, one_line
from polyspan.files import read_text
from polyspan.models.load import LoadedModel, load_tokenizer, local_path, resolve_model

if TYPE_CHECKING:
    from onnx import ModelProto
    from transformers import PreTrainedConfig, PreTrainedModel

ONNX_FILE = "model.onnx"
LARGEST_FILE = 1_900_000_000
"""Bytes; a file of this format ends at 2 GiB, larger weights go into a second one."""
INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
OUTPUTS = ("start_logits", "end_logits")
EXPORT_FILE = "export.json"
"""In an export: what it was made from, its precision, and what the gate measured."""


class OnnxError(PolyspanError):
    """An export that is not there, cannot be read or run, or a package that it takes."""


def require(*packages: str) -> None:
    """See that packages of the extra ``onnx`` are installed.

    Raises:
        OnnxError: one is not.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise OnnxError(f"the package {package} is needed and not installed: pip install 'polyspan[onnx]'")


def open_session(model: Path | bytes) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, with as many threads as PyTorch has."""
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    source = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(
            source,
            options,
            providers=["CPUExecutionProvider"],
            # It would undo `split_skip_norms`.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # onnxruntime's own kinds share no base class
        reason = one_line(error)
        raise OnnxError(f"{model if isinstance(model, Path) else 'the export'}: cannot be opened ({reason})") from error


def write_graph(graph: ModelProto, path: Path) -> bool:
    """Save a graph, and whether its weights went into a second file, as they are too large for one.

    Then they are in that file only: the graph in memory has lost them.
    """
    import onnx

    large = sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > LARGEST_FILE
    onnx.save(graph, str(path), save_as_external_data=large, location=f"{path.name}.data" if large else None)
    return large


class OnnxReader(PartReader):
    """A reader that ``onnxruntime`` runs.

    Args:
        folder: holds ``model.onnx`` and ``config.json``.

    Raises:
        OnnxError: not readable, or ``onnxruntime`` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        session = open_session(folder / ONNX_FILE)
        inputs, outputs = ([entry.name for entry in part] for part in (session.get_inputs(), session.get_outputs()))
        refuse_other_graph(folder, inputs, outputs)
        super().__init__(inputs, load_export_config(folder))
        self.session = session

    def read(self, parts: Sequence[Part]) -> None:
        for part in parts:
            part.start[:], part.end[:] = self.session.run(OUTPUTS, part.inputs)


def refuse_other_graph(folder: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """See that a graph reads tokens and gives the logits of a question-answering model.

    Raises:
        OnnxError: it does not.
    """
    if not INPUTS.issuperset(inputs) or not {"input_ids", "attention_mask"}.issubset(inputs):
        found, wanted = inputs, sorted(INPUTS)
    elif set(outputs) != set(OUTPUTS):
        found, wanted = outputs, list(OUTPUTS)
    else:
        return
    raise OnnxError(
        f"{folder / ONNX_FILE}: no graph of a reader, it has {', '.join(found)} where {', '.join(wanted)} belong;"
        " make one with polyspan export"
    )


def load_export_config(folder: Path) -> PreTrainedConfig:
    """The configuration of an exported model.

    Raises:
        OnnxError: it cannot be read.
    """
    from transformers import AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the library has a dozen kinds
        reason = one_line(error)
        raise OnnxError(f"{folder}: its config.json cannot be read ({reason}); export it again") from error
    return config


def is_export(name: str) -> bool:
    """Whether this names a folder that ``polyspan export`` wrote."""
    return (local_path(name) / ONNX_FILE).is_file()


def load_onnx(name: str) -> LoadedModel:
    """Load an exported reader and its tokeniser.

    Raises:
        OnnxError: the folder holds no export, or it cannot be opened.
        ModelError: no such folder, or it holds no tokeniser.
    """
    require("onnxruntime")
    folder = Path(resolve_model(name))
    if not is_export(str(folder)):
        raise OnnxError(f"{name}: not exported to ONNX; do: polyspan export {name} --format onnx, and name that folder")
    refuse_other_processor(name, folder)
    reader = cast("PreTrainedModel", OnnxReader(folder))  # called like one
    return LoadedModel(reader, load_tokenizer(name, str(folder)), name, fresh_head=False)


def refuse_other_processor(name: str, folder: Path) -> None:
    """See that an export was not rounded for processors that add otherwise.

    Raises:
        OnnxError: it was, or what it says of itself cannot be read.
    """
    about = folder / EXPORT_FILE
    if not about.is_file():
        return
    try:
        needs_vnni = bool(json.loads(read_text(about, OnnxError))["needs_vnni"])
    except (ValueError, KeyError, TypeError) as error:
        raise OnnxError(f"{about}: cannot be read ({error}); export it again") from error
    if needs_vnni and not adds_exactly():
        raise OnnxError(f"{name}: was rounded for processors with VNNI, and this one has none; export it again here")
