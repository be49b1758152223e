"""Every row of ONNX Runtime's tables, proved on the installed runtime: the op must become an integer kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, runtime_ops, weights

from pruna_ir import registry
from pruna_ir.calibration import collect
from pruna_ir.calibration.ranges import solve
from pruna_ir.model import Model
from pruna_ir.passes.quantization.insert import insert_qdq
from pruna_ir.passes.quantization.plan import make_plan
from pruna_ir.runtime.session import Session
from pruna_ir.targets import Scales, Target
from pruna_ir.targets.host import host_kind
from pruna_ir.targets.ort_cpu import ARM, X86, X86_VNNI

TARGETS = [X86_VNNI, X86, ARM]
FLOAT_KERNELS = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Add", "Mul", "Relu", "Clip"}

# The op under test between two convolutions: its inputs after the data, attributes, and constants.
Case = tuple[list[str], dict[str, Any], dict[str, np.ndarray]]
CASES: dict[str, Case] = {
    "Conv": (["w"], {}, {"w": weights(9, 8, 8, 1, 1)}),
    "Add": (["c1"], {}, {}),
    "Mul": (["c1"], {}, {}),
    "Concat": (["c1"], {"axis": 1}, {}),
    "Sigmoid": ([], {}, {}),
    "LeakyRelu": ([], {"alpha": 0.1}, {}),
    "Softmax": ([], {"axis": -1}, {}),
    "AveragePool": ([], {"kernel_shape": [2, 2], "strides": [2, 2]}, {}),
    "GlobalAveragePool": ([], {}, {}),
    "MaxPool": ([], {"kernel_shape": [2, 2], "strides": [2, 2]}, {}),
    "Reshape": (["shape"], {}, {"shape": np.array([1, 8, 4, 16], np.int64)}),
    "Transpose": ([], {"perm": [0, 1, 3, 2]}, {}),
    "Squeeze": (["axes"], {}, {"axes": np.array([0], np.int64)}),
    "Unsqueeze": (["axes"], {}, {"axes": np.array([0], np.int64)}),
    "Flatten": ([], {}, {}),
    "DepthToSpace": ([], {"blocksize": 2}, {}),
    "Split": (["sizes"], {"axis": 1}, {"sizes": np.array([3, 5], np.int64)}),
    "Resize": (["", "scales"], {"mode": "nearest"}, {"scales": np.array([1, 1, 2, 2], np.float32)}),
    "Gemm": (["w"], {"transB": 1}, {"w": weights(9, 6, 512)}),
    "MatMul": (["w"], {}, {"w": weights(9, 8, 6)}),
}


def case_model(op: str, absorbed: str = "") -> Model:
    """x -> Conv -> Conv -> op (-> activation) -> MatMul -> y; ops with two inputs read both convolutions."""
    extra, attributes, constants = CASES[op]
    node = onnx.helper.make_node
    nodes = [conv("c1", "x", "w1"), conv("c2", "c1", "w2")]
    data = "c2"
    if op == "Gemm":
        nodes.append(node("Flatten", ["c2"], ["flat"], name="flat"))
        data = "flat"
    results = ["op", "rest"] if op == "Split" else ["op"]
    nodes.append(node(op, [data, *extra], results, name="op", **attributes))
    if op == "Split":
        nodes.append(node("Concat", ["rest", "op"], ["swapped"], name="swapped", axis=1))
    last = "swapped" if op == "Split" else "op"
    constants = {**constants, "w1": weights(1, 8, 3, 1, 1), "w2": weights(2, 8, 8, 1, 1)}
    if absorbed:
        limits = ["low", "high"] if absorbed == "Clip" else []
        nodes.append(node(absorbed, ["op", *limits], ["act"], name="act"))
        constants |= {"low": np.array(0, np.float32), "high": np.array(6, np.float32)} if limits else {}
        last = "act"
    widths = {"Gemm": 6, "MatMul": 6, "Transpose": 8, "Reshape": 16, "Resize": 16, "DepthToSpace": 16, "Flatten": 512}
    halved = {"AveragePool": 4, "MaxPool": 4, "GlobalAveragePool": 1}
    width = widths.get(op, halved.get(op, 8))
    nodes.append(node("MatMul", [last, "w3"], ["y"], name="y"))
    constants["w3"] = weights(3, width, 4)
    return build(nodes, {"x": [1, 3, 8, 8]}, ["y"], constants)


FEEDS = {"x": np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)}


def quantized(model: Model, target: Target) -> Model:
    """The model with Q/DQ on everything that the table offers, over the ranges of one sample."""
    plan = make_plan(model.graph, target)
    statistics = collect(model, [FEEDS], plan.calibrated())
    ranges = {name: solve(record, target.activations) for name, record in statistics.items()}
    insert_qdq(model.graph, plan, target, ranges)
    model.check()
    return model


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.name))
@pytest.mark.parametrize("op", sorted(X86_VNNI.ops))
def test_row_becomes_an_integer_kernel(op: str, target: Target) -> None:
    ops = runtime_ops(quantized(case_model(op), target), signed=target is ARM)
    assert not FLOAT_KERNELS & ops.keys(), ops
    assert ops["QuantizeLinear"] == 1, ops  # the graph's input; the last MatMul writes float by itself
    assert ops["DequantizeLinear"] == 0, ops
    if op not in ("Conv", "MatMul"):
        assert not {name for name in ops if name == op} or X86_VNNI.ops[op].scales is Scales.MOVED


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul", "Add", "Mul"])
def test_absorbed_activations_disappear(op: str, activation: str) -> None:
    model = quantized(case_model(op, activation), X86_VNNI)
    assert activation not in {node.op for node in model.graph.nodes}
    assert not FLOAT_KERNELS & runtime_ops(model).keys()


@pytest.mark.parametrize("dims", [[1, 4, 6], ["n", "m", 6]], ids=["fixed", "free"])
def test_bias_added_behind_a_matmul_leaves_it_in_integers(dims: list[int | str]) -> None:
    """ONNX Runtime makes a Gemm of the two where the shape is fixed: with a bias of floats, one in float."""
    node = onnx.helper.make_node
    constants = {"w": weights(0, 6, 5), "b": weights(1, 5)}
    model = build(
        [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["a"]), node("Tanh", ["a"], ["y"])],
        {"x": dims},
        ["y"],
        constants,
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 4, 6)).astype(np.float32)}
    expected = Session(model).run(feeds)["y"]
    plan = make_plan(model.graph, X86_VNNI)
    ranges = {name: solve(record, X86_VNNI.activations) for name, record in collect(model, [feeds], ["x"]).items()}
    insert_qdq(model.graph, plan, X86_VNNI, ranges)
    ops = runtime_ops(model)
    assert ops["QGemm"] + ops["MatMulIntegerToFloat"] == 1
    assert not {"Gemm", "FusedGemm", "MatMul", "FusedMatMul"} & ops.keys()
    assert np.abs(Session(model).run(feeds)["y"] - expected).max() < 0.02


@pytest.mark.parametrize("op", sorted(X86_VNNI.ops))
def test_integer_kernel_computes_what_the_graph_says(op: str) -> None:
    """The fused kernels against the same Q/DQ graph run node by node, in units of the output's range."""
    model = quantized(case_model(op), X86_VNNI)
    fused, literal = Session(model).run(FEEDS)["y"], Session(model, optimize=False).run(FEEDS)["y"]
    assert np.abs(fused - literal).max() <= 0.02 * np.ptp(literal)


def test_weights_of_seven_bits_without_vnni() -> None:
    assert (X86.weights.lowest, X86.weights.highest) == (-63, 63)
    assert (X86_VNNI.weights.lowest, X86_VNNI.weights.highest) == (-127, 127)
    # Two products of an unsigned activation and a weight, added in 16 bits.
    assert 2 * 255 * X86.weights.highest <= 2**15 - 1 < 2 * 255 * X86_VNNI.weights.highest


def test_arm_activations_are_signed() -> None:
    assert ARM.activations.dtype == np.int8
    assert X86_VNNI.activations.dtype == np.uint8


def test_detected_table_is_the_hosts() -> None:
    target = registry.target("ort-cpu")
    assert target.name == "ort-cpu"
    if host_kind() != "other":
        assert host_kind() in target.runs_on


def test_runtime_is_one_that_the_rows_name() -> None:
    """Fails when the constraints move to a version that nobody has proved the rows on: run this file and add it."""
    import onnxruntime

    assert onnxruntime.__version__ in X86_VNNI.proved_on
