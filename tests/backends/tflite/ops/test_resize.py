"""Resize, against ONNX Runtime's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, codes, node
from onnx_text import weight

from pruna_ir.diagnostics import PrunaError

IMAGE = weight(1, 2, 5, 6, seed=1)
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SIZES = ([1, 2, 10, 12], [1, 2, 2, 4], [1, 2, 7, 11], [1, 2, 1, 1])


@pytest.mark.parametrize(("coordinates", "rounding", "size"), [*itertools.product(COORDINATES, ROUNDINGS, SIZES)])
def test_nearest(coordinates: str, rounding: str, size: list[int]) -> None:
    attributes: dict[str, Any] = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    agrees(*node("Resize", IMAGE, None, None, Fixed(size), mode="nearest", **attributes))


@pytest.mark.parametrize(("coordinates", "size"), [*itertools.product(COORDINATES, SIZES)])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation(mode: str, coordinates: str, size: list[int]) -> None:
    agrees(*node("Resize", IMAGE, None, None, Fixed(size), mode=mode, coordinate_transformation_mode=coordinates))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scale", [2.0, 0.6, 1.7])
def test_scales_that_do_not_divide(mode: str, scale: float) -> None:
    agrees(*node("Resize", IMAGE, None, Fixed([1, 1, scale, scale], np.float32), mode=mode))


@pytest.mark.parametrize("exclude", [0, 1])
def test_cubic_attributes(exclude: int) -> None:
    attributes: dict[str, Any] = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": exclude}
    agrees(*node("Resize", IMAGE, None, None, Fixed([1, 2, 8, 9]), **attributes))


@pytest.mark.parametrize(
    ("mode", "coordinates", "rounding", "code"),
    [
        ("nearest", "asymmetric", "floor", "RESIZE_NEAREST_NEIGHBOR"),
        ("nearest", "half_pixel", "round_prefer_floor", "RESIZE_NEAREST_NEIGHBOR"),
        ("linear", "half_pixel", "floor", "RESIZE_BILINEAR"),
        ("linear", "align_corners", "floor", "RESIZE_BILINEAR"),
        ("linear", "asymmetric", "floor", "RESIZE_BILINEAR"),
    ],
)
def test_twice_the_size_is_one_operator(mode: str, coordinates: str, rounding: str, code: str) -> None:
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    model, _ = node("Resize", IMAGE, None, Fixed([1, 1, 2, 2], np.float32), **attributes)
    assert codes(model) == ["TRANSPOSE", code, "TRANSPOSE"]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_other_axes_and_ranks(mode: str) -> None:
    agrees(*node("Resize", weight(3, 4, seed=1), None, None, Fixed([6, 7]), mode=mode))
    agrees(*node("Resize", weight(1, 2, 5, seed=1), None, None, Fixed([1, 4, 5]), mode=mode))


def test_cropping_inside_of_the_image() -> None:
    roi = Fixed([0, 0, 0.25, 0.2, 1, 1, 0.75, 0.9], np.float32)
    attributes: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    agrees(*node("Resize", IMAGE, roi, None, Fixed([1, 2, 4, 4]), **attributes))


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [[1, 2, 3, 3], [1, 2, 2, 8], [1, 2, 9, 12]])
@pytest.mark.parametrize("exclude", [0, 1])
def test_antialiasing(mode: str, size: list[int], exclude: int) -> None:
    agrees(*node("Resize", IMAGE, None, None, Fixed(size), mode=mode, antialias=1, exclude_outside=exclude))


def test_computed_scales_are_refused() -> None:
    model, _ = node("Resize", IMAGE, None, np.array([1, 1, 2, 2], np.float32), mode="linear")
    with pytest.raises(PrunaError, match=r"E00[45]"):
        codes(model)
