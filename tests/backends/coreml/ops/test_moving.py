"""What moves values, and where: shapes, slices, indices, sums along axes; against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_nodes import agrees, written
from single_nodes import Fixed, node

from pruna_ir.diagnostics import PrunaError

MOVED = ("float32", "uint8", "int64", "bool")


def data(shape: tuple[int, ...] = (3, 4, 5), dtype: str = "float32") -> np.ndarray:
    """Numbers from 0 on."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [*MOVED, "int8", "float16", "int16"])
def test_transpose_of_every_type(dtype: str) -> None:
    assert "transpose" in agrees(*node("Transpose", data(dtype=dtype), perm=[2, 0, 1]))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Reshape", [Fixed([5, -1, 2])], {}),
        ("Reshape", [Fixed([0, -1])], {}),
        ("Flatten", [], {"axis": 2}),
        ("Unsqueeze", [Fixed([0, -1])], {}),
        ("Transpose", [], {}),
        ("Identity", [], {}),
        ("Shape", [], {"start": 1}),
        ("Size", [], {}),
    ],
)
def test_shapes(op: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    agrees(*node(op, data(), *inputs, **attributes))


@pytest.mark.parametrize("axes", [[0], [0, -1], None])
def test_squeeze(axes: list[int] | None) -> None:
    agrees(*node("Squeeze", data((1, 3, 1)), *([] if axes is None else [Fixed(axes)])))


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("count", [1, 3])
def test_concatenation(axis: int, count: int) -> None:
    agrees(*node("Concat", *(data() for _ in range(count)), axis=axis))


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([0, 1], [3, 4], [0, 2], None),
        ([-3], [2**40], [-1], None),
        ([0, 1, 2], [3, 4, 5], None, None),
        ([0], [5], [2], [2]),
        ([-1], [-(2**40)], [1], [-1]),
        ([-1, 3], [-100, 0], [0, 2], [-2, -1]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_slice(starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None, dtype: str) -> None:
    parameters = [None if item is None else Fixed(item) for item in (axes, steps)]
    parameters = parameters if steps is not None else parameters[: 0 if axes is None else 1]
    agrees(*node("Slice", data(dtype=dtype), Fixed(starts), Fixed(ends), *parameters))


@pytest.mark.parametrize(("axis", "sizes"), [(1, [1, 3]), (-1, [2, 2, 1]), (1, [4])])
@pytest.mark.parametrize("dtype", MOVED)
def test_split(axis: int, sizes: list[int], dtype: str) -> None:
    agrees(*node("Split", data(dtype=dtype), Fixed(sizes), outputs=len(sizes), axis=axis))


@pytest.mark.parametrize("dtype", MOVED)
def test_repetition(dtype: str) -> None:
    agrees(*node("Tile", data(dtype=dtype), Fixed([1, 2, 3])))
    agrees(*node("Expand", data((3, 1, 5), dtype), Fixed([2, 1, 4, 1])))


@pytest.mark.parametrize(("indices", "axis"), [([[1, -1], [0, 2]], 1), (1, 1), ([0, 0, 4], -1)])
@pytest.mark.parametrize("dtype", MOVED)
@pytest.mark.parametrize("constant", [True, False])
def test_gather(indices: Any, axis: int, dtype: str, constant: bool) -> None:
    places = Fixed(indices) if constant else np.asarray(indices, np.int64)
    agrees(*node("Gather", data(dtype=dtype), places, axis=axis))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements(constant: bool, axis: int) -> None:
    indices = np.random.default_rng(0).integers(-3, 3, (2, 3, 4))
    agrees(*node("GatherElements", data(), Fixed(indices) if constant else indices, axis=axis))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("batch", "shape"), [(0, (2, 2)), (1, (3, 2, 1)), (2, (3, 4, 1))])
def test_gather_nd(constant: bool, batch: int, shape: tuple[int, ...]) -> None:
    indices = np.random.default_rng(0).integers(-3, 3, shape)
    agrees(*node("GatherND", data(), Fixed(indices) if constant else indices, batch_dims=batch))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
def test_scatter(constant: bool, reduction: str) -> None:
    places = np.array([[0, 1], [-1, 2]])
    inputs: list[Any] = [data(), Fixed(places) if constant else places, -data((2, 5)) - 1]
    agrees(*node("ScatterND", *inputs, reduction=reduction))
    indices = np.argsort(np.random.default_rng(0).random((3, 3, 3)), axis=1)
    inputs = [data(), Fixed(indices) if constant else indices, -data((3, 3, 3)) - 1]
    agrees(*node("ScatterElements", *inputs, axis=1, reduction=reduction))


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("constant", [True, False])
def test_one_hot(axis: int, constant: bool) -> None:
    indices = np.array([[0, -1], [3, 7]])
    places = Fixed(indices) if constant else indices
    agrees(*node("OneHot", places, Fixed(5), np.array([2.0, 5.0], np.float32), axis=axis))


@pytest.mark.parametrize("largest", [0, 1])
def test_top(largest: int) -> None:
    numbers = np.random.default_rng(0).permutation(40).reshape(4, 10).astype(np.float32)
    agrees(*node("TopK", numbers, Fixed([3]), outputs=2, axis=-1, largest=largest))


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, -1, 2])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_triangle(upper: int, k: int | None, dtype: str) -> None:
    agrees(*node("Trilu", data((2, 4, 5), dtype), *([] if k is None else [Fixed(k)]), upper=upper))


@pytest.mark.parametrize("attributes", [{}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}])
def test_cumulative(attributes: dict[str, Any]) -> None:
    agrees(*node("CumSum", data(), Fixed(1), **attributes))
    agrees(*node("CumProd", data() / np.float32(16), Fixed(1), opset=26, **attributes))


def test_long_products_are_refused(tmp_path: Path) -> None:
    model, _ = node("CumProd", np.ones((2, 65), np.float32), Fixed(1), opset=26)
    with pytest.raises(PrunaError) as failure:
        written(model, tmp_path)
    assert "65 products are too many" in failure.value.diagnostic.notes[0]


def test_reversed_sequences() -> None:
    lengths = np.array([1, 3, 2, 4], np.int64)
    agrees(*node("ReverseSequence", data((5, 4, 2)), lengths, time_axis=0, batch_axis=1))


@pytest.mark.parametrize(
    "op",
    [
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
        *("ReduceProd", "ReduceSum", "ReduceSumSquare"),
    ],
)
@pytest.mark.parametrize(("axes", "keep"), [([1], 1), ([0, -1], 0), (None, 0)])
def test_reductions(op: str, axes: list[int] | None, keep: int) -> None:
    numbers = np.random.default_rng(0).uniform(0.5, 1.5, (2, 3, 4)).astype(np.float32)
    agrees(*node(op, numbers, *([] if axes is None else [Fixed(axes)]), keepdims=keep))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax"])
def test_reductions_of_integers(op: str) -> None:
    agrees(*node(op, data(dtype="int64"), Fixed([1])))


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("attributes", [{"axis": 1}, {"axis": 0, "keepdims": 0}, {"axis": -1, "select_last_index": 1}])
def test_searches(op: str, attributes: dict[str, Any]) -> None:
    numbers = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.float32)
    agrees(*node(op, numbers, **attributes))


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize("start", [[0, 1], [2, 2], None])
@pytest.mark.parametrize("axis", [-2, 1])
def test_a_cache_is_updated(axis: int, start: list[int] | None, mode: str) -> None:
    shape = [2, 4, 5, 3]
    update = [*shape[: axis % 4], 2, *shape[axis % 4 + 1 :]]
    places = [] if start is None else [np.array(start, np.int64)]
    inputs = [data(tuple(shape)), -1 - data(tuple(update)), *places]
    agrees(*node("TensorScatter", *inputs, axis=axis, mode=mode, opset=24))


def test_a_cache_that_is_full_begins_anew() -> None:
    inputs = [data((2, 1, 4, 3)), -1 - data((2, 1, 2, 3)), np.array([3, 7], np.int64)]
    agrees(*node("TensorScatter", *inputs, mode="circular", opset=24))
