from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.data.resize import Resize


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows with x, green with y."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns, rows, np.zeros_like(rows)], 2).astype(np.uint8)


@pytest.mark.parametrize("mode", ["letterbox", "plain", "center-crop"])
@pytest.mark.parametrize(("height", "width"), [(100, 200), (200, 100), (37, 91), (64, 48)])
def test_geometry_maps_original_points(mode: str, height: int, width: int) -> None:
    resize = Resize(mode, (64, 48), interpolation="bilinear", short_side=80 if mode == "center-crop" else None)
    image, place = resize(gradient(height, width)), resize.geometry(width, height)
    assert image.shape == (64, 48, 3)
    # The middle of the output, taken back to the original, has the colour of that position.
    x = (24 + 0.5 - place.left) / place.scale_x - 0.5
    y = (32 + 0.5 - place.top) / place.scale_y - 0.5
    assert image[32, 24, :2] == pytest.approx([x, y], abs=2.5)


def test_letterbox_pads_where_the_anchor_says() -> None:
    white = np.full((10, 20, 3), 255, np.uint8)
    corner = Resize("letterbox", (20, 20), "top-left", fill=9)(white)
    assert (corner[:10] == 255).all() and (corner[10:] == 9).all()
    centred = Resize("letterbox", (20, 20), "center", fill=9)(white)
    assert (centred[5:15] == 255).all() and (centred[:5] == 9).all() and (centred[15:] == 9).all()


def test_center_crop_cuts_the_middle() -> None:
    image = Resize("center-crop", (4, 4), short_side=8)(gradient(8, 16))
    assert np.array_equal(image, gradient(8, 16)[2:6, 6:10])


def test_same_size_is_untouched_and_one_channel_stays() -> None:
    image = gradient(8, 8)
    assert np.array_equal(Resize("plain", (8, 8))(image), image)
    assert Resize("plain", (4, 4))(image[:, :, :1]).shape == (4, 4, 1)
