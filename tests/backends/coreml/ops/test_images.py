"""Operators of images: convolutions, pooling, resizing and padding, against ONNX Runtime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_nodes import agrees, written
from onnx_text import weight
from single_nodes import Fixed, node

from pruna_ir.diagnostics import PrunaError

IMAGE = weight(1, 4, 9, 10, seed=1)


def stored(*shape: int, seed: int = 2) -> Fixed:
    """A constant weight."""
    return Fixed(weight(*shape, seed=seed), np.float32)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 0, 2, 1]},
        {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 1, 1, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"auto_pad": "VALID"},
    ],
)
def test_convolution(attributes: dict[str, Any]) -> None:
    assert agrees(*node("Conv", IMAGE, stored(6, 4, 3, 2), stored(6), **attributes)) == ["conv", "identity"]


@pytest.mark.parametrize("shape", [(1, 4, 9), (1, 4, 5, 6, 7)])
def test_other_numbers_of_axes(shape: tuple[int, ...]) -> None:
    agrees(*node("Conv", weight(*shape), stored(3, 4, *[3] * (len(shape) - 2))))


@pytest.mark.parametrize("group", [2, 4])
def test_groups(group: int) -> None:
    agrees(*node("Conv", IMAGE, stored(8, 4 // group, 3, 3), group=group))
    agrees(*node("ConvTranspose", IMAGE, stored(4, 3, 3, 3), group=group))


def test_computed_weight() -> None:
    agrees(*node("Conv", IMAGE, weight(6, 4, 3, 3), weight(6)))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2], "pads": [1, 0, 1, 2]},
        {"strides": [3, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]},
        {"strides": [2, 2], "output_padding": [1, 1]},
        {"strides": [2, 2], "output_shape": [18, 20]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [1, 1], "dilations": [2, 1]},
    ],
)
def test_transposed_convolution(attributes: dict[str, Any]) -> None:
    agrees(*node("ConvTranspose", IMAGE, stored(4, 3, 3, 3), stored(3), **attributes))


PADS = ([0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0])


@pytest.mark.parametrize(("stride", "pads", "ceil"), [*itertools.product((1, 2), PADS, (0, 1))])
def test_maximum(stride: int, pads: list[int], ceil: int) -> None:
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [stride, stride], "pads": pads, "ceil_mode": ceil}
    assert "max_pool" in agrees(*node("MaxPool", IMAGE, **attributes))


@pytest.mark.parametrize(("pads", "ceil", "counted"), [*itertools.product(PADS, (0, 1), (0, 1))])
def test_average(pads: list[int], ceil: int, counted: int) -> None:
    attributes: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": pads, "ceil_mode": ceil}
    assert "avg_pool" in agrees(*node("AveragePool", IMAGE, count_include_pad=counted, **attributes))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("shape", [(2, 3, 11), (1, 2, 6, 7), (1, 2, 5, 6, 7)])
def test_pools_of_all_ranks(op: str, shape: tuple[int, ...]) -> None:
    rank = len(shape) - 2
    agrees(*node(op, weight(*shape), kernel_shape=[3] * rank, strides=[2] * rank, pads=[1] * (2 * rank)))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_over_all_places(op: str) -> None:
    agrees(*node(op, IMAGE))


def test_maximum_with_gaps() -> None:
    agrees(*node("MaxPool", IMAGE, kernel_shape=[2, 3], dilations=[2, 2], strides=[1, 2]))


COORDINATES = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")


@pytest.mark.parametrize(("mode", "coordinates"), [*itertools.product(("nearest", "linear", "cubic"), COORDINATES)])
@pytest.mark.parametrize("size", [[1, 4, 18, 20], [1, 4, 5, 7]])
def test_resize(mode: str, coordinates: str, size: list[int]) -> None:
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
    agrees(*node("Resize", IMAGE, None, None, Fixed(size), **attributes))


@pytest.mark.parametrize(
    ("mode", "coordinates", "rounding", "kind"),
    [
        ("nearest", "asymmetric", "floor", "upsample_nearest_neighbor"),
        ("nearest", "half_pixel", "round_prefer_floor", "upsample_nearest_neighbor"),
        ("linear", "half_pixel", "floor", "upsample_bilinear"),
        ("linear", "align_corners", "floor", "upsample_bilinear"),
    ],
)
def test_twice_the_size_is_one_operator(mode: str, coordinates: str, rounding: str, kind: str) -> None:
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    found = agrees(*node("Resize", IMAGE, None, None, Fixed([1, 4, 18, 20]), **attributes))
    assert found == [kind, "identity"]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("shape", "size"), [((3, 4), [6, 7]), ((2, 3, 4), [2, 3, 7])])
def test_resize_of_other_ranks(mode: str, shape: tuple[int, ...], size: list[int]) -> None:
    agrees(*node("Resize", weight(*shape), None, None, Fixed(size), mode=mode))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 2, 3], [0, 2, 0, 0, 0, 1, 4, 0], [0, 0, -1, 1, 0, 1, 0, -2]])
def test_padding(mode: str, pads: list[int]) -> None:
    value = [Fixed(1.5, np.float32)] if mode == "constant" else []
    agrees(*node("Pad", IMAGE, Fixed(pads), *value, mode=mode, opset=19))


def test_padding_of_some_axes() -> None:
    agrees(*node("Pad", np.arange(6).reshape(2, 3), Fixed([1, 2]), Fixed(7), Fixed([-1]), opset=18))


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("align", [0, 1])
def test_sampling(mode: str, align: int) -> None:
    grid = np.random.default_rng(0).uniform(-1.2, 1.2, (1, 5, 6, 2)).astype(np.float32)
    agrees(*node("GridSample", IMAGE, grid, mode=mode, align_corners=align), tolerance=1e-4)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode: str) -> None:
    agrees(*node("DepthToSpace", weight(1, 8, 3, 4), blocksize=2, mode=mode))
    agrees(*node("SpaceToDepth", weight(1, 2, 4, 6), blocksize=2))


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_sampling_outside(mode: str, padding: str, align: int) -> None:
    grid = np.random.default_rng(0).uniform(-4, 4, (1, 5, 6, 2)).astype(np.float32)
    options: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": align}
    written = agrees(*node("GridSample", IMAGE, grid, **options, opset=20), tolerance=1e-4)
    assert ("resample" in written) == (mode == "linear")


def test_sampling_volumes() -> None:
    grid = np.random.default_rng(0).uniform(-1, 1, (1, 2, 3, 4, 3)).astype(np.float32)
    assert "resample" not in agrees(*node("GridSample", weight(1, 2, 3, 4, 5), grid, opset=20), tolerance=1e-4)


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("size", [[2, 3, 5, 6], [2, 3, 2, 4, 5]])
def test_affine_grids(size: list[int], align: int) -> None:
    axes = len(size) - 2
    theta = weight(2, axes, axes + 1)
    agrees(*node("AffineGrid", theta, Fixed(np.array(size, np.int64)), align_corners=align))


@pytest.mark.parametrize(
    ("image", "block", "attributes"),
    [
        ([5, 6], [2, 3], {}),
        ([6], [3], {"strides": [2], "pads": [0, 1]}),
        ([5, 5], [1, 5], {"pads": [0, 1, 0, 1]}),
        ([6, 6], [2, 2], {"dilations": [1, 5]}),
        ([5, 7], [2, 2], {"strides": [2, 3]}),
        ([3, 4, 5], [1, 2, 3], {}),
    ],
)
def test_columns_to_image(image: list[int], block: list[int], attributes: dict[str, Any]) -> None:
    strides, dilations = (attributes.get(name, [1] * len(image)) for name in ("strides", "dilations"))
    pads = attributes.get("pads", [0] * (2 * len(image)))
    room = [size + sum(pads[axis :: len(image)]) for axis, size in enumerate(image)]
    counts = [(n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(room, block, dilations, strides, strict=True)]
    columns = weight(2, 3 * int(np.prod(block)), int(np.prod(counts)))
    agrees(*node("Col2Im", columns, Fixed(np.array(image)), Fixed(np.array(block)), **attributes))


@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 1]])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_pooling_with_gaps(strides: list[int], pads: list[int], ceil: int) -> None:
    options: dict[str, Any] = {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": pads, "strides": strides}
    options["ceil_mode"] = ceil
    agrees(*node("MaxPool", IMAGE, **options))
    for counted in (0, 1):
        agrees(*node("AveragePool", IMAGE, **options, count_include_pad=counted))


def test_pooling_bytes_with_gaps() -> None:
    x = np.random.default_rng(0).integers(-128, 127, (1, 2, 6, 6), np.int8)
    agrees(*node("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1]))


def test_pooling_norms_with_gaps() -> None:
    agrees(*node("LpPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1]))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "reason"),
    [
        ("MaxPool", [], {"kernel_shape": [2, 2], "outputs": 2}, "where the maximum was"),
        ("AffineGrid", [Fixed([2, 3, 1, 5])], {"align_corners": 1}, "single pixel"),
    ],
)
def test_refused(op: str, inputs: list[Any], attributes: dict[str, Any], reason: str, tmp_path: Any) -> None:
    model, _ = node(op, IMAGE if op != "AffineGrid" else weight(2, 2, 3), *inputs, **attributes)
    with pytest.raises(PrunaError) as failure:
        written(model, tmp_path)
    assert failure.value.diagnostic.code == "E004" and reason in failure.value.diagnostic.notes[0]
