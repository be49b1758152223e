"""Pooling, against ONNX Runtime's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import agrees, codes, node
from onnx_text import model_from, weight

from pruna_ir.diagnostics import PrunaError

IMAGE = weight(1, 4, 9, 10, seed=1)
PADS = ([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 1, 1])
GRID = list(itertools.product((1, 2, 3), PADS, (0, 1)))


@pytest.mark.parametrize(("stride", "pads", "ceil"), GRID)
def test_maximum(stride: int, pads: list[int], ceil: int) -> None:
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [stride, stride], "pads": pads, "ceil_mode": ceil}
    assert "MAX_POOL_2D" in agrees(*node("MaxPool", IMAGE, **attributes))


@pytest.mark.parametrize(("stride", "pads", "ceil"), GRID)
@pytest.mark.parametrize("counted", [0, 1])
def test_average(stride: int, pads: list[int], ceil: int, counted: int) -> None:
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [stride, stride], "pads": pads, "ceil_mode": ceil}
    assert "AVERAGE_POOL_2D" in agrees(*node("AveragePool", IMAGE, count_include_pad=counted, **attributes))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(op: str, mode: str) -> None:
    agrees(*node(op, IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad=mode))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_one_spatial_axis(op: str) -> None:
    agrees(*node(op, weight(2, 3, 11, seed=1), kernel_shape=[3], strides=[2], pads=[1, 0]))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (2, 3, 5, 4, 3)])
def test_over_all_places(op: str, shape: tuple[int, ...]) -> None:
    agrees(*node(op, weight(*shape, seed=1)))


def test_padding_of_a_maximum_is_never_taken() -> None:
    low = np.full((1, 2, 4, 4), -1e30, np.float32)
    agrees(*node("MaxPool", low, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))


def test_indices_are_refused() -> None:
    model, _ = node("MaxPool", IMAGE, kernel_shape=[2, 2], outputs=2)
    with pytest.raises(PrunaError, match="E004"):
        codes(model)


@pytest.mark.parametrize(
    ("function", "code"), [("Relu", "PAD"), ("Sigmoid", "PAD"), ("Tanh", "PADV2"), ("Neg", "PADV2")]
)
def test_what_is_never_negative_is_padded_with_zeros(function: str, code: str) -> None:
    pool = "MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>"
    text = f"g (float[1,4,8,8] x) => (float[1,4,4,4] y) {{ r = {function}(x) y = {pool}(r) }}"
    assert code in agrees(model_from(text), {"x": weight(1, 4, 8, 8, seed=1)})


def test_integers_that_end_at_zero_are_padded_with_it() -> None:
    pool = "MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>"
    text = f"""g (float[1,4,8,8] x) => (float[1,4,4,4] y) {{
      q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) p = {pool}(d)
      r = QuantizeLinear(p, s, z) y = DequantizeLinear(r, s, z) }}"""
    image = {"x": weight(1, 4, 8, 8, seed=1)}
    for zero, code in ((-128, "PAD"), (-5, "PADV2")):
        model = model_from(text, s=np.array(0.02, np.float32), z=np.array(zero, np.int8))
        assert code in agrees(model, image, 1e-5)
