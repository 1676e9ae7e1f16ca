"""Eight-bit products of inputs in which a few units are far larger than the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from polyspan.answering.onnx_model import open_session  # noqa: E402
from polyspan.answering.onnx_precision import linears, quantise  # noqa: E402

if TYPE_CHECKING:
    from onnx import ModelProto

UNITS, OUTPUTS = 64, 24
LARGE = {3: 40.0, 17: 9.0, 60: 4.1}


def inputs(rows: int = 200) -> np.ndarray:
    values = np.random.default_rng(0).uniform(-1, 1, (rows, UNITS)).astype(np.float32)
    for unit, range_ in LARGE.items():
        values[:, unit] *= range_
    return values


def product(weight: np.ndarray) -> ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["given", "weight"], ["made"], "product")],
        "product",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, ["rows", UNITS])],
        [helper.make_tensor_value_info("made", TensorProto.FLOAT, ["rows", OUTPUTS])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_a_product_with_large_units_stays_what_it_was() -> None:
    """Their part is exact; without it they take the range, and the error is many times larger."""
    values = inputs()
    weight = np.random.default_rng(1).normal(size=(UNITS, OUTPUTS)).astype(np.float32)
    ranges = {"given": (values.min(axis=0), values.max(axis=0))}
    wanted, errors = values @ weight, {}
    for apart in (len(LARGE) / UNITS, 0.0):
        graph = product(weight)
        quantise(graph, ranges, apart=apart)
        made = open_session(graph.SerializeToString()).run(None, {"given": values})[0]
        errors[bool(apart)] = float(np.abs(made - wanted).mean())
    assert errors[True] < 0.1  # of sums whose spread is 40
    assert errors[False] > 4 * errors[True]


def test_where_no_unit_stands_out_nothing_is_added() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, (200, UNITS)).astype(np.float32)
    graph = product(np.ones((UNITS, OUTPUTS), np.float32))
    quantise(graph, {"given": (values.min(axis=0), values.max(axis=0))}, apart=0.1)
    assert [node.op_type for node in graph.graph.node] == ["QuantizeLinear", "MatMulIntegerToFloat"]
    assert not linears(graph)
