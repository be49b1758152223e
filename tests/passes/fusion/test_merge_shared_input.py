"""Products of one tensor with several weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.merge_shared_input import MergeSharedInput
from pruna_ir.testing import check_pass, missed, ops

QKV = " ".join(f"m{name} = MatMul(x, w{name}) {name} = Add(m{name}, b{name})" for name in "qkv")
GEMMS = " ".join(f"{name} = Gemm(x, w{name}, b{name})" for name in "qkv")


def model(body: str, outputs: str, inputs: str = "float[2,5,192] x", depth: int = 192, **changes: Any) -> Model:
    weights: dict[str, Any] = {f"w{name}": weight(depth, 8, seed=seed) for seed, name in enumerate("qkv")}
    weights |= {f"b{name}": weight(8, seed=seed + 3) for seed, name in enumerate("qkv")}
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **{**weights, **changes})


def outputs(shape: str = "2,5,8", names: str = "qkv") -> str:
    return ", ".join(f"float[{shape}] {name}" for name in names)


def test_queries_keys_values() -> None:
    after, result = check_pass(MergeSharedInput(), model(QKV, outputs()))
    assert ops(after) == ["MatMul", "Add", "Split"]
    assert after.graph.nodes[0].inputs[1].shape == (192, 24)
    assert result.counts == {"merge-shared-input": 1}


@pytest.mark.parametrize(
    ("body", "changes", "left"),
    [
        (GEMMS, {}, ["Gemm", "Split"]),
        (GEMMS.replace(", bk", ""), {}, ["Gemm", "Split"]),
        (GEMMS.replace("Gemm", "Gemm <transB: int = 1>"), {f"w{name}": weight(8, 192) for name in "qkv"},
         ["Gemm", "Split"]),
        (GEMMS.replace("bk", "scalar"), {"scalar": weight(1)}, ["Gemm", "Split"]),
        (GEMMS, {"wq": weight(192, 3), "bq": weight(3)}, ["Gemm", "Split"]),
    ],
)  # fmt: skip
def test_gemms(body: str, changes: dict[str, Any], left: list[str]) -> None:
    shape = ", ".join(f"float[5,n{name}] {name}" for name in "qkv")
    after, _ = check_pass(MergeSharedInput(), model(body, shape, "float[5,192] x", **changes))
    assert ops(after) == left


def test_one_without_a_bias_leaves_the_adds() -> None:
    body = QKV.replace("Add(mk, bk)", "Neg(mk)")
    after, _ = check_pass(MergeSharedInput(), model(body, outputs()))
    assert ops(after) == ["MatMul", "Split", "Add", "Neg", "Add"]


def test_a_reader_between_the_results() -> None:
    body = "a = MatMul(x, wq) p = Neg(a) b = MatMul(x, wk) c = MatMul(x, wv) s = Add(b, c) q = Add(s, p)"
    after, _ = check_pass(MergeSharedInput(), model(body, outputs(names="q")))
    assert ops(after)[:2] == ["MatMul", "Split"]


def test_float16_and_symbolic_batch() -> None:
    changes: dict[str, Any] = {f"w{name}": weight(192, 8, dtype="float16") for name in "qkv"}
    changes |= {f"b{name}": weight(8, dtype="float16") for name in "qkv"}
    shape = outputs("N,L,8").replace("float", "float16")
    after, _ = check_pass(MergeSharedInput(), model(QKV, shape, "float16[N,L,192] x", **changes), tolerance=5e-3)
    assert ops(after) == ["MatMul", "Add", "Split"]


def test_convs_that_a_concat_joins() -> None:
    body = """a = Conv <pads: ints = [1, 1, 1, 1]> (x, w) b = Conv <pads: ints = [1, 1, 1, 1]> (x, v, c)
        y = Concat <axis: int = 1> (b, a)"""
    case = model_from(f"g (float[1,3,6,6] x) => (float[1,9,6,6] y) {{ {body} }}", w=weight(4, 3, 3, 3),
                      v=weight(5, 3, 3, 3, seed=1), c=weight(5))  # fmt: skip
    after, _ = check_pass(MergeSharedInput(), case)
    assert ops(after) == ["Conv"]


@pytest.mark.parametrize(
    ("body", "shape", "changes", "reason"),
    [
        ("q = MatMul(x, wq) k = MatMul(x, wk)", "qk", {}, "2 nodes would become 2"),
        (QKV, "qkv", {"depth": 64}, "a Split costs more than it saves where each value is a sum of 64 products"),
        (QKV + " m = MatMul(z, wk)", "qkvm", {}, "`wk` has 2 users"),
        (GEMMS.replace("Gemm(x, wk", "Gemm <alpha: float = 0.5> (x, wk"), "qkv", {}, "differ in more than"),
        (GEMMS.replace("bk", "wide"), "qkv", {"wide": weight(5, 8)}, "is not one value per column"),
    ],
)  # fmt: skip
def test_does_not_fire(body: str, shape: str, changes: dict[str, Any], reason: str) -> None:
    depth = changes.pop("depth", 192)
    rank = "5," if "Gemm" in body else "2,5,"
    inputs = f"float[{rank}{depth}] x, float[{rank}{depth}] z"
    _, result = check_pass(MergeSharedInput(), model(body, outputs(f"{rank}8", shape), inputs, depth, **changes))
    assert missed(result)
    assert all(reason in one for one in missed(result))
    assert not result.changed


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(x, w) b = Conv <group: int = 2> (x, v) y = Concat <axis: int = 1> (a, b)",
        "a = Conv(x, w) b = Conv(x, u) y = Concat <axis: int = 1> (a, b)",
        "a = Conv(x, w) b = Conv <pads: ints = [0, 0, 0, 0], strides: ints = [1, 1]> (x, u3) r = Relu(b) "
        "y = Concat <axis: int = 1> (a, r)",
        "a = Conv(x, w) b = Conv(x, u1) y = Add(a, b)",
    ],
)
def test_other_convs_stay(body: str) -> None:
    case = model_from(
        f"g (float[1,4,6,6] x) => (float[1,n,6,6] y) {{ {body} }}",
        w=weight(4, 4, 1, 1), v=weight(4, 2, 1, 1), u=weight(4, 4, 1, 1), u1=weight(4, 4, 1, 1), u3=weight(4, 4, 1, 1),
    )  # fmt: skip
    _, result = check_pass(MergeSharedInput(), case)
    assert result.changed == ("(x, u)" in body)


def test_inside_of_a_sub_graph() -> None:
    body = f"""y = If (p) <
        then_branch = a () => (float[2,5,8] r) {{ {QKV} s = Add(q, k) r = Add(s, v) }},
        else_branch = b () => (float[2,5,8] t) {{ t = MatMul(x, other) }}
    >"""
    case = model(body, "float[2,5,8] y", "float[2,5,192] x, bool p", other=weight(192, 8))
    feeds = {"p": np.array(True), "x": weight(2, 5, 192)}
    after, _ = check_pass(MergeSharedInput(), case, feeds=feeds)
    branch = after.graph.nodes[0].attrs["then_branch"]
    assert [node.op for node in branch.nodes] == ["MatMul", "Add", "Split", "Add", "Add"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.booleans(), st.integers(13, 24))
def test_any_sizes(sizes: list[int], biased: bool, opset: int) -> None:
    names = [f"y{place}" for place in range(len(sizes))]
    lines = (f"m{name} = MatMul(x, w{name}) {name} = {'Add' if biased else 'Max'}(m{name}, b{name})" for name in names)
    weights: dict[str, Any] = {
        f"w{name}": weight(192, size, seed=size) for name, size in zip(names, sizes, strict=True)
    }
    weights |= {f"b{name}": weight(size, seed=size) for name, size in zip(names, sizes, strict=True)}
    declared = ", ".join(f"float[3,{size}] {name}" for name, size in zip(names, sizes, strict=True))
    text = f"g (float[3,192] x) => ({declared}) {{ {' '.join(lines)} }}"
    after, result = check_pass(MergeSharedInput(), model_from(text, opset=opset, **weights))
    assert result.changed == (biased or len(sizes) > 2)
    assert ops(after).count("MatMul") == (1 if result.changed else len(sizes))
