"""What moves values: slices, pieces, copies, gathering and scattering; against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, codes, node

MOVED = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")


def data(shape: tuple[int, ...] = (3, 4, 5), dtype: str = "float32") -> np.ndarray:
    """Numbers from 0 on."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [3], [1], None),
        ([0, 1], [3, 4], [0, 2], None),
        ([-3], [-1], [-1], None),
        ([0], [2**40], [1], None),
        ([0, 1, 2], [3, 4, 5], None, None),
        ([0], [5], [2], [2]),
        ([4], [0], [2], [-1]),
        ([-1], [-(2**40)], [1], [-1]),
        ([-1, 3], [-100, 0], [0, 2], [-2, -1]),
        ([0], [3], [0], None),
    ],
)
def test_slice(starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None) -> None:
    parameters = [None if item is None else Fixed(item) for item in (axes, steps)]
    if steps is None:
        parameters = parameters[: 0 if axes is None else 1]
    agrees(*node("Slice", data(), Fixed(starts), Fixed(ends), *parameters))


@pytest.mark.parametrize("dtype", MOVED)
@pytest.mark.parametrize(("start", "end", "step"), [(0, 3, 1), (3, 0, -2)])
def test_slice_of_types(dtype: str, start: int, end: int, step: int) -> None:
    agrees(*node("Slice", data(dtype=dtype), *(Fixed([value]) for value in (start, end, 1, step))))


@pytest.mark.parametrize(("axis", "sizes"), [(1, [1, 3]), (0, [1, 1, 1]), (-1, [2, 2, 1]), (1, [4])])
@pytest.mark.parametrize("dtype", MOVED)
def test_split(axis: int, sizes: list[int], dtype: str) -> None:
    agrees(*node("Split", data(dtype=dtype), Fixed(sizes), outputs=len(sizes), axis=axis))


def test_split_in_equal_parts() -> None:
    assert agrees(*node("Split", data((4, 3)), outputs=2, num_outputs=2)) == ["SPLIT"]


@pytest.mark.parametrize("dtype", MOVED)
def test_tile(dtype: str) -> None:
    agrees(*node("Tile", data(dtype=dtype), Fixed([1, 2, 3])))


@pytest.mark.parametrize("shape", [[3, 4, 5], [1, 1, 5], [2, 3, 4, 5], [7, 1, 3, 1, 5]])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_expand(shape: list[int], dtype: str) -> None:
    agrees(*node("Expand", data((3, 1, 5) if shape != [1, 1, 5] else (1, 1, 5), dtype), Fixed(shape)))


@pytest.mark.parametrize(
    ("indices", "axis"), [([2, 0], 1), ([[1, -1], [0, 2]], 1), (1, 1), (-1, 0), ([1], 2), ([0, 0, 4], -1)]
)
@pytest.mark.parametrize("constant", [True, False])
def test_gather(indices: Any, axis: int, constant: bool) -> None:
    places = Fixed(indices) if constant else np.asarray(indices, np.int64)
    agrees(*node("Gather", data(), places, axis=axis))


@pytest.mark.parametrize("dtype", [*MOVED, "uint16"])
def test_gather_of_types(dtype: str) -> None:
    agrees(*node("Gather", data(dtype=dtype), Fixed([2, 0]), axis=1))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool", "uint16"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements(constant: bool, dtype: str, axis: int) -> None:
    indices = np.random.default_rng(0).integers(-3, 3, (2, 3, 4))
    agrees(*node("GatherElements", data(dtype=dtype), Fixed(indices) if constant else indices, axis=axis))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("batch", "shape"), [(0, (2, 2)), (0, (2, 3, 3)), (1, (3, 2, 1)), (1, (3, 2)), (2, (3, 4, 1))])
def test_gather_nd(constant: bool, batch: int, shape: tuple[int, ...]) -> None:
    indices = np.random.default_rng(0).integers(-3, 3, shape)
    agrees(*node("GatherND", data(), Fixed(indices) if constant else indices, batch_dims=batch))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("indices", [[[0], [-1]], [[1, 2], [0, -4], [2, 0]], [[[0, 0, 1]], [[1, -1, 1]]]])
def test_scatter_nd(constant: bool, reduction: str, dtype: str, indices: Any) -> None:
    places = np.array(indices)
    updates = -data((*places.shape[:-1], *(3, 4, 5)[places.shape[-1] :]), dtype) - 1
    inputs: list[Any] = [data(dtype=dtype), Fixed(places) if constant else places, updates]
    agrees(*node("ScatterND", *inputs, reduction=reduction))


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scatter_elements(constant: bool, reduction: str, axis: int) -> None:
    indices = np.argsort(np.random.default_rng(0).random((3, 3, 3)), axis=axis)
    updates = -data((3, 3, 3)) - 1
    inputs: list[Any] = [data(), Fixed(indices) if constant else indices, updates]
    agrees(*node("ScatterElements", *inputs, axis=axis, reduction=reduction))


def test_repeated_places_add_up() -> None:
    agrees(*node("ScatterND", data((4,)), Fixed([[1], [1], [1]]), np.ones(3, np.float32), reduction="add"))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_depth_to_space(mode: str, dtype: str) -> None:
    agrees(*node("DepthToSpace", data((2, 8, 3, 4), dtype), blocksize=2, mode=mode))


def test_space_to_depth() -> None:
    agrees(*node("SpaceToDepth", data((2, 3, 4, 6)), blocksize=2))


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_reverse_sequence(axes: tuple[int, int]) -> None:
    lengths = np.array([1, 3, 2, 4, 4], np.int64)[: (5, 4)[axes[1]]]
    agrees(*node("ReverseSequence", data((5, 4, 2)), lengths, time_axis=axes[0], batch_axis=axes[1]))


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, -1, 2])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_triangle(upper: int, k: int | None, dtype: str) -> None:
    inputs: list[Any] = [data((2, 4, 5), dtype)] + ([] if k is None else [Fixed(k)])
    agrees(*node("Trilu", *inputs, upper=upper))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("Shape", {}), ("Shape", {"start": 1}), ("Size", {}), ("EyeLike", {"k": 1}), ("Identity", {})],
)
def test_what_is_known(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, data((3, 4)), **attributes))


def test_one_index_is_a_slice() -> None:
    model, _ = node("Gather", data(), Fixed(1), axis=1)
    assert codes(model) == ["SLICE", "RESHAPE"]
