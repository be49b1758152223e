"""16-bit floats with explicit Casts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_text import model_from, weight
from small_graphs import runtime_ops, samples, small_net

from pruna_ir import registry
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.passes.precision.convert_fp16 import ConvertFp16
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass, missed, ops

ANY = ConvertFp16(kernels="any")
CHAIN = "g (float[n,4] x) => (float[n,4] y) { a = MatMul(x, w) b = Relu(a) y = MatMul(b, w) }"


def types(model: Model) -> set[Any]:
    return {tensor.dtype for node in model.graph.nodes for tensor in node.outputs}


def casts(model: Model) -> int:
    return ops(model).count("Cast")


def test_fires_and_stays_close() -> None:
    model = small_net()
    after, result = check_pass(ANY, model)
    assert ops(after) == ["Cast", *ops(model), "Cast"]
    assert result.counts == {"nodes in float16": 8, "constants in float16": 7}
    assert missed(result) == []
    feeds = {"x": samples()}
    error = relative_error(Session(model).run(feeds), Session(after).run(feeds))
    assert 0 < error < 2e-3


def test_size_halves() -> None:
    model = model_from("g (float[n,64] x) => (float[n,64] y) { y = MatMul(x, w) }", w=weight(64, 64))
    before = len(model.to_proto().SerializeToString())
    after, _ = check_pass(ANY, model)
    assert len(after.to_proto().SerializeToString()) < 0.55 * before


def test_shared_constant_is_one_half() -> None:
    after, result = check_pass(ANY, model_from(CHAIN, w=weight(4, 4)))
    assert result.counts == {"nodes in float16": 3, "constants in float16": 1}
    assert len(after.to_proto().graph.initializer) == 1


def test_constant_that_both_kinds_read_is_there_twice() -> None:
    model = model_from(CHAIN, w=weight(4, 4))
    model.graph.nodes[-1].name = "last"
    after, _ = check_pass(ConvertFp16(kernels="any", keep=("last",)), model, target=no_storage())
    kinds = Counter(tensor.data_type for tensor in after.to_proto().graph.initializer)
    assert kinds == {onnx.TensorProto.FLOAT16: 1, onnx.TensorProto.FLOAT: 1}


def test_one_cast_for_all_readers() -> None:
    """Three halves read the input, two kept nodes read what a half writes."""
    text = """g (float[n,4] x) => (float[n,4] y) {
        a = Relu(x) b = Neg(x) c = Abs(x) d = Sum(a, b, c) e = Tanh(d) f = Tan(d) y = Add(e, f) }"""
    after, result = check_pass(ConvertFp16(kernels="any", keep=("op:Tanh", "op:Tan")), model_from(text))
    assert ops(after) == ["Cast", "Relu", "Neg", "Abs", "Sum", "Cast", "Tanh", "Cast", "Tan", "Cast", "Add", "Cast"]
    assert missed(result) == ["stays in float32: it is to be kept"] * 2


def test_output_that_is_read_inside_stays_float32() -> None:
    text = "g (float[n,4] x) => (float[n,4] a, float[n,4] y) { a = Relu(x) y = Neg(a) }"
    after, _ = check_pass(ANY, model_from(text))
    assert ops(after) == ["Cast", "Relu", "Cast", "Neg", "Cast"]
    assert [output.name for output in after.outputs()] == ["a", "y"]


def test_what_writes_no_floats_reads_halves() -> None:
    """A Cast up for an ArgMax would be one for nothing."""
    text = "g (float[n,4] x) => (int64[n,1] y, int64[2] s) { a = Relu(x) y = ArgMax<axis=1>(a) s = Shape(a) }"
    after, _ = check_pass(ANY, model_from(text))
    assert ops(after) == ["Cast", "Relu", "ArgMax", "Shape"]


def test_casts_from_integers_write_halves_where_all_want_them() -> None:
    text = "g (int64[4] i, float[4] x) => (float[4] y) { f = Cast<to=1>(i) y = Mul(f, x) }"
    after, _ = check_pass(ANY, model_from(text))
    assert [node.attrs["to"] for node in after.graph.nodes if node.op == "Cast"] == [10, 10, 1]
    kept, _ = check_pass(ConvertFp16(kernels="any", keep=("op:Mul",)), model_from(text))
    assert ops(kept) == ["Cast", "Mul"]


def test_scales_of_resize_stay_float32() -> None:
    text = "g (float[1,1,2,2] x, float[4] s) => (float[1,1,m,k] y) { y = Resize(x, , s) }"
    after, _ = check_pass(ANY, model_from(text), feeds={"x": weight(1, 1, 2, 2), "s": np.ones(4, np.float32)})
    assert ops(after) == ["Cast", "Resize", "Cast"]
    assert after.graph.nodes[1].inputs[2].name == "s"


@pytest.mark.parametrize(("value", "reason"), [(-3.4e38, "beyond float16"), (1e-12, "too small for float16")])
def test_constants_that_do_not_fit(value: float, reason: str) -> None:
    model = model_from("g (float[4] x) => (float[4] y) { y = Add(x, c) }", c=np.full(4, value, np.float32))
    _, result = check_pass(ANY, model)
    assert len(missed(result)) == 1 and reason in missed(result)[0]
    assert not result.changed


def test_sub_graphs_stay_as_they_are() -> None:
    text = """g (float[4] x, bool c) => (float[4] y) {
        a = Relu(x)
        b = If(c) <then_branch = t () => (float[4] u) { u = Neg(a) }, else_branch = e () => (float[4] v) { v = Abs(a) }>
        y = Relu(b) }"""
    after, result = check_pass(ANY, model_from(text))
    assert ops(after) == ["Cast", "Relu", "Cast", "If", "Cast", "Relu", "Cast"]
    assert missed(result) == ["stays in float32: it has sub-graphs"]


def test_quantized_nodes_stay() -> None:
    model = small_net()
    PassManager.parse("quantize<guard=false>").run(model, data=samples())
    before = runtime_ops(model)
    _, result = check_pass(ANY, model)
    assert "is quantized" in " ".join(missed(result))
    PassManager([ANY]).run(model)
    assert runtime_ops(model)["QLinearConv"] == before["QLinearConv"] > 0


@pytest.mark.parametrize(
    ("factor", "text"), [(30000.0, "`a` reaches 6e+04, too near the largest float16"), (1e-6, "`a` reaches 2e-06 only")]
)
def test_ranges_of_data(factor: float, text: str) -> None:
    model = model_from(
        "g (float[n,2] x) => (float[n,2] y) { a = Mul(x, c) b = Mul(a, d) y = Relu(b) }",
        c=np.array([factor**0.5], np.float32),
        d=np.array([factor**-0.5], np.float32),
    )
    data = np.full((4, 2), 2.0, np.float32) * np.float32(factor**0.5)
    after, result = check_pass(ANY, model, data=dataset(data))
    assert any(text in line for line in missed(result))
    found = Session(after).run({"x": data})["y"]
    assert np.allclose(found, data, rtol=2e-3)


def test_target_without_kernels_stores_weights() -> None:
    model = model_from("g (float[n,32] x) => (float[n,32] y) { a = MatMul(x, w) y = Relu(a) }", w=weight(32, 32))
    after, result = check_pass(ConvertFp16(), model)
    assert ops(after) == ["Cast", "MatMul", "Relu"]
    assert result.counts == {"constants in float16": 1}
    assert "no float16 kernels for 2 of the nodes" in str(result.remarks[-1])
    assert runtime_ops(after) == runtime_ops(model)


def test_bfloat16_stores_weights() -> None:
    model = model_from("g (float[n,32] x) => (float[n,32] y) { y = MatMul(x, w) }", w=weight(32, 32))
    after, _ = check_pass(ConvertFp16(dtype="bfloat16"), model)
    feeds, expected = runnable_feeds(Session(model).run, model.inputs())
    assert 0 < relative_error(expected, Session(after).run(feeds)) < 1e-2
    assert [tensor.data_type for tensor in after.to_proto().graph.initializer] == [onnx.TensorProto.BFLOAT16]


def test_bfloat16_as_values() -> None:
    """No runtime here computes in it: the graph is checked, not run."""
    model = model_from("g (float[n,4] x) => (float[n,4] y) { y = MatMul(x, w) }", w=weight(4, 4))
    PassManager([replace(ANY, dtype="bfloat16")]).run(model)
    proto = model.to_proto()
    onnx.checker.check_model(proto)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    assert ops(model) == ["Cast", "MatMul", "Cast"]


def test_small_and_kept_weights_are_not_stored() -> None:
    text = "g (float[n,32] x) => (float[n,32] y) { a = MatMul(x, w) b = MatMul(a, v) y = Mul(b, s) }"
    model = model_from(text, w=weight(32, 32), v=weight(32, 32, seed=1), s=weight(32))
    model.graph.nodes[0].name = "first"
    after, result = check_pass(ConvertFp16(keep=("first",)), model)
    assert result.counts == {"constants in float16": 1}
    assert {tensor.name: tensor.data_type for tensor in after.to_proto().graph.initializer} == {
        "w": onnx.TensorProto.FLOAT,
        "v_float16": onnx.TensorProto.FLOAT16,
        "s": onnx.TensorProto.FLOAT,
    }


@pytest.mark.parametrize("kernels", ["any", "target"])
@pytest.mark.parametrize("name", ["kws_dscnn", "resnet20_cifar10", "kwt1_speechcommands"])
def test_trained_models(name: str, kernels: str, shared: Path) -> None:
    model = Model.load(shared / "models" / f"{name}.onnx")
    PassManager.parse("O1").run(model)
    feeds, expected = runnable_feeds(Session(model).run, model.inputs())
    size = len(model.to_proto().SerializeToString())
    PassManager.parse(f"convert-fp16<kernels={kernels}>").run(model)
    assert relative_error(expected, Session(model).run(feeds)) < 3e-3
    assert len(model.to_proto().SerializeToString()) < 0.56 * size


def no_storage() -> Any:
    return replace(registry.target("ort-cpu"), stores_weights=False)


def dataset(values: np.ndarray) -> Any:
    from pruna_ir.data import Dataset

    return Dataset.of(values)
