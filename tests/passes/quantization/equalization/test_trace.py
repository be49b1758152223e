"""Where the channels of a weight go: every operator that a scale passes, and the reasons that hold it up."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx_text import model_from, weight
from small_graphs import build, conv, weights

from pruna_ir.model import Model
from pruna_ir.passes.quantization.equalization.links import UNSCALED, Link
from pruna_ir.passes.quantization.equalization.trace import trace
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.runtime.session import Session
from pruna_ir.testing import largest_difference

CONV = {"w1": weight(4, 3, 3, 3), "b1": weight(4, seed=1), "w2": weight(5, 4, 3, 3, seed=2)}
# Name: the middle of a graph from `a` [1,4,6,6] to `c`, and its further constants.
CONV_MIDDLES: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("c = Relu(a)", {}),
    "leaky relu": ("c = LeakyRelu<alpha=0.1>(a)", {}),
    "prelu": ("c = PRelu(a, p)", {"p": weight(4, 1, 1)}),
    "identity": ("c = Identity(a)", {}),
    "absolute value": ("c = Abs(a)", {}),
    "max pool": ("c = MaxPool<kernel_shape=[2,2]>(a)", {}),
    "average pool": ("c = AveragePool<kernel_shape=[2,2],pads=[1,1,1,1]>(a)", {}),
    "constant added": ("c = Add(k, a)", {"k": weight(4, 1, 1)}),
    "constant over space": ("c = Add(a, k)", {"k": weight(1, 1, 6, 6)}),
    "scalar subtracted from": ("c = Sub(k, a)", {"k": np.float32(3)}),
    "constant factor": ("c = Mul(a, k)", {"k": weight(1, 4, 1, 1)}),
    "divisor": ("c = Div(a, k)", {"k": np.float32(3)}),
    "gate": ("s = Sigmoid(x) h = Conv(s, v) g = ReduceMean<axes=[1]>(h) c = Mul(g, a)", {"v": weight(2, 3, 3, 3)}),
    "clip below": ("c = Clip(a, k)", {"k": np.float32(0)}),
    "pad": ("c = Pad(a, k)", {"k": np.array([0, 0, 1, 1, 0, 0, 1, 1])}),
    "resize": ('c = Resize<mode="linear">(a, none, k)', {"none": weight(0), "k": np.array([1, 1, 2, 2], np.float32)}),
    "transposes": ("t = Transpose<perm=[0,2,3,1]>(a) r = Relu(t) c = Transpose<perm=[0,3,1,2]>(r)", {}),
    "split and join": (
        "s, t = Split<axis=1>(a, k) u = Relu(s) v = Sigmoid(t) c = Concat<axis=1>(u, v)",
        {"k": np.array([1, 3])},
    ),
}


def link_of(model: Model, name: str) -> Link:
    node = next(node for node in model.graph.nodes if node.outputs[0].name == name)
    link = trace(node, Rewriter(model.graph))
    assert isinstance(link, Link), str(link)
    return link


@pytest.mark.parametrize("middle", CONV_MIDDLES)
def test_scale_passes(middle: str) -> None:
    text, constants = CONV_MIDDLES[middle]
    graph = "g (float[1,3,8,8] x) => (float[?,?,?,?] y) { a = Conv(x, w1, b1) %s y = Conv(c, w2) }"
    model = model_from(graph % text, **{**CONV, **constants})
    before = model.clone()
    link = link_of(model, "a")
    free = ~link.held
    assert free.any()
    rewriter = Rewriter(model.graph)
    link.apply(np.where(free, [0.25, 3.0, 10.0, 0.7], 1.0), rewriter)
    rewriter.commit()
    assert model.fingerprint() != before.fingerprint()
    assert largest_difference(before, model) < 1e-5


PAIRS = {
    "grouped": ("Conv<group=2>(x, w)", (4, 3, 1, 1), "Conv<group=2>(r, v)", (6, 2, 1, 1)),
    "depthwise": ("Conv(x, w)", (4, 6, 1, 1), "Conv<group=4>(r, v)", (8, 1, 1, 1)),
    "transposed": ("ConvTranspose<group=2>(x, w)", (6, 2, 2, 2), "ConvTranspose<group=2>(r, v)", (4, 3, 2, 2)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_convolutions_of_any_kind(pair: str) -> None:
    first, w, second, v = PAIRS[pair]
    graph = f"g (float[1,6,5,5] x) => (float[?,?,?,?] y) {{ a = {first} r = Relu(a) y = {second} }}"
    model = model_from(graph, w=weight(*w), v=weight(*v, seed=1))
    before = model.clone()
    rewriter = Rewriter(model.graph)
    link = link_of(model, "a")
    link.apply(np.array([0.25, 3.0, 10.0, 0.7]), rewriter)
    assert largest_difference(before, model) < 1e-5
    assert link.depthwise == (pair == "depthwise")


@pytest.mark.parametrize("transposed", [0, 1])
def test_flattened_features_share_the_scale_of_their_channel(transposed: int) -> None:
    v = weight(5, 16) if transposed else weight(16, 5)
    graph = f"a = Conv(x, w1) f = Flatten(a) y = Gemm<transB={transposed}>(f, v)"
    model = model_from(f"g (float[n,3,4,4] x) => (float[n,5] y) {{ {graph} }}", w1=CONV["w1"], v=v)
    before = model.clone()
    link = link_of(model, "a")
    assert link.readers[0].labels.reshape(-1).tolist() == np.repeat(range(4), 4).tolist()
    link.apply(np.array([0.25, 3.0, 10.0, 0.7]), Rewriter(model.graph))
    assert largest_difference(before, model, {"x": weight(2, 3, 4, 4)}) < 1e-5


def test_attention_passes_the_channels_of_its_values_to_the_projection() -> None:
    """Queries and keys, which the same matrix makes, are held."""
    graph = (
        "h = MatMul(x, w) a = Add(h, b) q, k, v = Split<axis=-1>(a, parts) "
        "q4 = Reshape(q, heads) k4 = Reshape(k, heads) v4 = Reshape(v, heads) "
        "qt = Transpose<perm=[0,2,1,3]>(q4) kt = Transpose<perm=[0,2,3,1]>(k4) vt = Transpose<perm=[0,2,1,3]>(v4) "
        "s = MatMul(qt, kt) p = Softmax<axis=-1>(s) m = MatMul(p, vt) mt = Transpose<perm=[0,2,1,3]>(m) "
        "f = Reshape(mt, joined) y = MatMul(f, o)"
    )
    model = model_from(
        f"g (float[2,5,8] x) => (float[2,5,8] y) {{ {graph} }}",
        w=weight(8, 24), b=weight(24, seed=1), o=weight(8, 8, seed=2), parts=np.array([8, 8, 8]),
        heads=np.array([0, 0, 2, 4]), joined=np.array([0, 0, 8]),
    )  # fmt: skip
    before = model.clone()
    link = link_of(model, "h")
    assert link.held.tolist() == [True] * 16 + [False] * 8
    scales = np.append(np.ones(16), np.geomspace(0.1, 10, 8))
    link.apply(scales, Rewriter(model.graph))
    assert largest_difference(before, model) < 1e-5


def test_joined_tensors_keep_their_own_values() -> None:
    model = model_from(
        "g (float[1,3,4,4] x) => (float[?,?,?,?] y) { a = Conv(x, w1) c = Concat<axis=1>(x, a) y = Conv(c, v) }",
        w1=CONV["w1"], v=weight(2, 7, 1, 1),
    )  # fmt: skip
    (reader,) = link_of(model, "a").readers
    assert reader.labels.reshape(-1).tolist() == [UNSCALED] * 3 + [0, 1, 2, 3]


REFUSED = {
    "other tensor added": ("t = Sigmoid(x) c = Add(a, t)", "`c` adds `t`, which has its own scales"),
    "function": ("c = Sigmoid(a)", "`c` (Sigmoid) does not commute with a scale"),
    "square": ("c = Mul(a, a)", "`c` (Mul) does not commute with a scale"),
    "own gate": ("t = Relu(a) c = Mul(a, t)", "`c` reads the channels twice"),
    "reciprocal": ("c = Div(one, a)", "`c` (Div) does not commute with a scale"),
    "clip": ("c = Clip(a, zero, one)", "`c` has one bound for all channels"),
    "padding": ("c = Pad(a, pads, one)", "`c` (Pad) does not commute with a scale"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_scale_does_not_pass(case: str) -> None:
    text, reason = REFUSED[case]
    constants: dict[str, Any] = {
        "zero": np.float32(0),
        "one": np.float32(1),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    }
    used = {name: value for name, value in constants.items() if name in text}
    model = model_from(
        f"g (float[1,4,6,6] x) => (float[?,?,?,?] y) {{ a = Conv(x, w1) {text} y = Conv(c, w2) }}",
        w1=weight(4, 4, 1, 1), w2=CONV["w2"], **used,
    )  # fmt: skip
    assert refusal_at(model, "a") == reason


def refusal(graph: str, **constants: Any) -> str:
    model = model_from(graph, **constants)
    return refusal_at(model, model.graph.nodes[0].outputs[0].name)


def refusal_at(model: Model, name: str) -> str:
    """Why the channels of a tensor cannot be scaled."""
    found = trace(next(node for node in model.graph.nodes if node.outputs[0].name == name), Rewriter(model.graph))
    if isinstance(found, Link):
        assert found.held.all()
        return str(found.barriers[0].reason)
    return str(found)


def test_channels_that_are_needed_outside() -> None:
    two = "g (float[1,3,8,8] x) => (float[?,?,?,?] y, float[?,?,?,?] a) { a = Conv(x, w1) y = Conv(a, w2) }"
    assert refusal(two, w1=CONV["w1"], w2=CONV["w2"]) == "`a` is an output of the graph"
    assert refusal("g (float[1,3,8,8] x) => (float[?,?,?,?] y) { y = Conv(x, w1) }", w1=CONV["w1"]) == (
        "`y` is an output of the graph"
    )


def test_weights_that_cannot_be_changed() -> None:
    shared = "g (float[1,4,8,8] x) => (float[?,?,?,?] y) { a = Conv(x, w) y = Conv(a, w) }"
    assert refusal(shared, w=weight(4, 4, 1, 1)) == "`w` has 2 users"
    computed = "g (float[1,4,8,8] x, float[4,4,1,1] w) => (float[?,?,?,?] y) { a = Conv(x, w) y = Conv(a, v) }"
    assert refusal(computed, v=weight(4, 4, 1, 1)) == "`w` is not a constant"
    half = "g (float16[1,4] x) => (float16[1,4] y) { a = MatMul(x, w) y = MatMul(a, v) }"
    found = refusal(half, w=weight(4, 4, dtype="float16"), v=weight(4, 4, dtype="float16"))
    assert found == "`w` is float16, which would round the scaled values"


def test_weights_in_integers_stay() -> None:
    quantized = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w) v = DequantizeLinear(q, s) y = MatMul(a, v) }"
    reason = refusal(quantized, w=weight(4, 4), q=np.ones((4, 4), np.int8), s=np.float32(0.5))
    assert "does not commute" in reason or "quantized" in reason


def test_sub_graph_that_reads_the_channels() -> None:
    then, other = (
        onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["a"], [op])], op, [], [onnx.helper.make_tensor_value_info(op, 1, None)]
        )
        for op in ("Tanh", "Neg")
    )
    nodes = [
        conv("a", "x", "w"),
        conv("y", "a", "v"),
        onnx.helper.make_node("If", ["flag"], ["t"], then_branch=then, else_branch=other),
    ]
    constants = {"w": weights(0, 4, 3, 1, 1), "v": weights(1, 2, 4, 1, 1), "flag": np.array(True)}
    model = build(nodes, {"x": [1, 3, 4, 4]}, ["y", "t"], constants)
    link = link_of(model, "a")
    assert link.held.all() and link.barriers[0].node is None
    assert str(link.barriers[0].reason) == "`a` is read inside of a sub-graph"


def test_shared_bias_is_copied() -> None:
    graph = "a = Conv(x, w1, b) r = Relu(a) c = Conv(r, w2, b) y = Relu(c)"
    model = model_from(
        f"g (float[1,4,8,8] x) => (float[?,?,?,?] y) {{ {graph} }}",
        w1=weight(4, 4, 1, 1), w2=weight(4, 4, 1, 1, seed=1), b=weight(4),
    )  # fmt: skip
    before = model.clone()
    link_of(model, "a").apply(np.array([0.25, 3.0, 10.0, 0.7]), Rewriter(model.graph))
    assert largest_difference(before, model) < 1e-5
    assert Session(model).outputs
