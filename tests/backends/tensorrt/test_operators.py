"""The table of operators: for every form that TensorRT's parser refuses, a graph that has it, and one that has not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx_text import model_from

from pruna_ir.backends.tensorrt.operators import OPERATORS, PLUGINS, plugins, problem, refused
from pruna_ir.backends.tensorrt.run_time import RunTime
from pruna_ir.model import Model


@dataclass(frozen=True)
class Refused:
    """Nodes that are taken, the edit that makes one refused, and what is said of it."""

    text: str
    edit: tuple[str, str]
    reason: str
    opset: int = 18


IMAGE = "g (float[1,4,6,6] x) => (float[a,b,c,d] y) "
PAIR = "g (float[1,4,6,6] x) => (float[1,4,6,6] y) <float s = {0.1}, int8 z = {0}, float t = {0.1}, uint8 u = {0}> "
QDQ = PAIR + "{ q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"
CASES = {
    "unknown operator": Refused(
        "g (int32[4] x, int32[4] v) => (int32[4] y) { y = Add (x, v) }",
        ("Add", "BitwiseAnd"),
        "TensorRT has no such operator",
    ),
    "other domain": Refused(
        IMAGE + "{ y = Relu (x) }", ("Relu (x)", "com.microsoft.QuickGelu (x)"), "TensorRT has no such operator"
    ),
    "element type": Refused(
        "g (int32[4] x) => (int32[4] y) { y = Identity (x) }", ("int32[4]", "int16[4]"), "`x` is int16"
    ),
    "int8 without Q/DQ": Refused("g (int32[4] x) => (int32[4] y) { y = Abs (x) }", ("int32", "int8"), "`x` is int8"),
    "too many axes": Refused(
        "g (float[1,1,1,1,1,1,1,1] x) => (float[1,1,1,1,1,1,1,1] y) { y = Relu (x) }",
        ("[1,1,1,1,1,1,1,1]", "[1,1,1,1,1,1,1,1,1]"),
        "`x` has 9 axes, TensorRT at most 8",
    ),
    "dilated pool": Refused(
        IMAGE + "{ y = MaxPool <kernel_shape = [2,2], dilations = [1,1]> (x) }",
        ("dilations = [1,1]", "dilations = [2,2]"),
        "its dilations are [2, 2]",
    ),
    "indices of a pool": Refused(
        "g (float[1,4,6,6] x) => (float[1,4,5,5] y) { y = MaxPool <kernel_shape = [2,2]> (x) }",
        (
            "(float[1,4,5,5] y) { y = MaxPool <kernel_shape = [2,2]> (x)",
            "(float[1,4,5,5] y, int64[1,4,5,5] i) { y, i = MaxPool <kernel_shape = [2,2]> (x)",
        ),
        "it has a further output, `i`",
    ),
    "pool of integers": Refused(
        "g (float[1,4,6,6] x) => (float[1,4,5,5] y) { y = AveragePool <kernel_shape = [2,2]> (x) }",
        (
            "(float[1,4,6,6] x) => (float[1,4,5,5] y) { y = AveragePool",
            "(int32[1,4,6,6] x) => (int32[1,4,5,5] y) { y = AveragePool",
        ),
        "it reads int32",
    ),
    "Lp pool": Refused(IMAGE + "{ y = LpPool <kernel_shape = [2,2], p = 2> (x) }", ("p = 2", "p = 3"), "p is 3"),
    "training": Refused(
        "g (float[2,4] x) => (float[2,4] y) <float[4] o = {1,1,1,1}, float[4] m = {0,0,0,0}>"
        " { y = BatchNormalization <training_mode = 0> (x, o, m, m, o) }",
        ("training_mode = 0", "training_mode = 1"),
        "training_mode is 1",
    ),
    "dropout in training": Refused(
        "g (float[2,4] x) => (float[2,4] y) <float r = {0.5}, bool t = {0}> { y = Dropout (x, r, t) }",
        ("t = {0}", "t = {1}"),
        "it is in training mode",
    ),
    "axes of a reduction": Refused(
        "g (float[2,4] x, int64[1] v) => (float[a,b] y) <int64[1] a = {1}> { y = ReduceMean (x, a) }",
        ("(x, a)", "(x, v)"),
        "input 1 must be a constant, and `v` is computed",
    ),
    "reduction of truth values": Refused(
        "g (float[2,4] x) => (float[2,1] y) <int64[1] a = {1}> { y = ReduceMax (x, a) }",
        ("(float[2,4] x) => (float[2,1] y)", "(bool[2,4] x) => (bool[2,1] y)"),
        "it reads bool",
        20,
    ),
    "shape from values": Refused(
        "g (float[2,4] x, int64[2] v) => (float[a,b] y) { s = Shape (x) y = Reshape (x, s) }",
        ("Shape (x)", "Abs (v)"),
        "input 1 decides shapes, and depends on the values of `v`",
    ),
    "half Celu": Refused(
        "g (float[2,4] x) => (float[2,4] y) { y = Celu (x) }", ("float[", "float16["), "it reads float16"
    ),
    "outputs of a normalization": Refused(
        "g (float[2,4] x) => (float[2,4] y) <float[4] s = {1,1,1,1}> { y = LayerNormalization (x, s) }",
        (
            "(float[2,4] y) <float[4] s = {1,1,1,1}> { y =",
            "(float[2,4] y, float[2,1] m) <float[4] s = {1,1,1,1}> { y, m =",
        ),
        "it has a further output, `m`",
    ),
    "vector by matrices": Refused(
        "g (float[2,4] x, float[3,4,5] v) => (float[a,b,c] y) { y = MatMul (x, v) }",
        ("(float[2,4] x, float[3,4,5] v) => (float[a,b,c] y)", "(float[4] x, float[3,4,5] v) => (float[a,b] y)"),
        "it multiplies a vector by a stack of matrices",
    ),
    "remainder of floats": Refused(
        "g (float[2] x, float[2] v) => (float[2] y) { y = Mod <fmod = 1> (x, v) }",
        ("fmod = 1", "fmod = 0"),
        "it takes the sign of the divisor (fmod is 0), of floats",
        26,
    ),
    "slope": Refused(
        "g (float[2,3,4] x) => (float[2,3,4] y) <float[3,1] s = {1,2,3}> { y = PRelu (x, s) }",
        ("float[3,1] s", "float[3] s"),
        "its slope of shape [3] does not broadcast to [2, 3, 4]",
    ),
    "smoothed resize": Refused(
        IMAGE + '<float[4] s = {1,1,0.5,0.5}> { y = Resize <mode = "linear", antialias = 0> (x, , s) }',
        ("antialias = 0", "antialias = 1"),
        "antialias is 1",
    ),
    "policy of a resize": Refused(
        IMAGE + '<int64[4] s = {1,4,3,3}> { y = Resize <keep_aspect_ratio_policy = "stretch"> (x, , , s) }',
        ("stretch", "not_larger"),
        "keep_aspect_ratio_policy is not_larger",
    ),
    "coordinates of a resize": Refused(
        IMAGE + '<float[4] s = {1,1,2,2}> { y = Resize <coordinate_transformation_mode = "asymmetric"> (x, , s) }',
        ("asymmetric", "half_pixel_symmetric"),
        "coordinate_transformation_mode is half_pixel_symmetric",
        19,
    ),
    "axes of a resize": Refused(
        IMAGE + "<float[4] s = {1,1,2,2}> { y = Resize <axes = [0,1,2,3]> (x, , s) }",
        (
            "<float[4] s = {1,1,2,2}> { y = Resize <axes = [0,1,2,3]>",
            "<float[2] s = {2,2}> { y = Resize <axes = [2,3]>",
        ),
        "its axes are [2, 3]",
    ),
    "scattered sums": Refused(
        'g (float[4] x, int64[1,1] i, float[1] v) => (float[4] y) { y = ScatterND <reduction = "none"> (x, i, v) }',
        ("none", "add"),
        "reduction is add",
    ),
    "empty part": Refused(
        "g (float[6] x) => (float[a] y, float[b] v, float[c] w) { y, v, w = Split <num_outputs = 3> (x) }",
        ("float[6]", "float[1]"),
        "1 are cut into 3 parts, of which the last would be empty",
    ),
    "zero point": Refused(QDQ, ("int8 z = {0}", "int8 z = {3}"), "its zero point is 3, and must be 0"),
    "unsigned": Refused(
        QDQ,
        (
            "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)",
            "q = QuantizeLinear (x, t, u) y = DequantizeLinear (q, t, u)",
        ),
        "it writes uint8, not int8",
    ),
    "16 bits": Refused(QDQ, ("int8 z", "int16 z"), "it writes int16, not int8", 21),
    "scale of zero": Refused(
        QDQ, ("float s = {0.1}", "float s = {0}"), "its scale is 0, and must be a positive number"
    ),
    "computed scale": Refused(
        QDQ,
        ("q = QuantizeLinear (x, s, z)", "r = ReduceMax <keepdims = 0> (x) q = QuantizeLinear (x, r, z)"),
        "its scale is computed, and must be a constant",
    ),
    "bias in integers": Refused(
        "g (float[2] x) => (float[2] y) <int8[2] b = {1, 2}, float s = {0.1}>"
        " { d = DequantizeLinear (b, s) y = Add (x, d) }",
        ("int8[2] b", "int32[2] b"),
        "it reads int32",
    ),
    "blocks of activations": Refused(
        "g (float[4,4] x) => (float[4,4] y) <float s = {0.1}, float[2,4] t = {1,1,1,1,1,1,1,1}, int8 z = {0},"
        " int8[2,4] u = {0,0,0,0,0,0,0,0}> { q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }",
        ("QuantizeLinear (x, s, z) y", "QuantizeLinear <axis = 0, block_size = 2> (x, t, u) y"),
        "it has a scale for each block, which only weights may have",
        21,
    ),
}


def model(case: Refused, edited: bool) -> Model:
    text = case.text
    if edited:
        assert case.edit[0] in text
        text = text.replace(*case.edit)
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {case.opset}, "com.microsoft" : 1]> {text}')
    return Model.load(proto)


@pytest.mark.parametrize("name", CASES)
def test_form_that_is_refused(name: str) -> None:
    case = CASES[name]
    assert refused(model(case, edited=False).graph) == []
    assert case.reason in [reason for _, reason, _ in refused(model(case, edited=True).graph)]


def test_an_odd_number_of_4_bit_integers() -> None:
    values = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, [3], [1, -2, 3])
    node = onnx.helper.make_node("DequantizeLinear", ["w", "s"], ["y"])
    info = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])
    scale = onnx.numpy_helper.from_array(np.array(0.1, np.float32), "s")
    graph = onnx.helper.make_graph([node], "g", [], [info], [values, scale])
    loaded = Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10))
    assert [reason for _, reason, _ in refused(loaded.graph)] == [
        "integers of 4 bits come in pairs, and it reads an odd number"
    ]


def test_scale_of_another_type() -> None:
    text = QDQ.replace("float s = {0.1}, ", "").replace(
        "y = DequantizeLinear (q, s, z)", "y = DequantizeLinear (q, t, z)"
    )
    loaded = model_from(text, opset=21, s=np.array(0.1, np.float16))
    assert [reason for _, reason, _ in refused(loaded.graph)] == [
        "its scale is float16, and what it stands for float32"
    ]


def test_help_for_operators_in_integers() -> None:
    loaded = model_from("g (float[2,2] x) => (uint8[2,2] q, float s, uint8 z) { q, s, z = DynamicQuantizeLinear (x) }")
    ((_, reason, help_text),) = refused(loaded.graph)
    assert reason == "TensorRT has no such operator" and "-O2 --target tensorrt" in help_text


def test_integers_may_be_moved_between_pairs() -> None:
    text = QDQ.replace("y = Deq", "m = Transpose <perm = [0,1,3,2]> (q) y = Deq").replace("(q, s, z) }", "(m, s, z) }")
    assert refused(model_from(text).graph) == []


def test_bytes_may_come_in_through_a_cast() -> None:
    assert refused(model_from("g (uint8[4] x) => (float[4] y) { y = Cast <to = 1> (x) }").graph) == []


def test_bytes_between_nodes() -> None:
    text = "g (float[4] x) => (float[4] y) { a = Cast <to = 2> (x) b = Identity (a) y = Cast <to = 1> (b) }"
    reasons = [reason for _, reason, _ in refused(model_from(text).graph)]
    assert reasons == ["`a` is uint8 between two nodes", "`a` is uint8", "`b` is uint8 between two nodes"]
    outputs = "g (float[4] x) => (float[4] y, uint8[4] a) { a = Cast <to = 2> (x) y = Cast <to = 1> (a) }"
    assert refused(model_from(outputs).graph) == []


def test_plugins_are_taken_and_told() -> None:
    loaded = model_from("g (float[4] x) => (int64[1,n] y) { y = NonZero (x) }")
    assert refused(loaded.graph) == [] and plugins(loaded.graph) == ["NonZero"]
    assert PLUGINS.isdisjoint(OPERATORS)


def test_every_operator_of_the_table_is_one_of_onnx() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert names >= {*OPERATORS, *PLUGINS}


def test_run_time_values() -> None:
    loaded = model_from(
        "g (float[n,4] x, int64[2] v) => (float[a,b] y, float[c,d] z)"
        " { s = Shape (x) t = Abs (s) y = Reshape (x, t) u = Abs (v) z = Reshape (x, u) }"
    )
    run_time, tensors = RunTime(loaded.graph), loaded.graph.tensors()
    assert [run_time.source(tensors[name]) for name in "xvstuyz"] == ["x", "v", None, None, "v", "x", "x"]


def test_node_of_unknown_shape_is_not_held_against_it() -> None:
    loaded = model_from("g (float[n] x) => (float[a] y, float[b] z) { y, z = Split (x) }", opset=13)
    assert problem(loaded.graph.nodes[0], RunTime(loaded.graph)) is None
