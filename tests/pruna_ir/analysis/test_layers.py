"""Rows times matrix is what the node computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from small_graphs import build, weights

from pruna_ir.analysis import layers
from pruna_ir.analysis.layers import Layer, layer_of, spread
from pruna_ir.model import Model
from pruna_ir.remarks import Reason
from pruna_ir.runtime.session import Session

Shape = tuple[int, ...]


def single(op: str, x: Shape, w: Shape, *, left: bool = False, **attributes: Any) -> Model:
    inputs = ["w", "x"] if left else ["x", "w"]
    return build([onnx.helper.make_node(op, inputs, ["y"], **attributes)], {"x": x}, ["y"], {"w": weights(1, *w)})


def layer_in(model: Model) -> Layer:
    found = layer_of(model.graph.nodes[0])
    assert isinstance(found, Layer)
    return found


CONVS: list[tuple[Shape, Shape, dict[str, Any]]] = [
    ((2, 3, 7), (4, 3, 3), {}),
    ((2, 3, 7, 6), (4, 3, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((2, 4, 9, 8), (6, 2, 3, 3), {"group": 2, "dilations": [2, 1]}),
    ((2, 4, 6, 6), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 2, 5, 5, 4), (3, 2, 2, 3, 1), {"pads": [0, 1, 0, 1, 1, 0]}),
    ((2, 3, 8, 7), (4, 3, 3, 4), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((2, 3, 8, 7), (4, 3, 3, 4), {"auto_pad": "SAME_LOWER", "strides": [3, 2]}),
    ((2, 3, 8, 7), (4, 3, 1, 1), {"auto_pad": "VALID"}),
]


@pytest.mark.parametrize(("x", "w", "attributes"), CONVS)
def test_convolution(x: Shape, w: Shape, attributes: dict[str, Any]) -> None:
    model = single("Conv", x, w, **attributes)
    layer, values = layer_in(model), weights(0, *x)
    rows, matrix = layer.rows.of(values), layer.matrix(model.graph.tensors()["w"].values)
    expected = Session(model).run({"x": values})["y"]
    found = np.matmul(rows, matrix.transpose(0, 2, 1))  # [groups, samples * places, channels of a group]
    by_channel = found.reshape(len(found), x[0], -1, matrix.shape[1]).transpose(1, 0, 3, 2)
    np.testing.assert_allclose(by_channel.reshape(expected.shape), expected, atol=1e-5)


PRODUCTS: list[tuple[str, Shape, Shape, dict[str, Any], bool]] = [
    ("MatMul", (5, 4), (4, 3), {}, False),
    ("MatMul", (2, 5, 4), (4, 3), {}, False),
    ("MatMul", (4, 5), (3, 4), {}, True),
    ("MatMul", (2, 4, 5), (3, 4), {}, True),
    ("Gemm", (5, 4), (4, 3), {}, False),
    ("Gemm", (5, 4), (3, 4), {"transB": 1}, False),
    ("Gemm", (4, 5), (4, 3), {"transA": 1}, False),
]


@pytest.mark.parametrize(("op", "x", "w", "attributes", "left"), PRODUCTS)
def test_product(op: str, x: Shape, w: Shape, attributes: dict[str, Any], left: bool) -> None:
    model = single(op, x, w, left=left, **attributes)
    layer, values = layer_in(model), weights(0, *x)
    found = layer.rows.of(values)[0] @ layer.matrix(model.graph.tensors()["w"].values)[0].T
    expected = Session(model).run({"x": values})["y"]
    turned = np.moveaxis(expected, -2, -1) if left else expected
    np.testing.assert_allclose(found, turned.reshape(found.shape), atol=1e-5)


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv"])
def test_unfold_is_the_inverse(op: str) -> None:
    model = single("Conv", (1, 4, 5, 5), (6, 2, 3, 3), group=2) if op == "Conv" else single(op, (5, 4), (4, 3))
    layer, weight = layer_in(model), model.graph.tensors()["w"].values
    assert layer.matrix(weight).shape[2] == layer.width
    np.testing.assert_array_equal(layer.unfold(layer.matrix(weight)), weight)


def test_large_images_give_some_rows_of_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "ROWS_OF_A_SAMPLE", 16)
    layer = layer_in(single("Conv", (2, 3, 12, 12), (4, 3, 3, 3)))
    values = weights(0, 2, 3, 12, 12)
    rows, others = layer.rows.of(values, 0), layer.rows.of(values, 1)
    assert 16 <= rows.shape[1] <= 40 and rows.shape[2] == 27
    assert not np.array_equal(rows, others)


@pytest.mark.parametrize("total", [1, 7, 100, 3136, 12544])
@pytest.mark.parametrize("wanted", [1, 16, 512])
def test_spread(total: int, wanted: int) -> None:
    taken = range(total)[spread(total, wanted, 3)]
    assert 1 <= len(taken) <= max(wanted, 1)
    assert total > wanted or len(taken) == total


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (single("Mul", (3, 4), (3, 4)), "Mul is no product of rows and a matrix"),
        (single("MatMul", (2, 5, 4), (2, 4, 3)), "`w` has 3 axes, not 2"),
    ],
)
def test_what_is_no_layer_says_why(model: Model, reason: str) -> None:
    found = layer_of(model.graph.nodes[0])
    assert isinstance(found, Reason) and str(found) == reason


def test_inputs_that_are_both_variable_or_both_constant() -> None:
    both = build([onnx.helper.make_node("MatMul", ["x", "z"], ["y"])], {"x": (3, 4), "z": (4, 2)}, ["y"], {})
    assert str(layer_of(both.graph.nodes[0])) == "`z` is not a constant"
    constants = {"v": weights(0, 3, 4), "w": weights(1, 4, 2)}
    fixed = build([onnx.helper.make_node("MatMul", ["v", "w"], ["y"])], {"x": (3, 4)}, ["y"], constants)
    assert str(layer_of(fixed.graph.nodes[0])) == "`w` is a constant"
