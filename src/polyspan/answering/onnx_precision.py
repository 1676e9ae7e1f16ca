"""Eight-bit arithmetic for an exported reader, in a way that multilingual encoders stand.

Weights are rounded to 8 bits, each output unit with a scale of its own. Activations are rounded to 8 bits too,
with one scale and zero point for a layer, fixed beforehand from calibration texts, so that an answer never
depends on what else is in its batch. What makes such encoders lose their answers when this is done naively is a
handful of input units whose values are tens of times larger than the rest and take the whole range. Their part of
the product is computed apart, in fp32, as in LLM.int8() (Dettmers et al. 2022, section 3.2), but they are chosen
beforehand, and only in layers where there are such units.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Floats = NDArray[np.float32]
Ranges = dict[str, tuple[Floats, Floats]]

APART = 0.02
"""Share of a layer's input units that are computed in fp32: those of the largest ranges."""
STANDS_OUT = 1.5
"""A layer has units that take the range of the rest, and computes them apart, where the largest range is so many
times the largest of the rest."""
LEVELS, SAFE_LEVELS = 127, 63
"""Largest rounded weight; of the latter, the sum of two products never overflows 16 bits, see `adds_exactly`."""
FEWEST_OUTPUTS = 8
"""Layers with fewer output units are heads: cheap, and what they give is the answer."""
MICROSOFT = "com.microsoft"


def adds_exactly() -> bool:
    """Whether this processor adds 8-bit products in 32 bits.

    Of the x86 kind those without VNNI add two of them in 16 bits, and overflow without a word.
    """
    return platform.machine().lower() not in {"x86_64", "amd64"} or torch.cpu._is_vnni_supported()


def unpack_attention(model: ModelProto) -> None:
    """Split fused attention into the products that make query, key and value, and the rest.

    ``Attention`` holds its weights inside, where they cannot be rounded; ``MultiHeadAttention`` does
    the same from the products' results.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    nodes: list[NodeProto] = []

    def three(name: str, axis: int) -> list[Floats]:
        if name in constants:
            return list(np.split(numpy_helper.to_array(constants[name]), 3, axis=axis))
        return [numpy_helper.to_array(constants[part]) for part in made_by[name].input]  # joined as the graph runs

    for node in graph.node:
        if node.op_type != "Attention" or node.domain != MICROSOFT or any(node.input[3:5]):
            nodes.append(node)
            continue
        source, packed, bias = node.input[:3]
        made = []
        for part, weight, shift in zip(("query", "key", "value"), three(packed, 1), three(bias, 0), strict=True):
            name = f"{node.output[0]}_{part}"
            for kind, value in (("weight", weight), ("bias", shift)):
                graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{name}_{kind}"))
            nodes.append(helper.make_node("MatMul", [source, f"{name}_weight"], [f"{name}_product"], f"{name}_product"))
            nodes.append(helper.make_node("Add", [f"{name}_product", f"{name}_bias"], [name], name))
            made.append(name)
        heads = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name in {"num_heads", "scale"}}
        nodes.append(
            helper.make_node(
                "MultiHeadAttention",
                [*made, "", "", *node.input[5:6]],
                list(node.output[:1]),
                node.name,
                domain=MICROSOFT,
                **heads,
            )
        )
    _replace_nodes(graph, nodes)


def linears(model: ModelProto) -> dict[str, Floats]:
    """The products with constant matrices, heads left out: node name to matrix, (inputs, outputs)."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants:
            weight = numpy_helper.to_array(constants[node.input[1]])
            if weight.ndim == 2 and weight.shape[1] >= FEWEST_OUTPUTS:
                found[node.name] = weight
    return found


def input_ranges(model: ModelProto, feeds: Iterable[dict[str, NDArray[np.int64]]]) -> Ranges:
    """Lowest and highest value of every unit of the inputs of `linears`, over calibration texts.

    Args:
        model: the graph, in fp32.
        feeds: inputs to run it on; ``attention_mask`` says which tokens count.

    Returns:
        by tensor name, each (units,).
    """
    from onnx import ValueInfoProto, load_external_data_for_model

    from polyspan.answering.onnx_model import ONNX_FILE, open_session, write_graph

    chosen = linears(model)
    wanted = sorted({node.input[0] for node in model.graph.node if node.name in chosen})
    kept = list(model.graph.output)
    model.graph.output.extend(ValueInfoProto(name=name) for name in wanted)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if write_graph(model, Path(folder) / ONNX_FILE):
            load_external_data_for_model(model, folder)
        session = open_session(Path(folder) / ONNX_FILE)
    del model.graph.output[len(kept) :]
    ranges: Ranges = {}
    for feed in feeds:
        real = feed["attention_mask"].astype(bool)
        for name, values in zip(wanted, session.run(wanted, feed), strict=True):
            # Those of positions, not of tokens, have no window.
            counted = values[real] if values.shape[:2] == real.shape else values.reshape(-1, values.shape[-1])
            low, high = counted.min(axis=0), counted.max(axis=0)
            if name in ranges:
                low, high = np.minimum(low, ranges[name][0]), np.maximum(high, ranges[name][1])
            ranges[name] = (low, high)
    return ranges


def quantise(
    model: ModelProto,
    ranges: Ranges,
    levels: int = LEVELS,
    apart: float = APART,
    keep: Iterable[str] = (),
) -> None:
    """Round the products with constant matrices to 8 bits, in place.

    Args:
        model: after `unpack_attention`.
        ranges: of `input_ranges`.
        levels: largest rounded weight, at most 127.
        apart: share of a layer's input units, those of the largest ranges, whose products stay in fp32 where
            they stand out.
        keep: names of nodes that stay in fp32.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    chosen = {name: weight for name, weight in linears(model).items() if name not in set(keep)}
    plans = {node.input[0]: _plan(ranges[node.input[0]], apart) for node in graph.node if node.name in chosen}
    nodes: list[NodeProto] = []
    begun: set[str] = set()

    def constant(name: str, value: NDArray[np.generic]) -> str:
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def add(op: str, inputs: list[str], output: str, domain: str = "", **settings: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], output, domain=domain, **settings))
        return output

    for node in graph.node:
        if node.name not in chosen:
            nodes.append(node)
            continue
        source, name, target = node.input[0], node.name, node.output[0]
        plan, weight = plans[source], chosen[node.name]
        if source not in begun:
            begun.add(source)
            scale, zero = constant(f"{source}_scale", plan.scale), constant(f"{source}_zero", plan.zero)
            add("QuantizeLinear", [source, scale, zero], f"{source}_8bit")
            if len(plan.apart):
                add("Gather", [source, constant(f"{source}_units", plan.apart)], f"{source}_apart", axis=-1)
        rest = weight.copy()
        rest[plan.apart] = 0
        steps = np.maximum(np.abs(rest).max(axis=0), 1e-8) / levels
        matrix = constant(f"{name}_weight", np.rint(rest / steps).astype(np.int8))
        scales = constant(f"{name}_steps", steps.astype(np.float32))
        inputs = [f"{source}_8bit", matrix, f"{source}_scale", scales, f"{source}_zero"]
        rounded = add(
            "MatMulIntegerToFloat", inputs, f"{target}_rounded" if len(plan.apart) else target, domain=MICROSOFT
        )
        if len(plan.apart):
            exact = constant(f"{name}_apart", weight[plan.apart])
            add("Add", [rounded, add("MatMul", [f"{source}_apart", exact], f"{target}_exact")], target)
    _replace_nodes(graph, nodes)
    if all(entry.domain != MICROSOFT for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


def quantise_embeddings(model: ModelProto) -> None:
    """Keep large tables of embeddings in 8 bits, each row with a scale of its own; looked up, then scaled."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        table = constants.get(node.input[0]) if node.op_type == "Gather" and len(node.input) else None
        if table is None or table.data_type != TensorProto.FLOAT or len(table.dims) != 2 or table.dims[0] < 4096:
            nodes.append(node)
            continue
        values = numpy_helper.to_array(table)
        steps = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-8) / 127
        name, target = node.input[0], node.output[0]
        graph.initializer.append(numpy_helper.from_array(np.rint(values / steps).astype(np.int8), f"{name}_8bit"))
        graph.initializer.append(numpy_helper.from_array(steps.astype(np.float32), f"{name}_steps"))
        nodes += [
            helper.make_node("Gather", [f"{name}_8bit", node.input[1]], [f"{target}_8bit"], f"{target}_8bit"),
            helper.make_node("Cast", [f"{target}_8bit"], [f"{target}_cast"], f"{target}_cast", to=TensorProto.FLOAT),
            helper.make_node("Gather", [f"{name}_steps", node.input[1]], [f"{target}_steps"], f"{target}_steps"),
            helper.make_node("Mul", [f"{target}_cast", f"{target}_steps"], [target], node.name),
        ]
    _replace_nodes(graph, nodes)


def split_skip_norms(model: ModelProto) -> None:
    """Take fused sums and layer norms apart, in place.

    On processors of the x86 kind ``onnxruntime`` computes the fused ``SkipLayerNormalization`` many times
    more slowly than ``Add`` and ``LayerNormalization`` one after the other.
    """
    from onnx import helper

    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "SkipLayerNormalization" or node.domain != MICROSOFT:
            nodes.append(node)
            continue
        given, skip, scale = node.input[:3]
        shift, bias = ([*node.input[3:5], "", ""])[:2]
        total = node.output[3] if len(node.output) > 3 and node.output[3] else f"{node.output[0]}_sum"
        if bias:
            nodes.append(helper.make_node("Add", [given, bias], [f"{total}_biased"], f"{total}_biased"))
            given = f"{total}_biased"
        nodes.append(helper.make_node("Add", [given, skip], [total], total))
        settings = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name == "epsilon"}
        inputs = [total, scale, *([shift] if shift else [])]
        nodes.append(
            helper.make_node("LayerNormalization", inputs, [node.output[0]], node.output[0], axis=-1, **settings)
        )
    _replace_nodes(model.graph, nodes)


@dataclass(frozen=True)
class _Plan:
    """How one layer's input is rounded: a scale and zero point for all units but those ``apart``.

    Those are clipped to the range of the others, and their rounded weights are 0.
    """

    apart: NDArray[np.int64]
    scale: NDArray[np.float32]
    zero: NDArray[np.uint8]


def _plan(extremes: tuple[Floats, Floats], apart: float) -> _Plan:
    span = np.maximum(-extremes[0], extremes[1])
    by_range = np.argsort(-span, kind="stable")
    count = round(apart * len(span))
    largest = np.sort(by_range[: count if span[by_range[0]] > STANDS_OUT * span[by_range[count]] else 0])
    low, high = (np.delete(part, largest) for part in extremes)
    bottom, top = min(float(low.min()), 0.0), max(float(high.max()), 1e-8)
    scale = (top - bottom) / 255
    return _Plan(largest, np.array(scale, np.float32), np.array(round(-bottom / scale), np.uint8))


def _replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Put these nodes into the graph, and drop nodes and constants that nothing reads any more."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    nodes = [type(node).FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)
    constants = [type(tensor).FromString(tensor.SerializeToString()) for tensor in constants]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    del graph.value_info[:]
