"""Convolutions, against ONNX Runtime's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, codes, node
from onnx_text import weight

from pruna_ir.diagnostics import PrunaError

IMAGE = weight(1, 4, 9, 10, seed=1)


def conv(image: np.ndarray, kernel: np.ndarray, bias: bool = True, **attributes: Any) -> list[str]:
    """The operators of a convolution that LiteRT computes as ONNX Runtime does."""
    biases = [Fixed(weight(kernel.shape[0], seed=3), np.float32)] if bias else []
    return agrees(*node("Conv", image, Fixed(kernel, np.float32), *biases, **attributes))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("pads", "padding"),
    [([0, 0, 0, 0], 0), ([1, 1, 1, 1], 1), ([0, 1, 2, 0], 1), ([2, 2, 2, 2], 1), ([0, 0, 1, 1], None)],
)
def test_padding_and_strides(stride: int, pads: list[int], padding: int | None) -> None:
    found = conv(IMAGE, weight(6, 4, 3, 3, seed=2), pads=pads, strides=[stride, stride])
    assert "CONV_2D" in found


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
def test_automatic_padding(mode: str, stride: int) -> None:
    found = conv(IMAGE, weight(6, 4, 3, 2, seed=2), auto_pad=mode, strides=[stride, stride])
    assert found.count("PAD") <= (mode == "SAME_LOWER")


@pytest.mark.parametrize("size", [(7, 7), (1, 1), (2, 5)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_kernels_and_dilation(size: tuple[int, int], dilation: int) -> None:
    image = weight(2, 3, 15, 14, seed=1)
    conv(image, weight(5, 3, *size, seed=2), dilations=[dilation, dilation], pads=[1, 2, 0, 1], bias=False)


@pytest.mark.parametrize("multiplier", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_depthwise(multiplier: int, stride: int, dilation: int) -> None:
    kernel = weight(4 * multiplier, 1, 3, 3, seed=2)
    strides: dict[str, Any] = {"strides": [stride, stride], "dilations": [dilation, dilation]}
    found = conv(IMAGE, kernel, group=4, pads=[1, 1, 1, 1], **strides)
    assert "DEPTHWISE_CONV_2D" in found and "CONV_2D" not in found


def test_groups() -> None:
    assert "CONV_2D" in conv(IMAGE, weight(6, 2, 3, 3, seed=2), group=2)


def test_one_channel_is_no_depthwise_convolution() -> None:
    assert conv(weight(1, 1, 6, 6, seed=1), weight(1, 1, 3, 3, seed=2)) == ["RESHAPE", "CONV_2D", "RESHAPE"]


@pytest.mark.parametrize("group", [1, 3])
def test_one_spatial_axis(group: int) -> None:
    sound = weight(2, 3, 20, seed=1)
    found = conv(sound, weight(6, 3 // group, 5, seed=2), group=group, strides=[2], pads=[2, 1], dilations=[2])
    assert ("CONV_2D" if group == 1 else "DEPTHWISE_CONV_2D") in found


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (4, 1, 3, 3)])
def test_a_computed_weight_is_moved_into_place(shape: tuple[int, ...]) -> None:
    found = agrees(*node("Conv", IMAGE, weight(*shape, seed=2), group=4 if shape[1] == 1 else 1))
    assert found.count("TRANSPOSE") == 3  # the image, the weight, the result


def test_a_computed_weight_of_one_axis() -> None:
    agrees(*node("Conv", weight(1, 3, 20, seed=1), weight(5, 3, 4, seed=2), weight(5, seed=3)))


@pytest.mark.parametrize(
    ("function", "inputs", "taken"),
    [
        ("Relu", (), True),
        ("Clip", (0.0, 6.0), True),
        ("Clip", (-1.0, 1.0), True),
        ("Clip", (-2.0, 1.0), False),
    ],
)
def test_activation_functions_become_part_of_it(function: str, inputs: tuple[float, ...], taken: bool) -> None:
    from onnx_text import model_from

    limits = "".join(f", {name}" for name, _ in zip(("lo", "hi"), inputs, strict=False))
    text = (
        f"g (float[1,4,9,10] x) => (float[1,6,9,10] y) {{ c = Conv<pads=[1,1,1,1]>(x, w) y = {function}(c{limits}) }}"
    )
    constants: dict[str, Any] = {name: np.float32(value) for name, value in zip(("lo", "hi"), inputs, strict=False)}
    model = model_from(text, w=weight(6, 4, 3, 3), **constants)
    found = agrees(model, {"x": IMAGE})
    assert found.count("CONV_2D") == 1
    assert (len(found) == 3) == taken  # two transposes around it


def test_an_activation_function_of_a_value_that_others_read_stays() -> None:
    from onnx_text import model_from

    text = "g (float[1,4,9,10] x) => (float[1,6,7,8] y, float[1,6,7,8] c) { c = Conv(x, w) y = Relu(c) }"
    assert "RELU" in agrees(model_from(text, w=weight(6, 4, 3, 3)), {"x": IMAGE})


def test_three_axes_are_refused_or_computed() -> None:
    model, feeds = node("Conv", weight(1, 2, 4, 5, 6, seed=1), Fixed(weight(3, 2, 2, 2, 2, seed=2), np.float32))
    try:
        found = codes(model)
    except PrunaError as refusal:
        assert refusal.diagnostic.code == "E004"
    else:
        assert "CONV_3D" in found
        agrees(model, feeds)
