"""Eight-bit products of inputs in which a few units are far larger than the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from polyspan.answering.onnx_model import open_session  # noqa: E402
from polyspan.answering.onnx_precision import ALIGNED, _plan, linears, quantise  # noqa: E402

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


def test_roundings_of_the_parts_add_up_to_the_rounding_of_the_whole() -> None:
    """Hermite's identity, by plain Python: the error is half a step, as for units that are not large."""
    values = inputs()
    plan = _plan((values.min(axis=0), values.max(axis=0)), 0.9)
    assert set(LARGE) <= set(plan.units)
    assert len(plan.units) % ALIGNED == 0
    assert sum(plan.shifts) == pytest.approx(0, abs=1e-5)
    counts = {unit: int((plan.units == unit).sum()) for unit in LARGE}
    scale, zero = float(plan.scale), int(plan.zero)
    for unit, count in counts.items():
        assert count * (1 / count) == pytest.approx(float(plan.shares[plan.units == unit].sum()))
        for value in values[:50, unit]:
            parts = [
                min(max(round((float(value) * float(share) + float(shift)) / scale) + zero, 0), 255) - zero
                for share, shift in zip(plan.shares[plan.units == unit], plan.shifts[plan.units == unit], strict=True)
            ]
            assert abs(scale * sum(parts) - float(value)) <= 0.51 * scale
    assert counts[3] >= counts[17] > 1


def test_a_product_with_large_units_stays_what_it_was() -> None:
    """Without parts the large ones take the range: the error is many times larger."""
    values = inputs()
    weight = np.random.default_rng(1).normal(size=(UNITS, OUTPUTS)).astype(np.float32)
    ranges = {"given": (values.min(axis=0), values.max(axis=0))}
    wanted, errors = values @ weight, {}
    for parts in (0.9, 0.0):
        graph = product(weight)
        quantise(graph, ranges, parts=parts)
        assert not linears(graph)
        made = open_session(graph.SerializeToString()).run(None, {"given": values})[0]
        errors[parts] = float(np.abs(made - wanted).mean())
    assert errors[0.9] < 0.2  # of sums whose spread is 40
    assert errors[0.0] > 3 * errors[0.9]


def test_where_no_unit_stands_out_nothing_is_added() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, (200, UNITS)).astype(np.float32)
    plan = _plan((values.min(axis=0), values.max(axis=0)), 0.02)
    assert not len(plan.units)
    graph = product(np.ones((UNITS, OUTPUTS), np.float32))
    quantise(graph, {"given": (values.min(axis=0), values.max(axis=0))})
    assert [node.op_type for node in graph.graph.node] == ["QuantizeLinear", "MatMulIntegerToFloat"]


def test_units_that_are_always_zero_are_no_range_to_divide_by() -> None:
    low, high = np.zeros(UNITS, np.float32), np.zeros(UNITS, np.float32)
    high[:2] = 5.0, 1.0
    plan = _plan((low, high), 0.02)
    assert np.isfinite(plan.shares).all()
    assert set(plan.units) <= {0, 1}
    assert float(plan.scale) > 0
