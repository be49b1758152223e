"""Which tensors share a scale, and what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, weights

from pruna_ir.calibration import Range, Scheme, collect
from pruna_ir.calibration.ranges import solve
from pruna_ir.model import Model
from pruna_ir.passes.quantization.insert import insert_qdq
from pruna_ir.passes.quantization.plan import make_plan
from pruna_ir.passes.quantization.scale_groups import ScaleGroups
from pruna_ir.runtime.session import Session
from pruna_ir.targets import Target
from pruna_ir.targets.coreml import COREML
from pruna_ir.targets.portable import PORTABLE
from pruna_ir.targets.tensorrt import TENSORRT
from pruna_ir.targets.tflite import TFLITE

node = onnx.helper.make_node
FEEDS = {"x": np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)}


def joined(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Model:
    """x -> Conv -> c (small values), x -> Conv -> d (large values); what the nodes write to `j` is the output."""
    return build(
        [conv("c", "x", "w"), conv("d", "x", "w2"), *nodes],
        {"x": [1, 3, 4, 4]},
        ["j"],
        {"w": weights(0, 4, 3, 1, 1), "w2": 9 * weights(1, 4, 3, 1, 1), **constants},
    )


def scales(model: Model, target: Target) -> dict[str, tuple[float, int]]:
    """Scale and zero point by the tensor that is rounded, after quantizing for a target and checking the numbers."""
    expected = Session(model).run(FEEDS)["j"]
    plan = make_plan(model.graph, target)
    statistics = collect(model, [FEEDS], plan.calibrated())
    insert_qdq(model.graph, plan, target, {n: solve(r, target.activations, "minmax") for n, r in statistics.items()})
    model.check()
    found = Session(model, optimize=False).run(FEEDS)["j"]
    assert np.square(found - expected).sum() < 0.01 * np.square(expected).sum()
    quantizers = (n for n in model.graph.nodes if n.op == "QuantizeLinear")
    return {n.inputs[0].name: (float(n.inputs[1].values), int(n.inputs[2].values)) for n in quantizers}


@pytest.mark.parametrize("op", ["Concat", "Max", "Min"])
def test_joined_inputs_and_their_output_have_one_scale(op: str) -> None:
    attributes: dict[str, Any] = {"axis": 1} if op == "Concat" else {}
    found = scales(joined(node(op, ["c", "d"], ["j"], **attributes)), TFLITE)
    assert found["c"] == found["d"] == found["j_float"] != found["x"]


@pytest.mark.parametrize("value", [5.0, -5.0])
def test_a_constant_of_one_value_is_held(value: float) -> None:
    """Its own range has no width: zero is what it is seen from."""
    model = joined(
        node("Add", ["c", "k"], ["s"]), conv("j", "s", "v"), k=np.array(value, np.float32), v=weights(2, 4, 4, 1, 1)
    )
    assert scales(model, TFLITE)["s"][0] > 5.0 / 255


def test_a_joined_constant_has_the_scale_too() -> None:
    model = joined(node("Max", ["c", "k"], ["j"]), k=np.array([-5.0], np.float32))
    found = scales(model, TFLITE)
    stored = next(n for n in model.graph.nodes if n.op == "DequantizeLinear" and n.inputs[0].name == "k_q")
    assert (float(stored.inputs[1].values), int(stored.inputs[2].values)) == found["c"]
    assert float(stored.inputs[1].values) * 255 >= 5


def test_groups_grow_through_movements() -> None:
    pool = node("MaxPool", ["c"], ["p"], kernel_shape=[1, 1])
    found = scales(joined(pool, node("Concat", ["p", "d"], ["j"], axis=1)), TFLITE)
    assert found["c"] == found["p"] == found["d"] == found["j_float"]


def test_fixed_scale_is_rescaled_where_others_are_joined_to_it() -> None:
    """As in detectors, which join scores with boxes."""
    sigmoid = node("Sigmoid", ["c"], ["s"])
    found = scales(joined(sigmoid, node("Concat", ["s", "d"], ["j"], axis=1)), TFLITE)
    assert found["s"] == (1 / 256, -128)
    assert found["s_dq"] == found["d"] == found["j_float"]


def test_fixed_scale_moves_on() -> None:
    sigmoid, flat = node("Sigmoid", ["c"], ["s"]), node("Flatten", ["s"], ["j"])
    assert scales(joined(sigmoid, flat), TFLITE)["j_float"] == (1 / 256, -128)


def test_two_fixed_scales_are_joined_in_a_third() -> None:
    model = joined(node("Sigmoid", ["c"], ["s"]), node("Tanh", ["d"], ["t"]), node("Concat", ["s", "t"], ["j"], axis=1))
    found = scales(model, TFLITE)
    assert found["s_dq"] == found["t_dq"] == found["j_float"]
    assert found["j_float"][0] == pytest.approx((255 / 256 + 1) / 255)


def test_activation_stays_where_its_range_is_joined_with_a_wider_one() -> None:
    model = joined(node("Relu", ["c"], ["r"]), node("Concat", ["r", "d"], ["j"], axis=1))
    found = scales(model, TFLITE)
    assert found["r"] == found["d"] and "c" not in found
    assert [n.op for n in model.graph.nodes].count("Relu") == 1


def test_activations_disappear_where_all_that_is_joined_ends_there() -> None:
    model = joined(node("Relu", ["c"], ["r"]), node("Relu", ["d"], ["s"]), node("Concat", ["r", "s"], ["j"], axis=1))
    found = scales(model, TFLITE)
    assert found["r"] == found["s"] and found["r"][1] == -128
    assert "Relu" not in {n.op for n in model.graph.nodes}


@pytest.mark.parametrize("target", [PORTABLE, TENSORRT], ids=lambda target: str(target.name))
def test_symmetric_scales_leave_activations_in_the_graph(target: Target) -> None:
    model = joined(
        node("Relu", ["c"], ["r"]), conv("e", "r", "w3"), node("Neg", ["e"], ["j"]), w3=weights(2, 16, 4, 1, 1)
    )
    found = scales(model, target)
    assert {zero_point for _, zero_point in found.values()} == {0}
    assert "Relu" in {n.op for n in model.graph.nodes}


@pytest.mark.parametrize(
    "function",
    [
        [node("LeakyRelu", ["c"], ["r"])],
        [node("HardSwish", ["c"], ["r"])],
        [node("Sigmoid", ["c"], ["s"]), node("Mul", ["c", "s"], ["r"])],
        [node("Sigmoid", ["c"], ["s"]), node("Mul", ["s", "c"], ["r"])],
    ],
    ids=["leaky", "hardswish", "swish", "swish-reversed"],
)
def test_coreml_takes_in_activations_that_saturation_does_not_compute(function: list[onnx.NodeProto]) -> None:
    model = joined(*function, conv("j", "r", "w3"), w3=weights(2, 4, 4, 1, 1))
    assert scales(model, COREML).keys() - {"d"} == {"x", "r", "j_float"}


def test_swish_with_another_reader_is_no_part_of_a_kernel() -> None:
    function = [node("Sigmoid", ["c"], ["s"]), node("Mul", ["c", "s"], ["r"]), node("Add", ["r", "s"], ["t"])]
    model = joined(*function, conv("j", "t", "w3"), w3=weights(2, 4, 4, 1, 1))
    assert "c" in scales(model, COREML)


def test_concat_in_tensorrt_has_one_scale_for_what_it_reads_and_for_what_reads_it() -> None:
    relus = [node("Relu", ["c"], ["r"]), node("Relu", ["d"], ["s"])]
    tail = [node("Concat", ["r", "s"], ["k"], axis=1), conv("e", "k", "w3"), node("Neg", ["e"], ["j"])]
    model = joined(
        *relus, *tail, w=weights(0, 16, 3, 1, 1), w2=9 * weights(1, 16, 3, 1, 1), w3=weights(2, 16, 32, 1, 1)
    )
    found = scales(model, TENSORRT)
    assert found["r"] == found["s"] == found["k"]


def test_a_tensor_without_a_range_is_an_error() -> None:
    plan = make_plan(joined(node("Concat", ["c", "d"], ["j"], axis=1)).graph, TFLITE)
    with pytest.raises(KeyError, match="x"):
        ScaleGroups(plan, TFLITE, {"c": Range(-1, 1)}).params(plan.kernels[0].node.inputs[0])


def test_order_makes_no_difference() -> None:
    one = scales(joined(node("Concat", ["c", "d"], ["j"], axis=1)), TFLITE)
    other = scales(joined(node("Concat", ["d", "c"], ["j"], axis=1)), TFLITE)
    assert one == other
    assert Scheme(np.dtype(np.int8)) == TFLITE.activations
