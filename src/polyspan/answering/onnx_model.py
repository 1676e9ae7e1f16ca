"""An exported reader that is called like the PyTorch model it came from."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polyspan.answering.onnx_precision import adds_exactly
from polyspan.errors import PolyspanError
from polyspan.files import read_text
from polyspan.models.load import LoadedModel, load_tokenizer, resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import QuestionAnsweringModelOutput

Integers = NDArray[np.int64]

ONNX_FILE = "model.onnx"
EXPORT_FILE = "export.json"
"""In an export: what it was made from, its precision, and what the gate measured."""
PART_TOKENS = 512
"""Larger batches are read in parts of so many tokens: what a part needs then stays in the processor's cache."""


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
        reason = " ".join(str(error).split())[:240]
        raise OnnxError(f"{model if isinstance(model, Path) else 'the export'}: cannot be opened ({reason})") from error


class OnnxReader(nn.Module):
    """Start and end logits from ``onnxruntime``, in the call shape of a ``transformers`` model.

    It runs on the CPU, wherever it is told to go.

    Args:
        folder: holds ``model.onnx`` and ``config.json``.

    Raises:
        OnnxError: not readable, or ``onnxruntime`` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.session = open_session(folder / ONNX_FILE)
        self.inputs = [entry.name for entry in self.session.get_inputs()]
        self.config = load_export_config(folder)
        # Callers ask a model's parameters where it runs.
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return self

    def forward(self, **inputs: Tensor) -> QuestionAnsweringModelOutput:
        """Logits of a batch.

        Args:
            inputs: ``input_ids``, ``attention_mask`` and, if the model has them, ``token_type_ids``,
                each (batch, tokens), int64.

        Returns:
            ``start_logits`` and ``end_logits``, each (batch, tokens), fp32; 0 on some of the padding.
        """
        from transformers.modeling_outputs import QuestionAnsweringModelOutput

        feed = {name: inputs[name].numpy() for name in self.inputs}
        start, end = np.zeros((2, *feed["input_ids"].shape), np.float32)
        for (rows, longest), given in parts(feed):
            start[rows, :longest], end[rows, :longest] = self.session.run(["start_logits", "end_logits"], given)
        return QuestionAnsweringModelOutput(start_logits=torch.from_numpy(start), end_logits=torch.from_numpy(end))


def parts(feed: dict[str, Integers]) -> list[tuple[tuple[slice, int], dict[str, Integers]]]:
    """A batch in parts of `PART_TOKENS`, or of one window.

    Args:
        feed: inputs by name, each (batch, tokens), padded on the right.

    Returns:
        Rows and tokens of each part, as many as its longest window has, and its inputs.
    """
    rows, tokens = feed["input_ids"].shape
    step = max(1, PART_TOKENS // tokens)
    found = []
    for first in range(0, rows, step):
        part = slice(first, first + step)
        longest = int(feed["attention_mask"][part].sum(axis=1).max())
        found.append(((part, longest), {name: values[part, :longest] for name, values in feed.items()}))
    return found


def load_export_config(folder: Path) -> PreTrainedConfig:
    """The configuration of an exported model.

    Raises:
        OnnxError: it cannot be read.
    """
    from transformers import AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # the library has a dozen kinds
        reason = " ".join(str(error).split())[:240]
        raise OnnxError(f"{folder}: its config.json cannot be read ({reason}); export it again") from error
    return config


def is_export(name: str) -> bool:
    """Whether this names a folder that ``polyspan export`` wrote."""
    return (Path(name).expanduser() / ONNX_FILE).is_file()


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
