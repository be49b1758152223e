"""Converting between operator sets: the same numbers, and nothing lost on the way."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.model.conversion import convert
from pruna_ir.model.opset import largest_difference, newest_opset

# Operators whose form or defaults changed after opset 13 (or 16): what is left of the text of a graph of x[1,4,4,4].
CHANGED = {
    "reduce-mean": (13, "{ y = ReduceMean<axes=[-1], keepdims=0>(x) }"),
    "reduce-all": (13, "{ y = ReduceMax(x) }"),
    "reduce-l2": (13, "{ y = ReduceL2<axes=[1,2]>(x) }"),
    "reduce-log-sum-exp": (13, "{ y = ReduceLogSumExp<axes=[1]>(x) }"),
    "reduce-sum-noop": (13, "{ y = ReduceSum<noop_with_empty_axes=1>(x) }"),
    "split": (13, "{ a, b = Split<axis=1>(x) y = Sub(a, b) }"),
    "split-sizes": (13, "<int64[2] s = {3, 1}> { a, b = Split<axis=1>(x, s) y = Identity(b) }"),
    "pad": (13, '<int64[8] p = {0,0,1,1,0,0,1,1}> { y = Pad<mode="reflect">(x, p) }'),
    "resize": (13, '<float[4] s = {1,1,2,2}> { y = Resize<mode="linear">(x, , s) }'),
    "batch-norm": (13, "<float[4] s = {1,2,3,4}> { y = BatchNormalization(x, s, s, s, s) }"),
    "dropout": (13, "{ y = Dropout(x) }"),
    "average-pool": (13, "{ y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2], ceil_mode=1>(x) }"),
    "lp-pool": (13, "{ y = LpPool<kernel_shape=[3,3]>(x) }"),
    "cast": (13, "{ y = Cast<to=7>(x) }"),
    "quantize": (13, "<float s = {0.1}, int8 z = {3}> { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }"),
    "scatter": (13, "<int64[1,1,1,2] i = {0,1}, float[1,1,1,2] u = {5,6}> { y = ScatterElements<axis=1>(x, i, u) }"),
    "grid-sample": (
        16,
        '<float[1,2,2,2] g = {0.1,0.2,0.3,0.4,-0.5,0.6,0.7,0.8}> { y = GridSample<mode="bilinear">(x, g) }',
    ),
    "if": (
        13,
        "{ z = ReduceMean<keepdims=0>(x) c = Greater(z, z) y = If(c) <then_branch = t () => (float[?,?,?,?] a) "
        "{ a = Relu(x) }, else_branch = e () => (float[?,?,?,?] b) { b = ReduceMin<axes=[2,3]>(x) }> }",
    ),
    "scan": (
        13,
        "{ y = Scan<num_scan_inputs=1, body = b (float[4,4,4] a) => (float[4,4,1] e) "
        "{ e = ReduceSumSquare<axes=[-1]>(a) }>(x) }",
    ),
}


@pytest.mark.parametrize("to", [18, 20, 23, 27])
@pytest.mark.parametrize("name", CHANGED)
def test_numbers_stay(name: str, to: int) -> None:
    opset, body = CHANGED[name]
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g (float[1,4,4,4] x) => (y) {body}')
    before = Model.load(onnx.shape_inference.infer_shapes(proto)).to_proto()
    after = convert(before, to)
    Model.load(after).check()
    difference = largest_difference(before, after)
    assert difference is not None and difference <= 1e-5
    assert [entry.version for entry in after.opset_import] == [to]


def test_the_interface_keeps_its_open_dimensions() -> None:
    before = model_from("g (float[n,?,4] x) => (float[?,?,1] y) { y = ReduceMean<axes=[2]>(x) }").to_proto()
    after = convert(before, 18)
    assert after.graph.input == before.graph.input and after.graph.output == before.graph.output


def test_foreign_operators_stay_and_keep_what_is_known_of_them() -> None:
    text = (
        '<ir_version: 8, opset_import: ["": 13, "com.microsoft": 1]> g (float[2,2] x) => (float[2,1] y) '
        "<float[2,2] a> { [fused] a = com.microsoft.FusedMatMul<alpha=2.0>(x, x) y = ReduceMean<axes=[1]>(a) }"
    )
    before = Model.from_text(text).to_proto()
    after = convert(before, 23)
    assert after.graph.node[0] == before.graph.node[0]
    assert {entry.domain: entry.version for entry in after.opset_import} == {"": 23, "com.microsoft": 1}
    assert "a" in {value.name for value in after.graph.value_info}
    Model.load(after).check()


def test_weights_do_not_pass_through_the_converter() -> None:
    """They are put back as they are, even those that lie in other files."""
    model = model_from("g (float[n,64] x) => (float[n,1] y) { a = MatMul(x, w) y = ReduceMean<axes=[1]>(a) }", w=W)
    before = model.to_proto()
    stored = next(tensor for tensor in before.graph.initializer if tensor.name == "w")
    onnx.external_data_helper.set_external_data(stored, "not-there.data", offset=0, length=W.nbytes)
    stored.ClearField("raw_data")
    after = convert(before, 23)
    assert next(tensor for tensor in after.graph.initializer if tensor.name == "w") == stored
    assert [value.name for value in after.graph.input] == ["x"]


def test_the_model_is_not_changed() -> None:
    before = model_from("g (float[n,64] x) => (float[n,1] y) { a = MatMul(x, w) y = ReduceMean<axes=[1]>(a) }", w=W)
    proto = before.to_proto()
    stored = proto.SerializeToString(deterministic=True)
    convert(proto, 23)
    assert proto.SerializeToString(deterministic=True) == stored


def test_newest_is_what_both_know() -> None:
    assert 23 <= newest_opset() <= onnx.defs.onnx_opset_version()


W = np.asarray(weight(64, 8))
