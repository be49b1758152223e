"""Transposed convolutions, against ONNX Runtime's."""

from __future__ import annotations

import pytest

pytest.importorskip("ai_edge_litert")

from typing import Any

import numpy as np
from lite_nodes import Fixed, agrees, node
from onnx_text import weight

IMAGE = weight(1, 4, 5, 6, seed=1)


def transposed(image: np.ndarray, kernel: np.ndarray, **attributes: Any) -> list[str]:
    outputs = kernel.shape[1] * attributes.get("group", 1)
    return agrees(
        *node("ConvTranspose", image, Fixed(kernel, np.float32), Fixed(weight(outputs), np.float32), **attributes)
    )


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 2, 0]])
def test_strides_and_padding(stride: int, pads: list[int]) -> None:
    found = transposed(IMAGE, weight(4, 3, 3, 3, seed=2), strides=[stride, stride], pads=pads)
    assert found.count("TRANSPOSE_CONV") == 1 and found.count("SLICE") == any(pads)


@pytest.mark.parametrize("extra", [[1, 0], [1, 1]])
def test_padding_of_the_output(extra: list[int]) -> None:
    transposed(IMAGE, weight(4, 3, 3, 3, seed=2), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=extra)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(mode: str) -> None:
    transposed(IMAGE, weight(4, 3, 3, 3, seed=2), strides=[2, 2], auto_pad=mode)


def test_a_given_shape() -> None:
    transposed(IMAGE, weight(4, 3, 3, 3, seed=2), strides=[2, 2], output_shape=[10, 12])


def test_dilation() -> None:
    transposed(IMAGE, weight(4, 3, 3, 2, seed=2), dilations=[2, 3], strides=[2, 1])


@pytest.mark.parametrize("group", [2, 4])
def test_groups(group: int) -> None:
    found = transposed(IMAGE, weight(4, 3, 3, 3, seed=2), group=group, strides=[2, 2])
    assert found.count("TRANSPOSE_CONV") == group and "CONCATENATION" in found


def test_one_spatial_axis() -> None:
    transposed(weight(2, 4, 9, seed=1), weight(4, 3, 4, seed=2), strides=[2], pads=[1, 0])


def test_no_bias() -> None:
    agrees(*node("ConvTranspose", IMAGE, Fixed(weight(4, 3, 2, 2, seed=2), np.float32), strides=[2, 2]))


@pytest.mark.parametrize("shape", [(1, 4, 3), (4, 3, 3, 2), (4, 3, 2, 2, 2)])
def test_a_computed_weight_is_moved_into_place(shape: tuple[int, ...]) -> None:
    shape = (4, *shape[1:])
    agrees(*node("ConvTranspose", weight(1, 4, *[5] * (len(shape) - 2), seed=1), weight(*shape, seed=2)))


@pytest.mark.parametrize("pads", [[0] * 6, [1, 0, 1, 0, 1, 1]])
@pytest.mark.parametrize("group", [1, 2])
def test_three_spatial_axes(pads: list[int], group: int) -> None:
    image, kernel = weight(1, 4, 3, 4, 5, seed=1), weight(4, 3, 2, 3, 2, seed=2)
    found = transposed(image, kernel, strides=[2, 1, 2], pads=pads, group=group)
    assert found.count("CONV_3D_TRANSPOSE") == group
