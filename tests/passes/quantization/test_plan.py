"""Which nodes become kernels, and why the others do not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, small_net, weights

from pruna_ir.model import Model
from pruna_ir.passes.quantization.kernel import Bounds
from pruna_ir.passes.quantization.plan import Plan, make_plan
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


def flow(*nodes: onnx.NodeProto, **constants: np.ndarray) -> Model:
    """x -> Conv -> c -> the nodes -> t -> Conv -> y."""
    return build(
        [conv("c", "x", "w", pads=[1, 1, 1, 1]), *nodes, conv("y", "t", "w2")],
        {"x": [1, 3, 8, 8]},
        ["y"],
        {"w": weights(0, 4, 3, 3, 3), "w2": weights(1, 4, 4, 1, 1), **constants},
    )


def test_bias_must_have_a_number_for_each_channel() -> None:
    """A bias for each row has as many numbers as there are channels when the matrix is square: the shape counts."""
    model = build(
        [
            node("Gemm", ["x", "w", "rows"], ["a"], name="a"),
            node("Gemm", ["x", "w", "full"], ["b"], name="b"),
            node("Gemm", ["x", "w", "row"], ["c"], name="c"),
            node("Gemm", ["x", "w", "one"], ["d"], name="d"),
        ],
        {"x": [5, 6]},
        ["a", "b", "c", "d"],
        {
            "w": weights(0, 6, 5),
            "rows": weights(1, 5, 1),
            "full": weights(2, 5, 5),
            "row": weights(3, 1, 5),
            "one": np.array(0.5, np.float32),
        },
    )
    assert reasons(plan_of(model)) == {
        "a": "its bias `rows` is not one number for each of 5 channels",
        "b": "its bias `full` is not one number for each of 5 channels",
    }


def test_weights_that_no_kernel_takes() -> None:
    model = build(
        [node("MatMul", ["x", "batched"], ["a"], name="a"), node("MatMul", ["x", "empty"], ["b"], name="b")],
        {"x": [2, 5, 6]},
        ["a", "b"],
        {"batched": weights(0, 2, 6, 4), "empty": np.zeros((6, 0), np.float32)},
    )
    assert reasons(plan_of(model)) == {
        "a": "its weight `batched` has 3 dimensions, the integer kernel takes 2",
        "b": "its weight `empty` is empty",
    }


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.where(np.eye(8), -np.inf, 0), "its constant `k` holds inf, as good as infinite"),
        (np.where(np.eye(8), np.finfo(np.float32).min, 0), "its constant `k` holds 3.4e+38, as good as infinite"),
        (np.zeros((0, 1)), "its constant `k` is empty"),
    ],
)
def test_constants_that_no_scale_holds(values: np.ndarray, reason: str) -> None:
    op = (
        node("Concat", ["c", "k"], ["t"], name="j", axis=2) if values.size == 0 else node("Add", ["c", "k"], ["t"], "j")
    )
    shaped = np.zeros((1, 4, 0, 8)) if values.size == 0 else values
    assert reasons(plan_of(flow(op, k=shaped.astype(np.float32)))) == {"j": reason}


def test_attributes_that_no_kernel_has() -> None:
    crop = node(
        "Resize",
        ["c", "roi", "s"],
        ["t"],
        name="r",
        mode="nearest",
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    found = plan_of(flow(crop, roi=np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32), s=np.ones(4, np.float32)))
    assert reasons(found) == {"r": "there is no integer kernel with coordinate_transformation_mode=tf_crop_and_resize"}


def test_second_output_that_is_used_stays_float() -> None:
    found = plan_of(flow(node("MaxPool", ["c"], ["t", "where"], name="m", kernel_shape=[2, 2])))
    assert reasons(found) == {"m": "the integer kernel does not write `where`"}


def test_ops_of_other_domains_are_not_ours() -> None:
    model = flow(node("Relu", ["c"], ["t"]))
    model.graph.nodes[-1].domain = "com.example"
    assert [kernel.node.name for kernel in plan_of(model).kernels] == ["c"]


def test_arithmetic_of_shapes_is_passed_over_in_silence() -> None:
    model = build(
        [
            node("Shape", ["x"], ["s"]),
            node("Add", ["s", "zeros"], ["shape"], name="shape"),
            node("Reshape", ["x", "shape"], ["r"], name="r"),
            conv("y", "r", "w"),
        ],
        {"x": ["n", 3, 4, 4]},
        ["y"],
        {"w": weights(0, 4, 3, 1, 1), "zeros": np.zeros(4, np.int64)},
    )
    assert list(reasons(plan_of(model))) == ["r"]


def test_activation_inside_of_a_subgraph_is_not_absorbed() -> None:
    then = onnx.helper.make_graph(
        [node("Relu", ["c"], ["a"])], "then", [], [onnx.helper.make_tensor_value_info("a", 1, None)]
    )
    other = onnx.helper.make_graph(
        [node("Constant", [], ["b"], value=onnx.numpy_helper.from_array(weights(0, 1, 4, 8, 8)))],
        "else",
        [],
        [onnx.helper.make_tensor_value_info("b", 1, None)],
    )
    model = flow(node("If", ["flag"], ["t"], name="if", then_branch=then, else_branch=other), flag=np.array(True))
    found = plan_of(model)
    assert [kernel.node.name for kernel in found.kernels] == ["y"]
    assert reasons(found) == {"c": "a sub-graph reads `c`"}


def test_what_is_quantized_already_stays_as_it_is() -> None:
    scale, zero = np.array(0.02, np.float32), np.array(0, np.uint8)
    found = plan_of(
        flow(
            node("Relu", ["c"], ["r"]),
            node("QuantizeLinear", ["r", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["t"]),
            s=scale,
            z=zero,
        )
    )
    assert reasons(found) == {"c": "`r` is quantized already", "y": "`t` is quantized already"}


def test_clip_without_width_is_not_absorbed() -> None:
    found = plan_of(flow(node("Clip", ["c", "zero", "zero"], ["t"]), zero=np.array(0, np.float32)))
    assert found.kernels[0].absorbed is None


def test_matmul_before_an_activation_function_writes_integers() -> None:
    """Unless nothing comes after the function: ONNX Runtime keeps other combinations in float."""
    model = build(
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Relu", ["a"], ["ra"]),
            node("Tanh", ["ra"], ["ta"]),
            node("MatMul", ["x", "w2"], ["b"]),
            node("Relu", ["b"], ["rb"]),
            node("MatMul", ["x", "w3"], ["d"]),
            node("Tanh", ["d"], ["td"]),
        ],
        {"x": [2, 6]},
        ["ta", "rb", "td"],
        {"w": weights(0, 6, 5), "w2": weights(1, 6, 5), "w3": weights(2, 6, 5)},
    )
    found = {kernel.key: (kernel.writes_integers, kernel.output.name) for kernel in plan_of(model).kernels}
    assert found == {"a": (True, "ra"), "b": (False, "b"), "d": (False, "d")}
