from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pruna_ir.data.preprocess import Preprocessing

IMAGE = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)


def apply(preprocessing: Preprocessing, image: np.ndarray) -> np.ndarray:
    return preprocessing.normalize(preprocessing.arrange(image))


def test_order_is_colour_scale_mean_std_layout() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    found = apply(Preprocessing("NCHW", "BGR", None, 1 / 255, mean, std), IMAGE)
    expected = ((IMAGE[:, :, ::-1] / 255 - np.array(mean)) / np.array(std)).transpose(2, 0, 1)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    nhwc = apply(Preprocessing("NHWC", "BGR", None, 1 / 255, mean, std), IMAGE)
    assert np.array_equal(nhwc, found.transpose(1, 2, 0))


def test_no_arithmetic_keeps_uint8() -> None:
    found = apply(Preprocessing("NCHW", "RGB"), IMAGE)
    assert found.dtype == np.uint8 and np.array_equal(found, IMAGE.transpose(2, 0, 1))


def test_the_image_itself_is_not_changed() -> None:
    image = np.ones((2, 2, 3), np.float32)
    apply(Preprocessing("NHWC", None, None, 3.0, (1.0,)), image)
    assert (image == 1).all()


def test_grey_and_rgb_convert_both_ways() -> None:
    from PIL import Image

    grey = apply(Preprocessing("NHWC", "GRAY"), IMAGE)
    expected = np.asarray(Image.fromarray(IMAGE).convert("L"))
    assert np.abs(grey[:, :, 0].astype(int) - expected).max() <= 1
    assert apply(Preprocessing("NCHW", "RGB"), IMAGE[:, :, 0]).shape == (3, 2, 4)
    assert apply(Preprocessing("NCHW", "GRAY"), IMAGE[:, :, 0]).shape == (1, 2, 4)


def test_refuses_what_is_no_image(refuses: Any) -> None:
    with refuses("D003", "[height, width, channels]"):
        apply(Preprocessing(), np.zeros((2, 3, 4, 5), np.uint8))
    with refuses("D003", "`mean` has 2 values"):
        apply(Preprocessing(mean=(1.0, 2.0)), IMAGE)


@pytest.mark.parametrize(
    ("shape", "layout", "color", "size"),
    [
        (("N", 3, 8, 6), "NCHW", "RGB", (8, 6)),
        (("N", 8, 6, 1), "NHWC", "GRAY", (8, 6)),
        ((1, 3, "H", "W"), "NCHW", "RGB", None),
    ],
)
def test_for_model(spec: Any, shape: tuple[Any, ...], layout: str, color: str, size: Any) -> None:
    found = Preprocessing.for_model(spec("x", *shape))
    assert (found.layout, found.color, found.resize and found.resize.size) == (layout, color, size)


def test_for_model_refuses_other_inputs(spec: Any, refuses: Any) -> None:
    with refuses("D003", "does not take images"):
        Preprocessing.for_model(spec("x", "N", 40))
