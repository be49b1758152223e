"""Sums of Convs, BatchNormalizations and copies of one tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.merge_parallel_branches import MergeParallelBranches
from pruna_ir.testing import check_pass, missed, ops, run_pass

WIDE = "c = Conv <pads: ints = [1, 1, 1, 1]> (x, w)"
NARROW = "d = Conv(x, v)"
NORM = "n = BatchNormalization(x, gamma, beta, mean, variance)"
OUTPUT = "float[2,4,6,7] y"


def statistics(channels: int = 4) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        name: weight(channels, seed=seed) for seed, name in enumerate(("gamma", "beta", "mean"), 1)
    }
    return {**drawn, "variance": positive(channels, seed=4)}


def branches(
    body: str = f"{WIDE} {NARROW} y = Add(c, d)",
    outputs: str = OUTPUT,
    inputs: str = "float[2,4,6,7] x",
    **extra: Any,
) -> Model:
    weights = {"w": weight(4, 4, 3, 3), "v": weight(4, 4, 1, 1, seed=6), "b": weight(4, seed=7), **statistics()}
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", **{**weights, **extra})


@pytest.mark.parametrize(
    "body",
    [
        f"{WIDE} {NARROW} y = Add(c, d)",
        f"{WIDE} {NARROW} y = Add(d, c)",
        f"{WIDE} {NORM} y = Add(c, n)",
        f"{WIDE} y = Add(x, c)",
        f"{NARROW} y = Add(d, x)",
        f"{WIDE} e = Conv <pads: ints = [1, 1, 1, 1]> (x, w, b) y = Add(c, e)",
        f"{WIDE} d = Conv(x, v, b) y = Add(c, d)",
        f'c = Conv <auto_pad: string = "SAME_UPPER"> (x, w) {NARROW} y = Add(c, d)',
    ],
)
def test_fires(body: str) -> None:
    after, result = check_pass(MergeParallelBranches(), branches(body))
    assert ops(after) == ["Conv"]
    assert result.counts == {"merge-parallel-branches": 1}


def test_repvgg_block() -> None:
    body = f"{WIDE} {NARROW} {NORM} s = Add(c, d) t = Add(s, n) y = Relu(t)"
    after, result = check_pass(MergeParallelBranches(), branches(body))
    assert ops(after) == ["Conv", "Relu"]
    assert result.counts == {"merge-parallel-branches": 2}


def test_weights_are_the_sum() -> None:
    after, _ = check_pass(MergeParallelBranches(), branches())
    expected = weight(4, 4, 3, 3)
    expected[:, :, 1:2, 1:2] += weight(4, 4, 1, 1, seed=6)
    np.testing.assert_allclose(after.graph.nodes[0].inputs[1].values, expected, rtol=1e-6)


def test_stride_and_groups() -> None:
    attributes = "group: int = 2, strides: ints = [2, 1]"
    body = f"c = Conv <{attributes}, pads: ints = [1, 1, 1, 1]> (x, w) d = Conv <{attributes}> (x, v) y = Add(c, d)"
    model = branches(body, "float[2,4,3,7] y", w=weight(4, 2, 3, 3), v=weight(4, 2, 1, 1))
    assert ops(check_pass(MergeParallelBranches(), model)[0]) == ["Conv"]


def test_depthwise_with_identity() -> None:
    body = f"{WIDE.replace('<', '<group: int = 4, ')} y = Add(c, x)"
    assert ops(check_pass(MergeParallelBranches(), branches(body, w=weight(4, 1, 3, 3)))[0]) == ["Conv"]


def test_float16() -> None:
    weights: dict[str, Any] = {"w": weight(4, 4, 3, 3, dtype="float16"), "v": weight(4, 4, 1, 1, dtype="float16")}
    model = branches(outputs="float16[2,4,6,7] y", inputs="float16[2,4,6,7] x", **weights)
    after, _ = check_pass(MergeParallelBranches(), model, tolerance=5e-3)
    assert after.graph.nodes[0].inputs[1].dtype == np.float16


def test_shared_weight_is_copied() -> None:
    model = branches(f"{WIDE} {NARROW} y = Add(c, d) z = Conv(x, w)", f"{OUTPUT}, float[2,4,4,5] z")
    after, _ = check_pass(MergeParallelBranches(), model)
    np.testing.assert_array_equal(after.graph.nodes[1].inputs[1].values, weight(4, 4, 3, 3))


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        (f"{WIDE} {NARROW} y = Add(c, d)", {"outputs": f"{OUTPUT}, float[2,4,6,7] c"}, "`c` is an output of the graph"),
        (f"{WIDE} {NARROW} y = Add(c, d) z = Relu(d)", {"outputs": f"{OUTPUT}, float[2,4,6,7] z"}, "`d` has 2 users"),
        (f"{WIDE} {NORM} y = Add(c, n) z = Relu(n)", {"outputs": f"{OUTPUT}, float[2,4,6,7] z"}, "`n` has 2 users"),
        (f"u = Neg(w) {WIDE.replace('w', 'u')} {NARROW} y = Add(c, d)", {}, "`u` is not a constant"),
        (f"{WIDE} u = Neg(v) d = Conv(x, u) y = Add(c, d)", {}, "`u` is not a constant"),
        (f"m = Neg(mean) {WIDE} {NORM.replace('mean', 'm')} y = Add(c, n)", {}, "`m` is not a constant"),
        (
            f"{WIDE} u = DequantizeLinear(q, s) d = Conv(x, u) y = Add(c, d)",
            {"q": np.ones((4, 4, 1, 1), np.int8), "s": np.float32(0.5)},
            "`u` is quantized: fusing would lose its scale",
        ),
        (
            f"{WIDE} d = Conv <group: int = 2> (x, v) y = Add(c, d)",
            {"v": weight(4, 2, 1, 1)},
            "the Convs differ in stride or groups",
        ),
        (
            f"{WIDE.replace('1, 1, 1, 1', '2, 2, 2, 2').replace('<', '<dilations: ints = [2, 2], ')} y = Add(c, x)",
            {},
            "a Conv is dilated",
        ),
        (
            f"{WIDE.replace('w', 'u1')} y = Add(c, x)",
            {"u1": weight(1, 4, 3, 3)},
            "the Conv changes the size or the number of channels",
        ),
        (f"{WIDE} d = Conv(x, v1) y = Add(c, d)", {"v1": weight(1, 4, 1, 1)}, "the Convs differ in their channels"),
        (
            "c = Conv <pads: ints = [0, 1, 2, 1]> (x, w) d = Conv <pads: ints = [1, 0, 1, 0]> (x, tall) y = Add(c, d)",
            {"tall": weight(4, 4, 3, 1)},
            "the kernels do not lie over each other on axis 2",
        ),
    ],
)
def test_does_not_fire(body: str, changes: dict[str, Any], reason: str) -> None:
    _, result = check_pass(MergeParallelBranches(), branches(body, **changes))
    assert missed(result) == [reason]
    assert not result.changed


@pytest.mark.parametrize("body", ["y = Add(x, x)", f"{WIDE} y = Add(c, c)", f"{WIDE} r = Relu(x) y = Add(c, r)"])
def test_no_match(body: str) -> None:
    _, result = check_pass(MergeParallelBranches(), branches(body))
    assert missed(result) == []


def test_overflow() -> None:
    large = np.full((4, 4, 1, 1), 3e38, np.float32)
    result = run_pass(MergeParallelBranches(), branches(w=np.full((4, 4, 3, 3), 3e38, np.float32), v=large))
    assert missed(result) == ["the fused weight would not be finite in float32"]


def test_inside_of_a_sub_graph() -> None:
    text = f"""r = If (p) <
        then_branch = t () => ({OUTPUT}) {{ {WIDE} {NARROW} y = Add(c, d) }},
        else_branch = e () => (float[2,4,6,7] z) {{ z = Conv(x, v) }}
    >"""
    model = branches(text, "float[2,4,6,7] r", "bool p, float[2,4,6,7] x")
    after, _ = check_pass(MergeParallelBranches(), model, feeds={"p": np.array(True), "x": weight(2, 4, 6, 7)})
    assert [node.op for node in after.graph.nodes[0].attrs["then_branch"].nodes] == ["Conv"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_kernels(data: st.DataObject) -> None:
    rank, groups, inputs = (data.draw(st.integers(1, 2), what) for what in ("rank", "groups", "inputs"))
    outputs = 3 * groups
    before, small, after = (data.draw(st.lists(st.integers(low, 2), min_size=rank, max_size=rank)) for low in (0, 1, 0))
    pads = data.draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank), "pads")
    strides = data.draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank), "strides")
    shared = f"group: int = {groups}, strides: ints = {strides}"
    wide = [pad + more for pad, more in zip(pads, before + after, strict=True)]
    order = data.draw(st.permutations(["c", "d"]), "order")
    body = f"c = Conv <{shared}, pads: ints = {wide}> (x, w) d = Conv <{shared}, pads: ints = {pads}> (x, v, b)"
    image = ",".join(["3", str(groups * inputs), *["6"] * rank])
    output = ",".join(["3", str(outputs), *(f"o{axis}" for axis in range(rank))])
    model = model_from(
        f"g (float[{image}] x) => (float[{output}] y) {{ {body} y = Add({', '.join(order)}) }}",
        opset=data.draw(st.integers(13, 24), "opset"),
        w=weight(outputs, inputs, *(sum(parts) for parts in zip(before, small, after, strict=True))),
        v=weight(outputs, inputs, *small, seed=1),
        b=weight(outputs, seed=2),
    )
    after_pass, _ = check_pass(MergeParallelBranches(), model)
    assert ops(after_pass) == ["Conv"]
