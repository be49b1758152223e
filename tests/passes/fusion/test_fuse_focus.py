"""Space to depth -> Conv."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.fuse_focus import FuseFocus
from pruna_ir.testing import check_pass, missed, ops

END = np.iinfo(np.int64).max
# In YOLO's order: rows first.
STARTS = ((0, 0), (1, 0), (0, 1), (1, 1))
BODY = """
    s0 = Slice(x, b0, end, axes, steps) s1 = Slice(x, b1, end, axes, steps)
    s2 = Slice(x, b2, end, axes, steps) s3 = Slice(x, b3, end, axes, steps)
    f = Concat <axis: int = 1> (s0, s1, s2, s3)
"""
CONV = "y = Conv <pads: ints = [1, 1, 1, 1]> (f, w)"
OUTPUT = "float[1,5,4,6] y"


def focus(body: str = BODY + CONV, outputs: str = OUTPUT, image: str = "float[1,3,8,12]", **given: Any) -> Model:
    weights: dict[str, Any] = {f"b{number}": np.array(start) for number, start in enumerate(STARTS)}
    weights |= {"end": np.array([END, END]), "axes": np.array([2, 3]), "steps": np.array([2, 2])}
    return model_from(f"g ({image} x) => ({outputs}) {{ {body} }}", **{**weights, "w": weight(5, 12, 3, 3), **given})


def test_fires() -> None:
    after, result = check_pass(FuseFocus(), focus())
    assert ops(after) == ["Conv"]
    assert result.counts == {"fuse-focus": 1}
    (conv,) = after.graph.nodes
    assert conv.inputs[0] is after.graph.inputs[0]
    assert conv.inputs[1].shape == (5, 3, 6, 6)
    assert (conv.attrs["kernel_shape"], conv.attrs["strides"], conv.attrs["pads"]) == ([6, 6], [2, 2], [2] * 4)


def test_weight_is_rearranged() -> None:
    after, _ = check_pass(FuseFocus(), focus())
    before, found = weight(5, 12, 3, 3), after.graph.nodes[0].inputs[1].values
    for number, (row, column) in enumerate(STARTS):
        np.testing.assert_array_equal(found[:, :, row::2, column::2], before[:, 3 * number : 3 * number + 3])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2), (2, 3, 1, 0)])
def test_any_order_and_a_negative_axis(order: tuple[int, ...]) -> None:
    starts: dict[str, Any] = {f"b{number}": np.array(STARTS[which]) for number, which in enumerate(order)}
    after, _ = check_pass(FuseFocus(), focus(BODY.replace("= 1>", "= -3>") + CONV, axes=np.array([-2, -1]), **starts))
    assert ops(after) == ["Conv"]


def chained(shared: bool) -> str:
    """Rows are sliced before columns, once for each slice or once for both that have them in common."""
    rows = [f"r{number} = Slice(x, i{number % 2}, e, two, two)" for number in range(2 if shared else 4)]
    columns = [
        f"s{number} = Slice(r{number % 2 if shared else number}, i{number // 2}, e, three, two)" for number in range(4)
    ]
    return " ".join([*rows, *columns, "f = Concat <axis: int = 1> (s0, s1, s2, s3)", CONV])


CHAIN = {"i0": [0], "i1": [1], "e": [END], "two": [2], "three": [3]}


@pytest.mark.parametrize("shared", [True, False])
def test_chained_slices(shared: bool) -> None:
    weights: dict[str, Any] = {name: np.array(value) for name, value in CHAIN.items()}
    after, _ = check_pass(FuseFocus(), focus(chained(shared), **weights))
    assert ops(after) == ["Conv"]


def test_crop_before_the_slices_stays() -> None:
    body = "c = Slice(x, one, nine, axes) " + BODY.replace("(x,", "(c,") + CONV
    model = focus(body, image="float[1,3,10,14]", one=np.array([1, 1]), nine=np.array([9, 13]))
    after, _ = check_pass(FuseFocus(), model)
    assert ops(after) == ["Slice", "Conv"]


def test_slice_with_other_users_stays() -> None:
    after, _ = check_pass(FuseFocus(), focus(BODY + CONV + " z = Relu(s1)", f"{OUTPUT}, float[1,3,4,6] z"))
    assert sorted(ops(after)) == ["Conv", "Relu", "Slice"]


def test_slice_that_is_an_output_stays() -> None:
    after, _ = check_pass(FuseFocus(), focus(outputs=f"{OUTPUT}, float[1,3,4,6] s2"))
    assert sorted(ops(after)) == ["Conv", "Slice"]


def test_shared_weight_and_bias() -> None:
    body = BODY + "y = Conv <pads: ints = [1, 1, 1, 1]> (f, w, b) z = Conv(x2, w)"
    model = focus(
        body, f"{OUTPUT}, float[1,5,1,1] z", "float[1,12,3,3] x2, float[1,3,8,12]", b=weight(5), w=weight(5, 12, 3, 3)
    )
    after, _ = check_pass(FuseFocus(), model)
    np.testing.assert_array_equal(after.graph.nodes[1].inputs[1].values, weight(5, 12, 3, 3))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_by_name(mode: str, stride: int) -> None:
    conv = f'y = Conv <auto_pad: string = "{mode}", strides: ints = [{stride}, {stride}]> (f, w)'
    sizes = [-(-(size - 2 * (mode == "VALID")) // stride) for size in (4, 6)]
    after, _ = check_pass(FuseFocus(), focus(BODY + conv, f"float[1,5,{sizes[0]},{sizes[1]}] y"))
    assert ops(after) == ["Conv"]


def test_float16() -> None:
    model = focus(outputs="float16[1,5,4,6] y", image="float16[1,3,8,12]", w=weight(5, 12, 3, 3, dtype="float16"))
    after, _ = check_pass(FuseFocus(), model, tolerance=5e-3)
    assert after.graph.nodes[0].inputs[1].dtype == np.float16


def test_inside_of_a_sub_graph_with_slices_outside() -> None:
    slices, concat = BODY.split("f = ")
    text = f"""r = If (p) <
        then_branch = t () => ({OUTPUT}) {{ f = {concat} {CONV} }},
        else_branch = e () => (float[1,5,4,6] z) {{ z = Identity(zero) }}
    >"""
    model = focus(slices + text, "float[1,5,4,6] r", "bool p, float[1,3,8,12]", zero=weight(1, 5, 4, 6))
    after, _ = check_pass(FuseFocus(), model, feeds={"p": np.array(True), "x": weight(1, 3, 8, 12)})
    branch = after.graph.nodes[-1].attrs["then_branch"]
    assert [node.op for node in branch.nodes] == ["Conv"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"outputs": f"{OUTPUT}, float[1,12,4,6] f"}, "`f` is an output of the graph"),
        ({"body": BODY + CONV + " z = Relu(f)", "outputs": f"{OUTPUT}, float[1,12,4,6] z"}, "`f` has 2 users"),
        ({"body": BODY + "v = Neg(w) y = Conv(f, v)", "outputs": "float[1,5,2,4] y"}, "`v` is not a constant"),
        (
            {"body": BODY + "y = Conv <group: int = 2> (f, w)", "outputs": "float[1,6,2,4] y", "w": weight(6, 6, 3, 3)},
            "the Conv has 2 groups",
        ),
        (
            {"body": BODY + "y = Conv <dilations: ints = [1, 2]> (f, w)", "outputs": "float[1,5,2,2] y"},
            "the Conv is dilated",
        ),
        ({"b3": np.array([0, 0])}, "the slices of `x` are not all offsets of a block, each once"),
        ({"end": np.array([END, 10])}, "a slice of `x` ends before axis 3 does"),
        (
            {"steps": np.array([2, 1]), "end": np.array([END, 10]), "outputs": "float[1,5,4,10] y",
             "body": BODY.split("s2 =")[0] + "f = Concat <axis: int = 1> (s0, s1)" + CONV, "w": weight(5, 6, 3, 3)},
            "a slice of `x` ends before axis 3 does",
        ),
        ({"image": "float[1,3,9,12]", "end": np.array([8, END])}, "axis 2 of `x` is 9, no multiple of 2"),
        ({"image": "float[1,3,H,12]", "outputs": "float[1,5,h,6] y"}, "axis 2 of `x` is not known as a number"),
        (
            {"body": "b4 = Neg(b0) " + BODY.replace("b0,", "b4,") + CONV},
            "`b4` is not a constant",
        ),
        ({"steps": np.array([2, -2]), "end": np.array([END, -END])}, "the slices of `x` are not strided alike"),
    ],
)  # fmt: skip
def test_does_not_fire(changes: dict[str, Any], reason: str) -> None:
    model = focus(**changes)
    feeds = {"x": weight(1, 3, 8, 12)} if "H" in changes.get("image", "") else None
    after, result = check_pass(FuseFocus(), model, feeds=feeds)
    assert "Concat" in ops(after)
    assert missed(result) == [reason]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_block_kernel_and_padding(data: st.DataObject) -> None:
    block = data.draw(st.sampled_from([(2, 2), (3, 3), (1, 2), (4, 2)]), "block")
    numbers = [data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=2), what) for what in ("kernel", "stride")]
    extent, stride = numbers
    pads = data.draw(st.lists(st.integers(0, 2), min_size=4, max_size=4), "pads")
    blocks = data.draw(st.lists(st.integers(3, 4), min_size=2, max_size=2), "blocks")
    starts = data.draw(st.permutations(list(itertools.product(*map(range, block)))), "order")
    opset = data.draw(st.integers(13, 24), "opset")
    names = [f"s{number}" for number in range(len(starts))]
    body = [f"{name} = Slice(x, b{name}, end, axes, steps)" for name in names]
    body += [f"f = Concat <axis: int = 1> ({', '.join(names)})"]
    body += [f"y = Conv <pads: ints = {pads}, strides: ints = {stride}> (f, w)"]
    height, width = (count * step for count, step in zip(blocks, block, strict=True))
    model = model_from(
        f"g (float[N,2,{height},{width}] x) => (float[N,3,h,w2] y) {{ {' '.join(body)} }}",
        opset=opset,
        w=weight(3, 2 * len(starts), *extent),
        end=np.array([END, END]),
        axes=np.array([2, 3]),
        steps=np.array(block),
        **{f"bs{number}": np.array(start) for number, start in enumerate(starts)},
    )
    after, _ = check_pass(FuseFocus(), model)
    assert ops(after) == ["Conv"]


APART = "a = Reshape(x, apart)"
JOIN = "f = Reshape(t, joined)"


def unshuffled(order: list[int], body: str = CONV, outputs: str = OUTPUT, **changes: Any) -> Model:
    """Blocks of 2 x 3 moved into channels by a Reshape, a Transpose and a Reshape."""
    turn = f"t = Transpose <perm: ints = {order}> (a)"
    weights: dict[str, Any] = {
        "apart": np.array([1, 3, 4, 2, 4, 3]), "joined": np.array([1, 18, 4, 4]), "w": weight(5, 18, 3, 3),
    }  # fmt: skip
    text = f"g (float[1,3,8,12] x) => ({outputs}) {{ {APART} {turn} {JOIN} {body} }}"
    return model_from(text, **{**weights, **changes})


@pytest.mark.parametrize("order", [[0, 3, 5, 1, 2, 4], [0, 1, 3, 5, 2, 4]])
def test_pixel_unshuffle(order: list[int]) -> None:
    after, _ = check_pass(FuseFocus(), unshuffled(order, outputs="float[1,5,4,4] y"))
    assert ops(after) == ["Conv"]
    assert after.graph.nodes[0].inputs[1].shape == (5, 3, 6, 9)


@pytest.mark.parametrize("size", [2, 4])
def test_space_to_depth(size: int) -> None:
    text = f"""g (float[N,3,H,W] x) => (float[N,5,h,w2] y) {{
        f = SpaceToDepth <blocksize: int = {size}> (x) {CONV} }}"""
    case = model_from(text, w=weight(5, 3 * size**2, 3, 3))
    feeds = {"x": weight(2, 3, 8, 12)}
    assert ops(check_pass(FuseFocus(), case, feeds=feeds)[0]) == ["Conv"]


@pytest.mark.parametrize(
    ("order", "changes", "left"),
    [
        ([0, 5, 3, 1, 2, 4], {}, 4),
        ([0, 1, 3, 5, 2, 4], {"apart": np.array([1, 3, 2, 4, 4, 3]), "joined": np.array([1, 36, 2, 4]),
                              "w": weight(5, 36, 3, 3)}, 1),
        ([0, 1, 3, 5, 2, 4], {"apart": np.array([1, 3, 4, 3, 4, 2]), "joined": np.array([1, 18, 4, 4])}, 4),
        ([0, 1, 3, 5, 2, 4], {"joined": np.array([1, 18, 2, 8])}, 4),
    ],
)  # fmt: skip
def test_other_orders_and_sizes(order: list[int], changes: dict[str, Any], left: int) -> None:
    after, _ = check_pass(FuseFocus(), unshuffled(order, outputs="float[1,5,p,q] y", **changes))
    assert len(ops(after)) == left


def test_moved_blocks_with_other_users_stay() -> None:
    case = unshuffled([0, 1, 3, 5, 2, 4], f"{CONV} z = Neg(t)", "float[1,5,4,4] y, float[1,3,2,3,4,4] z")
    _, result = check_pass(FuseFocus(), case)
    assert missed(result) == ["`t` has 2 users"]


def gathered(order: list[int], axis: int = 1, image: str = "float[N,3,H,W]", before: str = "") -> Model:
    """The channels of SpaceToDepth or of a Reshape, a Transpose and a Reshape in another order -> Conv."""
    before = before or "f = SpaceToDepth <blocksize: int = 2> (x)"
    text = f"""g ({image} x) => (float[N,5,h,w2] y) {{
        {before} s = Gather <axis: int = {axis}> (f, order) {CONV.replace("(f", "(s")} }}"""
    return model_from(text, w=weight(5, len(order), 3, 3), order=np.array(order))


MIXED = [3, 0, 11, 6, -5, 1, 2, 10, 9, 4, 8, 5]
FEEDS = {"x": weight(2, 3, 8, 12)}


@pytest.mark.parametrize("axis", [1, -3])
def test_gathered_channels(axis: int) -> None:
    after, _ = check_pass(FuseFocus(), gathered(MIXED, axis), feeds=FEEDS)
    assert ops(after) == ["Conv"]


@pytest.mark.parametrize("order", ["0, 3, 5, 1, 2, 4", "0, 1, 3, 5, 2, 4"])
def test_gathered_channels_of_a_pixel_unshuffle(order: str) -> None:
    before = f"""
        apart = Constant <value = int64[6] {{2, 3, 4, 2, 6, 2}}> ()
        joined = Constant <value = int64[4] {{2, 12, 4, 6}}> ()
        a = Reshape(x, apart) t = Transpose <perm: ints = [{order}]> (a) f = Reshape(t, joined)
    """
    after, _ = check_pass(FuseFocus(), gathered(MIXED, image="float[2,3,8,12]", before=before))
    assert ops(after) == ["Conv"]


@pytest.mark.parametrize(
    ("order", "image"),
    [
        ([0] * 12, "float[N,3,H,W]"),  # one channel, many times
        (list(range(11)), "float[N,3,H,W]"),  # all but one
        (MIXED, "float[N,C,H,W]"),  # perhaps not all
    ],
)
def test_gathered_channels_that_are_not_all_stay(order: list[int], image: str) -> None:
    after, _ = check_pass(FuseFocus(), gathered(order, image=image), feeds=FEEDS)
    assert ops(after) == ["SpaceToDepth", "Gather", "Conv"]


def test_gathered_rows_stay() -> None:
    model = gathered(MIXED, 2, "float[1,3,24,12]")
    model.graph.nodes[-1].inputs[1].values = weight(5, 12, 1, 1)
    after, _ = check_pass(FuseFocus(), model, feeds={"x": weight(1, 3, 24, 12)})
    assert ops(after) == ["SpaceToDepth", "Gather", "Conv"]


def test_blocks_that_others_read_before_the_gather_stay() -> None:
    text = f"""g (float[1,3,8,12] x) => (float[1,5,4,6] y, float[1,12,4,6] z) {{
        f = SpaceToDepth <blocksize: int = 2> (x) z = Neg(f)
        s = Gather <axis: int = 1> (f, order) {CONV.replace("(f", "(s")} }}"""
    _, result = check_pass(FuseFocus(), model_from(text, w=weight(5, 12, 3, 3), order=np.array(MIXED)))
    assert missed(result) == ["`f` has 2 users"]
