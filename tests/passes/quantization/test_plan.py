"""Which nodes become kernels, and why the others do not."""

from __future__ import annotations

import numpy as np
import onnx
from small_graphs import build, conv, small_net, weights

from pruna_ir.model import Model
from pruna_ir.passes.quantization.plan import Bounds, Plan, make_plan
from pruna_ir.targets.ort_cpu import X86_VNNI

node = onnx.helper.make_node


def plan_of(model: Model) -> Plan:
    return make_plan(model.graph, X86_VNNI)


def reasons(plan: Plan) -> dict[str, str]:
    return {refused.name: str(reason) for refused, reason in plan.refused}


def test_small_net() -> None:
    plan = plan_of(small_net())
    kernels = {kernel.node.name: kernel for kernel in plan.kernels}
    assert list(kernels) == ["c1", "c2", "a", "p", "f", "g"]
    assert (kernels["c1"].output.name, kernels["c1"].bounds) == ("r1", Bounds(0.0))
    assert (kernels["a"].output.name, kernels["a"].bounds) == ("k", Bounds(0.0, 6.0))
    assert not kernels["g"].writes_integers
    assert plan.calibrated() == ["x", "r1", "c2", "k", "p", "f"]


def test_allowed_kernels_only() -> None:
    plan = make_plan(small_net().graph, X86_VNNI, {"c1"})
    assert [kernel.node.name for kernel in plan.kernels] == ["c1"]


def test_activation_with_other_readers_is_not_absorbed() -> None:
    model = build(
        [conv("c", "x", "w"), node("Relu", ["c"], ["r"], name="r"), conv("d", "r", "w2"), conv("e", "c", "w2")],
        {"x": [1, 3, 4, 4]},
        ["d", "e"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    assert plan_of(model).kernels[0].output.name == "c"


def test_clip_that_leaves_out_zero_is_not_absorbed() -> None:
    model = build(
        [conv("c", "x", "w"), node("Clip", ["c", "one", "six"], ["k"], name="k"), conv("d", "k", "w2")],
        {"x": [1, 3, 4, 4]},
        ["d"],
        {
            "w": weights(0, 4, 3, 1, 1),
            "w2": weights(1, 4, 4, 1, 1),
            "one": np.array(1, np.float32),
            "six": np.array(6, np.float32),
        },
    )
    assert plan_of(model).kernels[0].output.name == "c"


def test_op_without_weights_needs_kernels_on_both_sides() -> None:
    model = build(
        [
            node("Sigmoid", ["x"], ["s1"], name="s1"),
            conv("c", "s1", "w"),
            node("Sigmoid", ["c"], ["s2"], name="s2"),
        ],
        {"x": [1, 3, 4, 4]},
        ["s2"],
        {"w": weights(0, 4, 3, 1, 1)},
    )
    plan = plan_of(model)
    assert [kernel.node.name for kernel in plan.kernels] == ["c"]
    assert reasons(plan) == {
        "s1": "it has no weights and nothing before it runs in integers",
        "s2": "it has no weights and nothing after it runs in integers",
    }


def test_refusals_say_why() -> None:
    model = build(
        [
            conv("dynamic", "x", "v"),
            conv("biased", "x", "w", "b"),
            node("Flatten", ["x"], ["flat"], name="flat"),
            node("Gemm", ["flat", "m"], ["scaled"], name="scaled", alpha=0.5),
            node("MatMul", ["flat", "vector"], ["dot"], name="dot"),
        ],
        {"x": [1, 3, 4, 4], "v": [4, 3, 1, 1], "b": [4]},
        ["dynamic", "biased", "scaled", "dot"],
        {"w": weights(0, 4, 3, 1, 1), "m": weights(1, 48, 4), "vector": weights(2, 48)},
    )
    found = reasons(plan_of(model))
    assert found["dynamic"] == "its weight `v` is not a constant"
    assert found["biased"] == "its bias `b` is not a constant"
    assert found["scaled"] == "the integer kernel needs alpha=1.0, not 0.5"
    assert found["dot"] == "its weight `vector` is a vector"


def test_other_types_stay() -> None:
    double = onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph(
        [conv("c", "x", "w")],
        "double",
        [onnx.helper.make_tensor_value_info("x", double, [1, 3, 4, 4])],
        [onnx.helper.make_tensor_value_info("c", double, [1, 4, 4, 4])],
        [onnx.numpy_helper.from_array(weights(0, 4, 3, 1, 1).astype(np.float64), "w")],
    )
    model = Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9))
    assert reasons(plan_of(model)) == {"c": "`x` is float64, not float32"}


def test_tensor_that_a_subgraph_reads_stays_float() -> None:
    then = onnx.helper.make_graph(
        [node("Relu", ["c"], ["t"])], "then", [], [onnx.helper.make_tensor_value_info("t", 1, None)]
    )
    other = onnx.helper.make_graph(
        [node("Neg", ["c"], ["e"])], "else", [], [onnx.helper.make_tensor_value_info("e", 1, None)]
    )
    model = build(
        [
            conv("c", "x", "w"),
            node("Constant", [], ["cond"], value=onnx.numpy_helper.from_array(np.array(True))),
            node("If", ["cond"], ["y"], name="if", then_branch=then, else_branch=other),
        ],
        {"x": [1, 3, 4, 4]},
        ["y"],
        {"w": weights(0, 4, 3, 1, 1)},
    )
    plan = plan_of(model)
    assert not plan.kernels
    assert reasons(plan) == {"c": "a sub-graph reads `c`"}
