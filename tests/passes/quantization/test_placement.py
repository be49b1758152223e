"""Where Q/DQ stand for targets that want them elsewhere than ONNX Runtime does."""

from __future__ import annotations

import numpy as np
import onnx
from small_graphs import build, conv, weights

from pruna_ir.model import Model
from pruna_ir.passes.quantization.plan import Plan, make_plan
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.targets import Target
from pruna_ir.targets.ort_cpu import X86_VNNI
from pruna_ir.targets.tensorrt import TENSORRT
from pruna_ir.targets.tflite import TFLITE

node = onnx.helper.make_node
DATA = np.random.default_rng(0).standard_normal((4, 16, 4, 4)).astype(np.float32)


def block(*tail: onnx.NodeProto, outputs: tuple[str, ...] = ("y",), **constants: np.ndarray) -> Model:
    """x -> Conv -> Relu -> r -> Conv -> c, and what the tail makes of r and c."""
    nodes = [conv("b", "x", "w"), node("Relu", ["b"], ["r"], name="r"), conv("c", "r", "v"), *tail]
    constants = {"w": weights(0, 16, 16, 1, 1), "v": weights(1, 16, 16, 1, 1), **constants}
    return build(nodes, {"x": [1, 16, 4, 4]}, outputs, constants)


def rounded(model: Model, target: Target) -> set[str]:
    """The tensors that get Q/DQ."""
    PassManager.parse(f"quantize<target={target.name};guard=false>").run(model, data=DATA)
    return {n.inputs[0].name for n in model.graph.nodes if n.op == "QuantizeLinear"}


def reasons(plan: Plan) -> dict[str, str]:
    return {refused.name: str(reason) for refused, reason in plan.refused}


def test_tensorrt_rounds_what_kernels_read_and_nothing_behind_them() -> None:
    assert rounded(block(node("Neg", ["c"], ["y"])), TENSORRT) == {"x", "r"}


def test_tensorrt_rounds_the_residual_input_of_a_sum_only() -> None:
    """The other one is the end of the convolution before it."""
    tail = [node("Add", ["c", "x"], ["a"], name="a"), node("Relu", ["a"], ["q"]), conv("y", "q", "v")]
    model = block(*tail)
    assert rounded(model, TENSORRT) == {"x", "r", "q"}
    add = next(n for n in model.graph.nodes if n.name == "a")
    assert [tensor.inputs[0].op for tensor in add.inputs] == ["Conv", "DequantizeLinear"]


def test_tensorrt_leaves_a_sum_of_nothing_weighted_alone() -> None:
    model = block(node("Add", ["r", "x"], ["a"], name="a"), node("Add", ["a", "c"], ["y"], name="s"))
    assert reasons(make_plan(model.graph, TENSORRT)) == {"a": "it does not end a kernel with weights"}


def test_tensorrt_sum_with_a_convolution_that_others_read() -> None:
    model = block(node("Add", ["c", "x"], ["y"], name="a"), node("Neg", ["c"], ["z"]), outputs=("y", "z"))
    assert reasons(make_plan(model.graph, TENSORRT)) == {"a": "it does not end a kernel with weights"}


def test_tensorrt_convolution_is_not_ended_when_it_is_excluded() -> None:
    model = block(node("Add", ["c", "x"], ["y"], name="a"))
    keys = {"b", "y"}
    assert [kernel.key for kernel in make_plan(model.graph, TENSORRT, keys).kernels] == ["b"]


def test_tensorrt_joins_only_where_a_kernel_reads_the_result() -> None:
    join = node("Concat", ["r", "x"], ["j"], name="j", axis=1)
    assert "j" in rounded(block(join, conv("y", "j", "u"), u=weights(2, 16, 32, 1, 1)), TENSORRT)
    lonely = block(join, node("Neg", ["j"], ["y"]))
    assert reasons(make_plan(lonely.graph, TENSORRT)) == {
        "j": "it has no weights and nothing after it runs in integers"
    }


def test_tensorrt_leaves_narrow_kernels_in_float() -> None:
    model = block(conv("y", "c", "u"), u=weights(2, 3, 16, 1, 1))
    assert reasons(make_plan(model.graph, TENSORRT)) == {}  # 16 is a multiple of 8
    flat = [
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "u"], ["y"], name="g"),
    ]
    model = block(*flat, u=weights(2, 16, 10))
    assert reasons(make_plan(model.graph, TENSORRT)) == {
        "g": "with 16 input and 10 output channels the integer kernel is slower"
    }


def test_tflite_rounds_everything_but_the_answer() -> None:
    tail = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["c", "s"], ["m"]), node("HardSwish", ["m"], ["y"])]
    assert rounded(block(*tail), TFLITE) == {"x", "r", "c", "s", "m"}


def test_absorbed_activation_is_no_kernel_of_its_own() -> None:
    plan = make_plan(block(node("Neg", ["c"], ["y"])).graph, TFLITE)
    assert [kernel.node.op for kernel in plan.kernels] == ["Conv", "Conv"]


def test_activation_with_other_readers_before_it_is_a_kernel() -> None:
    plan = make_plan(block(node("Add", ["b", "c"], ["y"])).graph, TFLITE)
    assert [kernel.node.op for kernel in plan.kernels] == ["Conv", "Relu", "Conv", "Add"]


def test_padding_with_something_else_than_zero_stays_in_float() -> None:
    pads, value = np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array(-1, np.float32)
    model = block(node("Pad", ["c", "pads", "value"], ["y"], name="p"), pads=pads, value=value)
    assert reasons(make_plan(model.graph, TFLITE)) == {"p": "the integer kernel needs `value` to be 0.0"}
    model = block(node("Pad", ["c", "pads"], ["y"], name="p"), pads=pads)
    assert reasons(make_plan(model.graph, TFLITE)) == {}


def test_all_outputs_of_a_split_have_the_scale_of_its_input() -> None:
    tail = [
        node("Split", ["c"], ["s", "t"], name="split", axis=1),
        conv("y", "s", "u"),
        conv("z", "t", "u"),
    ]
    model = block(*tail, outputs=("y", "z"), u=weights(2, 16, 8, 1, 1))
    expected = Session(model).run({"x": DATA[:1]})
    assert rounded(model, X86_VNNI) >= {"c", "s", "t"}
    scales = {n.inputs[0].name: n.inputs[1].values for n in model.graph.nodes if n.op == "QuantizeLinear"}
    assert scales["c"] == scales["s"] == scales["t"]
    for name, found in Session(model).run({"x": DATA[:1]}).items():
        assert np.abs(found - expected[name]).max() < 0.05 * np.ptp(expected[name])


def test_output_of_a_split_that_nothing_reads_is_left_alone() -> None:
    tail = [node("Split", ["c"], ["s", "t"], axis=1), conv("y", "s", "u")]
    model = block(*tail, u=weights(2, 16, 8, 1, 1))
    assert "t" not in rounded(model, TFLITE)
    PassManager.parse("lint-qdq<target=tflite;strict=true>").run(model)
