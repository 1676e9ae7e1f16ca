"""A reader that OpenVINO runs on the processor, called like the PyTorch model it came from."""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from polyspan.answering.logits import as_logits, quiet
from polyspan.answering.onnx_model import (
    ONNX_FILE,
    OUTPUTS,
    is_export,
    load_export_config,
    refuse_other_graph,
    refuse_other_processor,
)
from polyspan.answering.part_reader import Floats, Integers, Part, PartReader
from polyspan.encoding.precision import faster_in_bf16
from polyspan.errors import PolyspanError, one_line
from polyspan.evaluation.evaluate import usual_window
from polyspan.models.load import LoadedModel, load_reader, load_tokenizer, resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

STEP = 8
"""Lengths are multiples of it: OpenVINO prepares itself for every shape it meets."""
ROUNDING = 1e-3
"""Logits of a converted model in fp32 may differ by so much from those of the model, as a share of the largest."""


class OpenvinoError(PolyspanError):
    """OpenVINO is not installed, or cannot take this model over."""


class OpenvinoReader(PartReader):
    """A reader that OpenVINO runs.

    It has as many threads as PyTorch, and multiplies in bf16 where that is faster. One window alone is
    read by all threads together, as soon as can be; of many, each thread reads some, which is the most in a
    given time.

    Args:
        graph: an ``openvino.Model`` with ``start_logits`` and ``end_logits``.
        config: of the model.
    """

    batch_tokens = 16384
    """Of a batch; larger than for PyTorch, as every batch ends with threads that wait for the last one."""

    def __init__(self, graph: Any, config: PreTrainedConfig) -> None:
        super().__init__([entry.get_any_name() for entry in graph.inputs], config)
        openvino = import_openvino()
        core, threads = openvino.Core(), torch.get_num_threads()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            # Every process would bind its threads to the same processors.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "bf16" if faster_in_bf16("cpu") else "f32",
        }
        self.alone = core.compile_model(graph, "CPU", {**settings, "NUM_STREAMS": 1})
        together = core.compile_model(graph, "CPU", {**settings, "NUM_STREAMS": threads}) if threads > 1 else self.alone
        self.together = openvino.AsyncInferQueue(together, threads)
        self.together.set_callback(_keep)
        self._lock = threading.Lock()

    def read(self, parts: Sequence[Part]) -> None:
        with self._lock:  # requests are reused
            if len(parts) == 1:
                found = self.alone(_lengthen(parts[0].inputs))
                _fill(parts[0], [found[name] for name in OUTPUTS])
            else:
                for part in parts:
                    self.together.start_async(_lengthen(part.inputs), part)
                self.together.wait_all()


def load_openvino(name: str) -> LoadedModel:
    """Load a reader for OpenVINO: a model, which is converted, or a folder that ``polyspan export`` wrote.

    Raises:
        OpenvinoError: OpenVINO is not installed, or cannot convert this kind of model.
        OnnxError: an export that cannot be read here.
        ModelError: the model cannot be loaded.
    """
    openvino = import_openvino()
    folder = Path(resolve_model(name))
    if is_export(str(folder)):
        refuse_other_processor(name, folder)
        try:
            graph = openvino.Core().read_model(folder / ONNX_FILE)
        except RuntimeError as error:
            raise OpenvinoError(f"{folder / ONNX_FILE}: cannot be opened ({openvino_reason(error)})") from error
        inputs, outputs = ([entry.get_any_name() for entry in part] for part in (graph.inputs, graph.outputs))
        refuse_other_graph(folder, inputs, outputs)
        config, tokenizer = load_export_config(folder), load_tokenizer(name, str(folder))
    else:
        loaded = load_reader(name)
        graph = convert(loaded.model, loaded.tokenizer)
        config, tokenizer = loaded.model.config, loaded.tokenizer
    reader = cast("PreTrainedModel", OpenvinoReader(graph, config))  # called like one
    return LoadedModel(reader, tokenizer, name, fresh_head=False)


def convert(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Any:
    """The model as an ``openvino.Model`` for any number of windows of any length.

    Raises:
        OpenvinoError: it cannot be converted, or then gives other logits.
    """
    openvino = import_openvino()
    traced, example = as_logits(model, tokenizer, [("a b c", "e f"), ("d", "g h i j")])
    try:
        with quiet(), torch.inference_mode():
            graph = openvino.convert_model(traced, example_input=example, input=[[-1, -1] for _ in example])
        for entry, name in zip(graph.inputs, traced.names, strict=True):
            entry.get_tensor().set_names({name})
        for entry, name in zip(graph.outputs, OUTPUTS, strict=True):
            entry.get_tensor().set_names({name})
        # Tracing may have frozen a number of windows, a length or a mask: try others. Where attention is local, what
        # pads a short window beside a long one sees no token at all, and not every runtime gives it numbers.
        longest = usual_window(model.config, tokenizer)
        _, others = as_logits(model, tokenizer, [("a", "b " * longest), ("c d", "e " * 9), ("f", "g")], longest)
        compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled([given.numpy() for given in others])
        with torch.inference_mode():
            logits = [given.numpy() for given in traced(*others)]
    except Exception as error:  # torch and openvino have a dozen kinds
        raise OpenvinoError(
            f"{type(model).__name__}: cannot be converted to OpenVINO ({openvino_reason(error)})"
        ) from error
    real = others[traced.names.index("attention_mask")].numpy().astype(bool)
    for at, expected in enumerate(logits):
        difference = np.abs(found[at] - expected)[real].max()
        if not difference <= ROUNDING * max(1.0, np.abs(expected[real]).max()):
            raise OpenvinoError(
                f"{type(model).__name__}: gives other logits in OpenVINO (by {difference:.3g}); use another backend"
            )
    return graph


def import_openvino() -> Any:
    """The package, without its telemetry.

    Raises:
        OpenvinoError: it is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise OpenvinoError("the package openvino is needed and not installed: pip install 'polyspan[openvino]'")
    # Where this cannot be imported, a stub that sends nothing takes its place.
    sys.modules.setdefault("openvino_telemetry", cast("Any", None))
    import openvino

    return openvino


def openvino_reason(error: Exception) -> str:
    """What OpenVINO says, without the places in its source that it puts before it."""
    said = " ".join(str(error).split())
    return one_line(re.sub(r"(?:Exception from|Check '.*?' failed at) \S+:\d+:", "", said))


def _lengthen(given: dict[str, Integers]) -> dict[str, Integers]:
    """Pad to a multiple of `STEP`."""
    short = -given["input_ids"].shape[1] % STEP
    return {name: np.pad(values, ((0, 0), (0, short))) for name, values in given.items()} if short else given


def _keep(request: Any, part: Part) -> None:
    _fill(part, [request.get_tensor(name).data for name in OUTPUTS])


def _fill(part: Part, found: Sequence[Floats]) -> None:
    for wanted, logits in zip((part.start, part.end), found, strict=True):
        wanted[:] = logits[:, : wanted.shape[1]]
