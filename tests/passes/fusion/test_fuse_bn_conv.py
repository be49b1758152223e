"""BatchNormalization, Mul, Add, Sub or Div with a constant -> Conv or Gemm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_bn_conv import FuseBnConv
from pruna_ir.testing import check_pass, missed, ops, run_pass

BN = "a = BatchNormalization(x, gamma, beta, mean, variance)"
PADDED = "y = Conv <pads: ints = [1, 1, 1, 1]> (a, w)"
OUTPUT = "float[N,6,h,v] y"


def statistics(channels: int = 4, dtype: str = "float32") -> dict[str, Any]:
    names = ("gamma", "beta", "mean")
    drawn: dict[str, Any] = {name: weight(channels, seed=seed, dtype=dtype) for seed, name in enumerate(names, 1)}
    return {**drawn, "variance": positive(channels, seed=4, dtype=dtype)}


def before_conv(body: str, outputs: str = OUTPUT, inputs: str = "float[2,4,6,7] x", **extra: Any) -> Model:
    weights: dict[str, Any] = {"w": weight(6, 4, 3, 3), "k": positive(4, 1, 1, seed=5), **statistics(), **extra}
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **weights)


@pytest.mark.parametrize("conv", ["Conv(a, w)", "Conv(a, w, b)", 'Conv(a, w, "")'])
def test_fires(conv: str) -> None:
    after, result = check_pass(FuseBnConv(), before_conv(f"{BN} y = {conv}", b=weight(6)))
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-bn-conv": 1}


def test_result_is_the_formula() -> None:
    model = before_conv(f"{BN} y = Conv(a, w, b)", b=weight(6))
    values = {name: value.astype(np.float64) for name, value in statistics().items()}
    after, _ = check_pass(FuseBnConv(), model)
    scale = values["gamma"] / np.sqrt(values["variance"] + 1e-5)
    shift = values["beta"] - values["mean"] * scale
    _, w, b = after.graph.nodes[0].inputs
    np.testing.assert_allclose(w.values, weight(6, 4, 3, 3) * scale[:, None, None], rtol=1e-6)
    np.testing.assert_allclose(b.values, weight(6) + np.einsum("oikl,i->o", weight(6, 4, 3, 3), shift), rtol=1e-5)
    assert (w.name, b.name) == ("w", "b")


def test_groups() -> None:
    model = before_conv(f"{BN} y = Conv <group: int = 2> (a, w)", w=weight(6, 2, 3, 3))
    assert ops(check_pass(FuseBnConv(), model)[0]) == ["Conv"]


@pytest.mark.parametrize("operation", ["Mul(x, k)", "Mul(k, x)", "Div(x, k)"])
@pytest.mark.parametrize("shape", [(), (4, 1, 1), (1, 4, 1, 1)])
def test_scale_folds_even_where_the_conv_pads(operation: str, shape: tuple[int, ...]) -> None:
    model = before_conv(f"a = {operation} {PADDED}", k=positive(*shape, seed=5))
    after, _ = check_pass(FuseBnConv(), model)
    assert ops(after) == ["Conv"]
    assert len(after.graph.nodes[0].inputs) == 2


@pytest.mark.parametrize("operation", ["Add(x, k)", "Sub(x, k)", "Sub(k, x)"])
def test_shift_folds_where_it_does_not(operation: str) -> None:
    after, _ = check_pass(FuseBnConv(), before_conv(f"a = {operation} y = Conv(a, w)"))
    assert ops(after) == ["Conv"]


def test_pixels_to_their_range() -> None:
    """The difference stays in front of the padding, the quotient goes."""
    after, _ = check_pass(FuseBnConv(), before_conv(f"s = Sub(x, k) a = Div(s, k) {PADDED}"))
    assert ops(after) == ["Sub", "Conv"]


def test_sum_leaves_a_shared_weight_alone() -> None:
    model = before_conv("a = Add(x, k) y = Conv(a, w) z = Conv(x, w)", f"{OUTPUT}, float[N,6,4,5] z")
    first, second = check_pass(FuseBnConv(), model)[0].graph.nodes
    assert first.inputs[1] is second.inputs[1]


def test_shared_weight_is_copied() -> None:
    model = before_conv(f"{BN} y = Conv(a, w) z = Conv(x, w)", f"{OUTPUT}, float[N,6,4,5] z")
    after, _ = check_pass(FuseBnConv(), model)
    np.testing.assert_array_equal(after.graph.nodes[1].inputs[1].values, weight(6, 4, 3, 3))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (1,)])
@pytest.mark.parametrize("before", [BN, "a = Mul(x, k)", "a = Sub(k, x)"])
def test_gemm(transposed: int, bias: tuple[int, ...] | None, before: str) -> None:
    operands = "a, w" if bias is None else "a, w, b"
    body = f"{before} y = Gemm <transB: int = {transposed}, alpha: float = 0.5, beta: float = 3.0> ({operands})"
    weights = {"w": weight(5, 4) if transposed else weight(4, 5), "k": positive(4, seed=5)}
    if bias is not None:
        weights["b"] = weight(*bias, seed=6)
    after, _ = check_pass(FuseBnConv(), before_conv(body, "float[3,5] y", "float[3,4] x", **weights))
    assert ops(after) == ["Gemm"]


def test_gemm_with_a_bias_for_every_row_takes_a_scale() -> None:
    body = "a = Mul(x, k) y = Gemm(a, w, b)"
    model = before_conv(body, "float[3,5] y", "float[3,4] x", w=weight(4, 5), b=weight(3, 5), k=positive(4))
    assert ops(check_pass(FuseBnConv(), model)[0]) == ["Gemm"]


def half(variance: float) -> Model:
    body = f"{BN} y = Conv(a, w)"
    weights = {"w": weight(6, 4, 3, 3, dtype="float16"), **statistics(dtype="float16")}
    weights["variance"] = np.full(4, variance, np.float16)
    return before_conv(body, "float16[N,6,h,v] y", "float16[2,4,6,7] x", **weights)


def test_float16() -> None:
    after, _ = check_pass(FuseBnConv(), half(1.0), tolerance=5e-3)
    assert {tensor.dtype for tensor in after.graph.nodes[0].inputs[1:]} == {np.dtype(np.float16)}


def test_float16_must_not_underflow() -> None:
    model = half(1.0)
    for node in model.graph.nodes[:1]:
        node.inputs[1].values = np.full(4, 1e-6, np.float16)
    assert missed(run_pass(FuseBnConv(), model)) == ["the fused weight would lose precision in float16"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""r = If (p) <
        then_branch = t () => ({OUTPUT}) {{ {BN} y = Conv(a, w) }},
        else_branch = e () => (float[N,6,h,v] z) {{ z = Conv(x, w) }}
    >"""
    model = before_conv(text, "float[N,6,h,v] r", "bool p, float[2,4,6,7] x")
    after, _ = check_pass(FuseBnConv(), model, feeds={"p": np.array(True), "x": weight(2, 4, 6, 7)})
    then, other = (after.graph.nodes[0].attrs[name] for name in ("then_branch", "else_branch"))
    assert [node.op for node in then.nodes] == ["Conv"]
    np.testing.assert_array_equal(other.nodes[0].inputs[1].values, weight(6, 4, 3, 3))


ROWS = {"inputs": "float[4,4] x", "outputs": "float[4,5] y", "w": weight(4, 5), "k": positive(4)}


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        (f"{BN} y = Conv(a, w)", {"outputs": f"{OUTPUT}, float[2,4,6,7] a"}, "`a` is an output of the graph"),
        (f"{BN} y = Conv(a, w) z = Relu(a)", {"outputs": f"{OUTPUT}, float[2,4,6,7] z"}, "`a` has 2 users"),
        (f"{BN} {PADDED}", {}, "`y` pads with zeros, which a shift before it does not reach"),
        (
            f'{BN} y = Conv <auto_pad: string = "SAME_UPPER"> (a, w)',
            {"inputs": "float[2,4,H,7] x"},
            "the padding of `y` is SAME_UPPER, which is not known as numbers",
        ),
        (f"v = Neg(w) {BN} y = Conv(a, v)", {}, "`v` is not a constant"),
        (f"m = Neg(mean) {BN.replace('mean', 'm')} y = Conv(a, w)", {}, "`m` is not a constant"),
        (f"d = Neg(b) {BN} y = Conv(a, w, d)", {"b": weight(6)}, "`d` is not a constant"),
        (
            f"v = DequantizeLinear(q, s) {BN} y = Conv(a, v)",
            {"q": np.ones((6, 4, 3, 3), np.int8), "s": np.float32(0.5)},
            "`v` is quantized: fusing would lose its scale",
        ),
        (
            "l = DequantizeLinear(q, s) a = Mul(x, l) y = Conv(a, w)",
            {"q": np.ones((4, 1, 1), np.int8), "s": np.float32(0.5)},
            "`l` is quantized: fusing would lose its scale",
        ),
        (
            "a = Mul(x, k) y = Conv(a, w)",
            {"k": positive(7)},
            "`k` of shape [7] is neither a scalar nor one value per channel",
        ),
        (
            "a = Mul(x, k) y = Conv(a, w)",
            {"inputs": "float[2,1,6,7] x"},
            "`x` of shape [2, 1, 6, 7] is not known to have 4 channels",
        ),
        (
            "d = Div(x, k) e = Erf(d) f = Add(e, one) m = Mul(x, f) a = Mul(m, half) y = Conv(a, w)",
            {"one": np.float32(1), "half": np.float32(0.5)},
            "`a` is the last factor of a GELU",
        ),
        ("a = Mul(x, k) y = Gemm <transA: int = 1> (a, w)", ROWS, "`y` transposes its input"),
        (
            "a = Add(x, k) y = Gemm(a, w, b)",
            {**ROWS, "b": weight(4, 1)},
            "the bias `b` of shape [4, 1] is not one value per column",
        ),
    ],
)
def test_does_not_fire(body: str, changes: dict[str, Any], reason: str) -> None:
    model = before_conv(body, **changes)
    feeds = {"x": weight(2, 4, 6, 7)} if "H" in changes.get("inputs", "") else None
    after, result = check_pass(FuseBnConv(), model, feeds=feeds)
    assert missed(result) == [reason]
    assert not result.changed
    assert len(ops(after)) > 1


@pytest.mark.parametrize(
    ("divisor", "reason"),
    [(0.0, "the fused weight would not be finite in float32"), (1e-39, "the fused weight would not be finite")],
)
def test_overflow(divisor: float, reason: str) -> None:
    result = run_pass(FuseBnConv(), before_conv("a = Div(x, k) y = Conv(a, w)", k=np.float32(divisor)))
    assert missed(result)[0].startswith(reason)


@pytest.mark.parametrize("operation", ["Div(k, x)", "Mul(x, x)", "Relu(x)"])
def test_no_match(operation: str) -> None:
    _, result = check_pass(FuseBnConv(), before_conv(f"a = {operation} y = Conv(a, w)"))
    assert missed(result) == []
    assert not result.changed


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_conv(data: st.DataObject) -> None:
    groups, inputs, rank = (data.draw(st.integers(1, 3), what) for what in ("g", "in", "rank"))
    outputs = data.draw(st.integers(3, 4), "out")
    sizes, strides = (data.draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank), what) for what in "ks")
    channels, ones = groups * inputs, (1,) * rank
    lines = []
    for number in range(data.draw(st.integers(1, 3), "length")):
        source, target = f"x{number}" if number else "x", f"x{number + 1}"
        operation = data.draw(st.sampled_from(["Mul({}, k)", "Sub(k, {})", "Add({}, l)", "Div({}, l)", "norm"]))
        norm = "BatchNormalization <epsilon: float = 0.1> ({}, gamma, beta, mean, variance)"
        lines.append(f"{target} = {(norm if operation == 'norm' else operation).format(source)}")
    lines.append(f"y = Conv <group: int = {groups}, strides: ints = {strides}> ({target}, w)")
    image = ",".join(["3", str(channels), *["5"] * rank])
    output = ",".join(["N", str(groups * outputs), *(f"o{axis}" for axis in range(rank))])
    model = model_from(
        f"g (float[{image}] x) => (float[{output}] y) {{ {' '.join(lines)} }}",
        opset=data.draw(st.integers(13, 24), "opset"),
        w=weight(groups * outputs, inputs, *sizes),
        k=positive(channels, *ones, seed=1),
        l=positive(*data.draw(st.sampled_from([(), (1,), (1, channels, *ones)]), "shape"), seed=2),
        **statistics(channels),
    )
    after, _ = check_pass(FuseBnConv(), model)
    assert ops(after) == ["Conv"]
