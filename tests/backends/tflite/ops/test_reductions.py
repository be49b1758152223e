"""Reductions, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, node

OPS = (
    *("ReduceMean", "ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
)


def data(dtype: str = "float32") -> np.ndarray:
    """Positive numbers."""
    return np.random.default_rng(0).uniform(0.5, 4, (2, 3, 4, 2)).astype(dtype)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("axes", [[1], [0, -2], [0, 1, 2, 3], None])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_axes(op: str, axes: list[int] | None, keepdims: int) -> None:
    inputs: list[Any] = [data()] + ([] if axes is None else [Fixed(axes)])
    agrees(*node(op, *inputs, keepdims=keepdims))


@pytest.mark.parametrize("op", OPS)
def test_no_axes_may_mean_none(op: str) -> None:
    agrees(*node(op, data(), noop_with_empty_axes=1))


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceL2"])
def test_axes_as_an_attribute(op: str) -> None:
    agrees(*node(op, data(), opset=13, axes=[1, 3], keepdims=0))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceSumSquare"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers(op: str, dtype: str) -> None:
    agrees(*node(op, data(dtype), Fixed([1])))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_extremes_of_bytes(op: str, dtype: str) -> None:
    agrees(*node(op, data(dtype), Fixed([1])))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_booleans(op: str) -> None:
    agrees(*node(op, data() > 2, Fixed([1])))


def test_sum_of_exponentials_does_not_overflow() -> None:
    agrees(*node("ReduceLogSumExp", data() * 100, Fixed([1])))


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
def test_places_of_extremes(op: str, axis: int, keepdims: int, last: int) -> None:
    numbers = np.random.default_rng(0).integers(0, 3, (3, 4, 5)).astype(np.float32)
    agrees(*node(op, numbers, axis=axis, keepdims=keepdims, select_last_index=last))


def test_place_along_the_first_axis() -> None:
    """The axis that is meant when none is named."""
    agrees(*node("ArgMax", data()))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int8"])
def test_places_of_integers(dtype: str) -> None:
    agrees(*node("ArgMax", data(dtype), axis=1))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_top_k(axis: int, largest: int, dtype: str) -> None:
    numbers = np.random.default_rng(0).permutation(60).reshape(3, 4, 5).astype(dtype)
    agrees(*node("TopK", numbers, Fixed([2]), outputs=2, axis=axis, largest=largest))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_hardmax(axis: int) -> None:
    agrees(*node("Hardmax", data(), axis=axis))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_one_hot(axis: int, dtype: str) -> None:
    indices = np.array([[0, 2, -1], [3, 1, 7]], np.int64)
    agrees(*node("OneHot", indices, Fixed(4), Fixed([0, 1], dtype), axis=axis))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cumulative_sum(axis: int, exclusive: int, reverse: int) -> None:
    agrees(*node("CumSum", data(), Fixed(axis), exclusive=exclusive, reverse=reverse))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_cumulative_sum_of_integers(dtype: str) -> None:
    agrees(*node("CumSum", data(dtype), Fixed(1)))
