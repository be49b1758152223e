"""Shape arithmetic with symbolic dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.simplify.dead_code import DeadCode
from pruna_ir.passes.simplify.fold_shapes import FoldShapes
from pruna_ir.testing import check_pass, largest_difference, missed, ops, run_pass

X = "float[n,8,h,w] x"
# Sizes of x that every result is compared on.
SHAPES = [(2, 8, 6, 4), (1, 8, 1, 1), (3, 8, 2, 6)]
NUMBERS: dict[str, Any] = {f"i{number}": np.array(number) for number in range(5)} | {
    f"v{number}".replace("-", "m"): np.array([number]) for number in (-1, 0, 1, 2, 3, 4, 8)
}


def check(body: str, output: str, *, opset: int = 17, **constants: Any) -> tuple[Model, dict[str, int]]:
    """Fold the shapes of a graph, and compare it on several sizes of `x`."""
    model = model_from(f"g ({X}) => ({output}) {{ {body} }}", opset=opset, **NUMBERS, **constants)
    run_pass(DeadCode(), model)  # what a test does not use of SIZES
    after, result = check_pass(FoldShapes(), model, feeds={"x": weight(*SHAPES[0])})
    for shape in SHAPES[1:]:
        assert largest_difference(model, after, {"x": weight(*shape)}) == 0
    return after, result.counts


def target(model: Model, op: str = "Reshape", index: int = 1) -> list[int] | None:
    """The constant that the first node of an operator reads."""
    node = next(node for node in model.graph.nodes if node.op == op)
    tensor = node.inputs[index]
    return tensor.values.tolist() if isinstance(tensor, gs.Constant) else None


SIZES = "s = Shape(x) n = Gather(s, v0) c = Gather(s, v1) h = Gather(s, v2) w = Gather(s, v3)"


def reshaped(computation: str) -> tuple[Model, dict[str, int]]:
    """`x` in the shape `t`, which is computed."""
    return check(f"{SIZES} {computation} r = Reshape(x, t) y = Flatten <axis = 0> (r)", "float[1,m] y")


@pytest.mark.parametrize(
    ("computation", "expected"),
    [
        ("t = Concat <axis = 0> (n, vm1)", [0, -1]),
        ("d = Div(c, v2) p = Mul(h, w) t = Concat <axis = 0> (n, v2, d, p)", [0, 2, 4, -1]),
        ("t = Concat <axis = 0> (n, c, h, w)", [0, 8, 0, 0]),
        ("t = Concat <axis = 0> (n, vm1, h, w)", [0, -1, 0, 0]),
        ("m = ReduceProd (s) a = Div(m, n) b = Div(a, h) d = Div(b, w) t = Concat <axis = 0> (vm1, d)", [-1, 8]),
    ],
)
def test_target_is_constant(computation: str, expected: list[int]) -> None:
    after, _ = reshaped(computation)
    assert ops(after) == ["Reshape", "Flatten"]
    assert target(after) == expected


@pytest.mark.parametrize(
    "computation",
    [
        "t = Concat <axis = 0> (n, c, w, h)",
        "p = Mul(c, h) t = Concat <axis = 0> (n, p, w)",
        "a = Mul(n, c) b = Mul(h, w) t = Concat <axis = 0> (a, b)",
        "a = Mul(n, h) t = Concat <axis = 0> (a, vm1)",
    ],
)
def test_two_unknown_dimensions_stay(computation: str) -> None:
    assert target(reshaped(computation)[0]) is None


def test_says_what_is_not_known() -> None:
    body = f"{SIZES} p = Mul(c, h) t = Concat <axis = 0> (n, p, w) r = Reshape(x, t) y = Relu(r)"
    model = model_from(f"g ({X}) => (float[a,b,c] y) {{ {body} }}", **NUMBERS)
    _, result = check_pass(FoldShapes(), model, feeds={"x": weight(*SHAPES[0])})
    assert missed(result) == ["3 of the 3 sizes in `t` are not known"]


def test_says_that_the_rank_is_not_known() -> None:
    body = "s = Shape(x) q = Reshape(x, t) z = ReduceMax(q) y = Squeeze(z) u = Add(s, t)"
    model = model_from(f"g (float[n,4] x, int64[k] t) => (float y) {{ {body} }}")
    _, result = check_pass(FoldShapes(), model, feeds={"x": weight(3, 4), "t": np.array([4, 3])})
    assert missed(result) == ["how many sizes `t` holds is not known"]


def test_computed_once_and_read_in_one_piece() -> None:
    body = f"""{SIZES}
        a = Relu(x) s2 = Shape(a) h2 = Gather(s2, v2) w2 = Gather(s2, v3) n2 = Gather(s2, v0)
        t = Concat <axis = 0> (h, w) u = Concat <axis = 0> (h2, w2)
        k = ConstantOfShape(t) l = ConstantOfShape(u) m = Add(k, l) y = Add(a, m)
    """
    after, counts = check(body, "float[n,8,h,w] y")
    assert ops(after) == ["Relu", "Shape", "ConstantOfShape", "ConstantOfShape", "Add", "Add"]
    assert counts["shapes read in one piece"] == 1
    shape = after.graph.nodes[1]
    assert (shape.inputs[0].name, shape.attrs["start"], shape.attrs["end"]) == ("x", 2, 4)


def test_shape_has_no_parts_before_opset_15() -> None:
    body = f"{SIZES} t = Concat <axis = 0> (h, w) k = ConstantOfShape(t) y = Add(x, k)"
    after, _ = check(body, "float[n,8,h,w] y", opset=14)
    assert ops(after) == ["Shape", "Gather", "Gather", "Concat", "ConstantOfShape", "Add"]


def test_dimension_of_a_convolution() -> None:
    """(h - 1) / 2 + 1 is what a convolution of stride 2 leaves of h."""
    body = """a = Conv <pads = [1,1,1,1], strides = [2,2]> (x, kernel) s = Shape(x) d = Gather(s, i2) e = Gather(s, i3)
        f = Sub(d, i1) g = Div(f, i2) b = Add(g, i1) j = Sub(e, i1) k = Div(j, i2) l = Add(k, i1)
        o = Unsqueeze(b, v0) p = Unsqueeze(l, v0) t = Concat <axis = 0> (o, p) q = ConstantOfShape(t) y = Add(a, q)"""
    after, _ = check(body, "float[n,3,k,l] y", kernel=weight(3, 8, 3, 3))
    assert ops(after) == ["Conv", "Shape", "ConstantOfShape", "Add"]
    assert after.graph.nodes[1].inputs[0].name == "a"


def test_reads_the_shape_where_nothing_is_kept_from_fusing() -> None:
    body = """a = Conv <strides = [2,2]> (x, kernel) b = Relu(a) s = Shape(a) t = Slice(s, v2, v4)
        k = ConstantOfShape(t) y = Add(b, k)"""
    after, _ = check(body, "float[n,3,k,l] y", kernel=weight(3, 8, 1, 1))
    shape = next(node for node in after.graph.nodes if node.op == "Shape")
    assert shape.inputs[0].name == "b"


def test_expand_need_not_name_what_it_keeps() -> None:
    body = f"{SIZES} a = ReduceMax <axes = [1]> (x) t = Concat <axis = 0> (n, v3, h, w) y = Expand(a, t)"
    after, _ = check(body, "float[n,3,h,w] y")
    assert target(after, "Expand") == [1, 3, 1, 1]


def test_expand_to_another_size_stays() -> None:
    after, _ = check("s = Shape(x) y = Expand(k, s)", "float[n,8,h,w] y", k=weight(1, 8, 1, 1))
    assert target(after, "Expand") is None


def test_slice_to_the_end() -> None:
    body = f"{SIZES} d = Add(h, v1) e = Concat <axis = 0> (w, d) y = Slice(x, z, e, a)"
    after, _ = check(body, "float[n,8,h,w] y", z=np.array([0, 0]), a=np.array([3, 2]))
    assert ops(after) == ["Slice"]
    assert target(after, "Slice", 2) == [np.iinfo(np.int64).max] * 2


def test_slice_to_somewhere_stays() -> None:
    after, _ = check(f"{SIZES} d = Div(h, v2) y = Slice(x, v0, d, v2)", "float[n,8,m,w] y")
    assert target(after, "Slice", 2) is None


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_to_multiples(mode: str) -> None:
    body = f"""{SIZES} a = Mul(h, v2) b = Mul(w, v3) t = Concat <axis = 0> (n, c, a, b)
        y = Resize <mode = "{mode}"> (x, "", "", t)"""
    after, _ = check(body, "float[n,8,p,q] y")
    assert ops(after) == ["Resize"]
    assert target(after, "Resize", 2) == [1, 1, 2, 3]
    assert len(after.graph.nodes[0].inputs) == 3


def test_resize_to_parts_stays() -> None:
    body = f'{SIZES} a = Add(h, v2) t = Concat <axis = 0> (n, c, a, w) y = Resize(x, "", "", t)'
    assert "Shape" in ops(check(body, "float[n,8,p,q] y")[0])


def test_where_over_a_shape() -> None:
    """What torch makes of `expand(-1, ...)`."""
    body = f"""{SIZES} t = Concat <axis = 0> (n, c, h, w) e = Equal(t, vm1)
        o = ConstantOfShape <value = int64[1] {{1}}> (v4)
        u = Where(e, o, t) a = Relu(x) y = Reshape(a, u)"""
    assert target(check(body, "float[n,8,h,w] y")[0]) == [0, 8, 0, 0]


def test_floats_on_the_way() -> None:
    body = """s = Shape(k) c = Gather(s, v0) f = Cast <to = 1> (c) m = Mul(f, half) d = Floor(m) i = Cast <to = 7> (d)
        t = Concat <axis = 0> (v0, i, vm1) y = Reshape(x, t)"""
    after, _ = check(body, "float[n,4,m] y", k=weight(8, 2), half=np.array([0.5], np.float32))
    assert target(after) == [0, 4, -1]


def test_input_that_says_a_shape_stays() -> None:
    body = "s = Shape(x) u = Mul(t, s) v = Div(u, s) y = Reshape(x, v)"
    model = model_from(f"g (float[n,4] x, int64[2] t) => (float[a,b] y) {{ {body} }}")
    _, result = check_pass(FoldShapes(), model, feeds={"x": weight(3, 4), "t": np.array([6, 2])})
    assert "shapes made constant" not in result.counts


def test_empty_tensors_keep_their_computed_shape() -> None:
    """What NonZero finds may be nothing, and then there is no size left to work out."""
    body = """i = NonZero(x) s = Shape(i) n = Gather(s, v1) a = Transpose(i) b = Unsqueeze(a, v2) c = Expand(b, e)
        d = Shape(c) f = Gather(d, v2) t = Concat <axis = 0> (n, v1, f, v2) y = Reshape(c, t)"""
    model = model_from(f"g (float[n,m] x, int64[3] e) => (int64[a,b,c,d] y) {{ {body} }}", **NUMBERS)
    feeds = {"x": np.zeros((2, 3), np.float32), "e": np.array([1, 2, 3])}
    after, _ = check_pass(FoldShapes(), model, feeds={**feeds, "x": weight(2, 3)})
    assert largest_difference(model, after, feeds) == 0


def test_output_keeps_its_computation() -> None:
    after, result = check_pass(FoldShapes(), model_from("g (float[n,4] x) => (int64[2] y) { y = Shape(x) }"))
    assert not result.changed
    assert ops(after) == ["Shape"]


def test_shapes_are_known_afterwards() -> None:
    body = "s = Shape(x) n = Gather(s, v0) t = Concat <axis = 0> (n, v2, vm1) r = Reshape(x, t) y = Relu(r)"
    model = model_from(f"g (float[n,8] x) => (float[a,b,c] y) {{ {body} }}", **NUMBERS)
    after, _ = check_pass(FoldShapes(), model, feeds={"x": weight(3, 8)})
    assert after.graph.nodes[0].outputs[0].shape[1:] == [2, 4]


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float[n,8] x) => (float[n,2,4] r) {
        s = Shape(x)
        r = If (p) <
            then_branch = t () => (float[n,2,4] y) {
                m = Gather(s, v0) a = Concat <axis = 0> (m, v2, v4) y = Reshape(x, a) },
            else_branch = e () => (float[n,2,4] z) { b = Relu(x) u = Shape(b) k = Gather(u, v0)
                c = Concat <axis = 0> (k, v2, v4) z = Reshape(b, c) }
        >
    }"""
    after, _ = check_pass(FoldShapes(), model_from(text, **NUMBERS), feeds={"p": np.array(True), "x": weight(3, 8)})
    branches = after.graph.nodes[-1].attrs
    assert [node.op for node in branches["then_branch"].nodes] == ["Reshape"]
    assert [node.op for node in branches["else_branch"].nodes] == ["Relu", "Reshape"]


def test_what_the_outer_graph_has_computed() -> None:
    text = """g (bool p, float[n,8] x) => (float[k] r) {
        s = Shape(x) m = Gather(s, v0) d = Add(m, v3) o = ConstantOfShape(d)
        r = If (p) <
            then_branch = t () => (float[k] y) { q = Shape(x) l = Gather(q, v0) e = Add(v3, l) y = ConstantOfShape(e) },
            else_branch = e () => (float[k] z) { z = Neg(o) }
        >
    }"""
    after, _ = check_pass(FoldShapes(), model_from(text, **NUMBERS), feeds={"p": np.array(True), "x": weight(3, 8)})
    assert [node.op for node in after.graph.nodes[-1].attrs["then_branch"].nodes] == ["ConstantOfShape"]


def test_equal_names_prove_nothing() -> None:
    body = "s = Shape(x) t = Shape(z) e = Equal(s, t) y = Cast <to = 1> (e)"
    model = model_from(f"g (float[n,n] x, float[n,n] z) => (float[2] y) {{ {body} }}")
    _, result = check_pass(FoldShapes(), model, feeds={"x": weight(2, 3), "z": weight(4, 2)})
    assert not result.changed


def test_no_shapes_nothing_to_do() -> None:
    model = model_from("g (float[n,4] x, int64[2] t) => (float[a,b] y) { y = Reshape(x, t) }")
    assert not check_pass(FoldShapes(), model, feeds={"x": weight(3, 4), "t": np.array([4, 3])})[1].changed


def test_shape_of_an_outer_tensor_is_read_in_one_piece() -> None:
    text = """g (bool p, float[n,8] x) => (float[k] r) {
        o = Relu(x)
        r = If (p) <
            then_branch = t () => (float[k] y) { s = Shape(o) m = Gather(s, v0) y = ConstantOfShape(m) },
            else_branch = e () => (float[k] z) { z = ConstantOfShape(v2) }
        >
    }"""
    after, _ = check_pass(FoldShapes(), model_from(text, **NUMBERS), feeds={"p": np.array(True), "x": weight(3, 8)})
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Shape", "ConstantOfShape"]
