"""From a graph to a program: what cannot be written, the border, types, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, codes, node, program
from onnx_text import model_from, weight

from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.program import Binding, Operator, Program, Tensor
from pruna_ir.backends.tflite.table import Entry, lowers, table
from pruna_ir.backends.tflite.tidying import tidy
from pruna_ir.diagnostics import PrunaError


def test_all_operators_that_cannot_be_written_are_named() -> None:
    text = "g (float[2,2] x, float[3,3] z) => (float y, float p, int64[2,k] n) { y = Det(x) p = Det(z) n = NonZero(x) }"
    with pytest.raises(PrunaError) as caught:
        lower(model_from(text))
    diagnostic = caught.value.diagnostic
    assert diagnostic.code == "E004" and diagnostic.message == "3 operators cannot be written for LiteRT"
    assert [note.split(":")[0] for note in diagnostic.notes] == [
        "`y` (Det, reads [2, 2])",
        "`p` (Det, reads [3, 3])",
        "`n` (NonZero, reads [2, 2])",
    ]


def test_a_form_that_cannot_be_written_is_named_with_its_reason() -> None:
    model = model_from("g (float[2,3] x, int64[4] p) => (float[2,3] y, float[2,3] z) { y = Relu(x) z = Pad(x, p) }")
    with pytest.raises(PrunaError, match="E004") as caught:
        lower(model)
    assert caught.value.diagnostic.message == "one operator cannot be written for LiteRT"
    assert "its padding is computed, and LiteRT needs a constant" in caught.value.diagnostic.notes[0]


def test_inputs_and_outputs_keep_their_order_and_names() -> None:
    made = program(model_from("g (float[2] b, float[2] a) => (float[2] z, float[2] y) { y = Sub(a, b) z = Neg(y) }"))
    assert [item.name for item in made.inputs] == ["b", "a"]
    assert [(item.name, item.tensor.name) for item in made.outputs] == [("z", "z"), ("y", "y")]


@pytest.mark.parametrize(
    "text",
    [
        "g (float[1,2,3] x) => (float[1,2,3] y) { y = Identity(x) }",
        "g (float[1,2,3] x) => (float[1,3,2] y, float[1,3,2] z) { y = Transpose<perm=[0,2,1]>(x) z = Identity(y) }",
        "g (float[1,2,3] x) => (float[2,3] y, float[1,2,3] z) { y = Squeeze(x) z = Relu(x) }",
    ],
)
def test_outputs_that_are_inputs_or_each_other_are_copied(text: str) -> None:
    agrees(model_from(text), {"x": weight(1, 2, 3)})


def test_an_output_that_is_a_constant() -> None:
    agrees(
        model_from("g (float[2] x) => (float[2] y, float[3] z) { y = Relu(x) z = Identity(c) }", c=weight(3)),
        {"x": weight(2)},
    )


def test_integers_of_64_bits_become_32() -> None:
    model, feeds = node("Add", np.array([1, 2], np.int64), Fixed([3, 4]))
    assert {tensor.dtype.name for tensor in program(model).tensors()} == {"int32"}
    agrees(model, feeds)


def test_constants_that_32_bits_do_not_hold_are_refused() -> None:
    model, _ = node("Add", np.array([1, 2], np.int64), Fixed([3, 2**40]))
    with pytest.raises(PrunaError, match="E004"):
        codes(model)


def test_doubles_and_halves_become_floats() -> None:
    for dtype in (np.float64, np.float16):
        model, _ = node("Add", weight(2, 3).astype(dtype), Fixed(weight(3), dtype))
        assert {tensor.dtype.name for tensor in program(model).tensors()} == {"float32"}


@pytest.mark.parametrize(("kind", "name"), [("bfloat16", "bfloat16"), ("string", "text"), ("float8e4m3fn", "float8")])
def test_types_that_a_file_does_not_hold_are_refused(kind: str, name: str) -> None:
    model = model_from(f"g ({kind}[2] x) => ({kind}[2] y) {{ y = Identity(x) }}", opset=19)
    with pytest.raises(PrunaError, match="E004") as caught:
        lower(model)
    assert f"LiteRT does not compute with {name}" in caught.value.diagnostic.notes[0]


def test_weights_of_four_bits_become_floats() -> None:
    import ml_dtypes

    text = "g (float[2,8] x) => (float[2,4] y) { d = DequantizeLinear<axis=1>(w, s) y = MatMul(x, d) }"
    integers = np.random.default_rng(0).integers(-8, 8, (8, 4)).astype(ml_dtypes.int4)
    model = model_from(text, opset=21, w=integers, s=np.linspace(0.1, 0.2, 4).astype(np.float32))
    assert agrees(model, {"x": weight(2, 8)}) == ["FULLY_CONNECTED"]


def test_an_operator_is_written_by_one_function() -> None:
    with pytest.raises(AssertionError, match="two functions"):
        lowers("Relu")(lambda op: None)
    assert isinstance(table()["Relu"], Entry)


FLOAT = np.dtype(np.float32)


def chain(*operators: Operator) -> Program:
    first, last = operators[0].inputs[0], operators[-1].outputs[0]
    assert first is not None
    return Program([Binding("x", first)], [Binding("y", last)], list(operators))


def move(code: str, source: Tensor, shape: tuple[int, ...], values: list[int]) -> Operator:
    constant = Tensor("c", (len(values),), np.dtype(np.int32), data=np.array(values, np.int32))
    return Operator(code, [source, constant], [Tensor("t", shape, FLOAT)])


def test_moves_that_follow_on_each_other_are_joined() -> None:
    x = Tensor("x", (2, 3, 4), FLOAT)
    one = move("TRANSPOSE", x, (4, 2, 3), [2, 0, 1])
    two = move("TRANSPOSE", one.outputs[0], (3, 4, 2), [2, 0, 1])
    made = chain(one, two)
    tidy(made)
    assert [operator.inputs[1].data.tolist() for operator in made.operators] == [[1, 2, 0]]  # type: ignore[union-attr]
    assert made.operators[0].inputs[0] is x


def test_moves_that_cancel_are_left_out() -> None:
    x = Tensor("x", (2, 3), FLOAT)
    one = move("TRANSPOSE", x, (3, 2), [1, 0])
    two = move("TRANSPOSE", one.outputs[0], (2, 3), [1, 0])
    three = Operator("RELU", [two.outputs[0]], [Tensor("y", (2, 3), FLOAT)])
    made = chain(one, two, three)
    tidy(made)
    assert [operator.code for operator in made.operators] == ["RELU"] and three.inputs == [x]


def test_reshapes_are_joined_and_unread_operators_left_out() -> None:
    x = Tensor("x", (2, 6), FLOAT)
    one = move("RESHAPE", x, (3, 4), [3, 4])
    two = move("RESHAPE", one.outputs[0], (12,), [12])
    unread = Operator("RELU", [one.outputs[0]], [Tensor("u", (3, 4), FLOAT)])
    made = Program([Binding("x", x)], [Binding("y", two.outputs[0])], [one, unread, two])
    tidy(made)
    assert made.operators == [two] and two.inputs[0] is x


def test_values_at_the_border_are_not_joined_away() -> None:
    x = Tensor("x", (2, 6), FLOAT)
    one = move("RESHAPE", x, (3, 4), [3, 4])
    two = move("RESHAPE", one.outputs[0], (12,), [12])
    made = Program([Binding("x", x)], [Binding("z", one.outputs[0]), Binding("y", two.outputs[0])], [one, two])
    tidy(made)
    assert made.operators == [one, two] and two.inputs[0] is one.outputs[0]
