"""Strided slices of one image -> Concat."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_focus import FuseFocus
from pruna_ir.passes.fusion.layout.fuse_space_to_depth import FuseSpaceToDepth
from pruna_ir.testing import check_pass, missed, ops

END = np.iinfo(np.int64).max
# SpaceToDepth's own order, and YOLO's: rows first.
BY_ROWS = ((0, 0), (0, 1), (1, 0), (1, 1))
YOLO = ((0, 0), (1, 0), (0, 1), (1, 1))
BODY = """
    s0 = Slice(x, b0, end, axes, steps) s1 = Slice(x, b1, end, axes, steps)
    s2 = Slice(x, b2, end, axes, steps) s3 = Slice(x, b3, end, axes, steps)
"""
JOIN = "y = Concat <axis: int = 1> (s0, s1, s2, s3)"
OUTPUT = "float[1,12,4,6] y"
IMAGE = "float[1,3,8,12]"


def sliced(
    body: str = BODY + JOIN,
    outputs: str = OUTPUT,
    image: str = IMAGE,
    order: tuple[tuple[int, ...], ...] = YOLO,
    **given: Any,
) -> Model:
    weights: dict[str, Any] = {f"b{number}": np.array(start) for number, start in enumerate(order)}
    weights |= {"end": np.array([END, END]), "axes": np.array([2, 3]), "steps": np.array([2, 2])}
    return model_from(f"g ({image} x) => ({outputs}) {{ {body} }}", **{**weights, **given})


def test_order_of_rows_needs_no_gather() -> None:
    after, result = check_pass(FuseSpaceToDepth(), sliced(order=BY_ROWS), tolerance=0)
    assert ops(after) == ["SpaceToDepth"]
    assert after.graph.nodes[0].attrs["blocksize"] == 2
    assert result.counts == {"fuse-space-to-depth": 1}


def test_other_order_gathers_channels() -> None:
    after, _ = check_pass(FuseSpaceToDepth(), sliced(), tolerance=0)
    assert ops(after) == ["SpaceToDepth", "Gather"]
    blocks, gather = after.graph.nodes
    assert blocks.outputs[0].shape == [1, 12, 4, 6]
    assert gather.attrs["axis"] == 1
    assert gather.inputs[1].dtype == np.int64
    assert gather.inputs[1].values.tolist() == [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("backwards", [False, True])
def test_any_size_of_block(size: int, backwards: bool) -> None:
    starts = sorted(itertools.product(range(size), repeat=2), reverse=backwards)
    names = [f"s{number}" for number in range(len(starts))]
    body = " ".join(f"{name} = Slice(x, c{name}, end, axes, steps)" for name in names)
    given: dict[str, Any] = {f"cs{number}": np.array(start) for number, start in enumerate(starts)}
    model = sliced(
        f"{body} y = Concat <axis: int = -3> ({', '.join(names)})",
        f"float[N,{2 * size**2},2,4] y",
        f"float[N,2,{2 * size},{4 * size}]",
        axes=np.array([-2, -1]),
        steps=np.array([size, size]),
        **given,
    )
    after, _ = check_pass(FuseSpaceToDepth(), model, tolerance=0)
    assert ops(after) == ["SpaceToDepth", "Gather"][: 1 + backwards]


CHAINED = """
    r0 = Slice(x, zero, far, two, step) r1 = Slice(x, one, far, two, step)
    s0 = Slice(r0, zero, far, three, step) s1 = Slice(r1, zero, far, three, step)
    s2 = Slice(r0, one, far, three, step) s3 = Slice(r1, one, far, three, step)
"""
CHAIN: dict[str, Any] = {
    "zero": np.array([0]), "one": np.array([1]), "far": np.array([END]),
    "two": np.array([2]), "three": np.array([3]), "step": np.array([2]),
}  # fmt: skip


def test_chained_slices() -> None:
    after, _ = check_pass(FuseSpaceToDepth(), sliced(CHAINED + JOIN, **CHAIN), tolerance=0)
    assert ops(after) == ["SpaceToDepth", "Gather"]


@pytest.mark.parametrize(("dtype", "name"), [("float64", "double"), ("uint8", "uint8"), ("int8", "int8")])
def test_other_types(dtype: str, name: str) -> None:
    model = sliced(outputs=f"{name}[1,12,4,6] y", image=f"{name}[1,3,8,12]")
    feeds = {"x": np.arange(288).reshape(1, 3, 8, 12).astype(dtype)}
    after, _ = check_pass(FuseSpaceToDepth(), model, feeds=feeds, tolerance=0)
    assert ops(after) == ["SpaceToDepth", "Gather"]


def test_number_of_channels_matters_to_the_gather_only() -> None:
    image, outputs, feeds = "float[N,C,8,12]", "float[N,c,4,6] y", {"x": weight(2, 3, 8, 12)}
    after, _ = check_pass(FuseSpaceToDepth(), sliced(image=image, outputs=outputs, order=BY_ROWS), feeds=feeds)
    assert ops(after) == ["SpaceToDepth"]
    after, result = check_pass(FuseSpaceToDepth(), sliced(image=image, outputs=outputs), feeds=feeds)
    assert missed(result) == ["axis 1 of `x` is not known as a number"]


def test_not_finite_values_are_moved() -> None:
    image = weight(1, 3, 8, 12)
    image[0, 0, 1, 2], image[0, 2, 3, 4], image[0, 1, 7, 11] = np.nan, np.inf, -np.inf
    after, _ = check_pass(FuseSpaceToDepth(), sliced(), feeds={"x": image})
    assert ops(after) == ["SpaceToDepth", "Gather"]


def test_slice_with_other_users_stays_if_nodes_are_saved() -> None:
    model = sliced(f"{BODY} {JOIN} z = Relu(s1)", f"{OUTPUT}, float[1,3,4,6] z, float[1,3,4,6] s2")
    after, _ = check_pass(FuseSpaceToDepth(), model, tolerance=0)
    assert sorted(ops(after)) == ["Gather", "Relu", "Slice", "Slice", "SpaceToDepth"]


@pytest.mark.parametrize(("order", "fires"), [(BY_ROWS, True), (YOLO, False)])
def test_saves_a_node_or_does_nothing(order: tuple[tuple[int, ...], ...], fires: bool) -> None:
    part = "float[1,3,4,6]"
    model = sliced(outputs=f"{OUTPUT}, {part} s0, {part} s1, {part} s2", order=order)
    after, result = check_pass(FuseSpaceToDepth(), model, tolerance=0)
    assert ("SpaceToDepth" in ops(after)) == fires
    assert missed(result) == ([] if fires else ["others read the slices of `x`: 2 nodes instead of 2"])


def test_rows_that_others_read_stay() -> None:
    model = sliced(f"{CHAINED} {JOIN} z = Relu(r0)", f"{OUTPUT}, float[1,3,4,12] z", **CHAIN)
    after, _ = check_pass(FuseSpaceToDepth(), model, tolerance=0)
    assert sorted(ops(after)) == ["Gather", "Relu", "Slice", "SpaceToDepth"]


def test_slices_outside_of_a_sub_graph_stay() -> None:
    text = f"""r = If (p) <
        then_branch = t () => ({OUTPUT}) {{ {JOIN} }},
        else_branch = e () => (float[1,12,4,6] z) {{ z = Identity(zero) }}
    >"""
    model = sliced(BODY + text, "float[1,12,4,6] r", "bool p, float[1,3,8,12]", zero=weight(1, 12, 4, 6))
    _, result = check_pass(FuseSpaceToDepth(), model, feeds={"p": np.array(True), "x": weight(1, 3, 8, 12)})
    assert missed(result) == ["others read the slices of `x`: 2 nodes instead of 1"]


COLUMNS = """
    s0 = Slice(x, zero, far, three, step) s1 = Slice(x, one, far, three, step) y = Concat <axis: int = 1> (s0, s1)
"""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": BODY + JOIN.replace("= 1", "= 2"), "outputs": "float[1,3,16,6] y"}, "`y` does not join channels"),
        (
            {"image": "float[1,3,8,12,2]", "outputs": "float[1,12,4,6,2] y"},
            "`x` has 5 axes, not 4",
        ),
        (
            {"image": "float16[1,3,8,12]", "outputs": "float16[1,12,4,6] y"},
            "`x` is float16, of which there is no SpaceToDepth",
        ),
        (
            {"image": "int64[1,3,8,12]", "outputs": "int64[1,12,4,6] y"},
            "`x` is int64, of which there is no SpaceToDepth",
        ),
        (
            {"body": COLUMNS, "outputs": "float[1,6,8,6] y", **CHAIN},
            "blocks of 1 x 2 are not square",
        ),
        ({"b3": np.array([0, 0])}, "the slices of `x` are not all offsets of a block, each once"),
        ({"end": np.array([END, 10])}, "a slice of `x` ends before axis 3 does"),
        ({"image": "float[1,3,9,12]", "end": np.array([8, END])}, "axis 2 of `x` is 9, no multiple of 2"),
        ({"image": "float[1,3,H,12]", "outputs": "float[1,12,h,6] y"}, "axis 2 of `x` is not known as a number"),
        ({"body": f"b4 = Neg(b0) {BODY.replace('b0,', 'b4,')} {JOIN}"}, "`b4` is not a constant"),
        ({"steps": np.array([1, 1]), "order": ((0, 0),) * 4, "outputs": "float[1,12,8,12] y"},
         "the slices of `x` are not strided alike"),
        ({"axes": np.array([1, 3]), "image": "float[1,4,8,12]", "outputs": "float[1,8,8,6] y"},
         "`x` is not sliced in space only"),
    ],
)  # fmt: skip
def test_does_not_fire(changes: dict[str, Any], reason: str) -> None:
    feeds = {"x": weight(1, 3, 8, 12)} if "H" in changes.get("image", "") else None
    after, result = check_pass(FuseSpaceToDepth(), sliced(**changes), feeds=feeds)
    assert "SpaceToDepth" not in ops(after)
    assert missed(result) == [reason]


def test_parts_that_are_no_slices_of_one_tensor() -> None:
    body = BODY.replace("s3 = Slice(x,", "v = Neg(x) s3 = Slice(v,") + JOIN
    _, result = check_pass(FuseSpaceToDepth(), sliced(body))
    assert (result.counts, missed(result)) == ({}, [])


def test_conv_behind_reads_the_image_after_both_rules() -> None:
    model = sliced(
        BODY + JOIN.replace("y =", "f =") + " y = Conv(f, w)", "float[1,5,2,4] y", w=weight(5, 12, 3, 3)
    )  # fmt: skip
    joined, _ = check_pass(FuseSpaceToDepth(), model)
    assert ops(joined) == ["SpaceToDepth", "Gather", "Conv"]
    at_once, _ = check_pass(FuseFocus(), model)
    after, _ = check_pass(FuseFocus(), joined)
    assert ops(after) == ["Conv"]
    np.testing.assert_array_equal(after.graph.nodes[0].inputs[1].values, at_once.graph.nodes[0].inputs[1].values)
