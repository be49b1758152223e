"""Crops of images against what they should show."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.passes.pruning.crops import LEAST, cropped


@pytest.mark.parametrize("axis", [1, 2])
def test_crops_show_a_rectangle_of_the_image(axis: int) -> None:
    """An image whose pixels are their own places: a crop has places that run evenly through a part of it."""
    down, across = np.meshgrid(np.arange(40.0), np.arange(60.0), indexing="ij")
    image = np.stack([down, across], axis=2 if axis == 1 else 0).astype(np.float32)
    crops = np.moveaxis(cropped(np.stack([image] * 20), axis, np.random.default_rng(0)), 3 if axis == 1 else 1, 1)
    assert crops.shape == (20, 2, 40, 60)
    shares = []
    for rows, columns in crops:
        assert np.ptp(rows, axis=1).max() < 1e-4 and np.ptp(columns, axis=0).max() < 1e-4
        # Pixels at the very edge are repeated, where a crop reaches it.
        steps = np.diff(rows[1:-1, 0]), np.diff(columns[0, 1:-1])
        for step in steps:
            np.testing.assert_allclose(step, step[0], rtol=1e-3)
        shares.append(float(steps[0][0]))
        assert float(steps[1][0]) == pytest.approx(shares[-1], rel=1e-3)
        assert min(rows.min(), columns.min()) >= 0.0 and rows.max() < 39.001 and columns.max() < 59.001
    assert LEAST <= min(shares) < max(shares) <= 1.0


def test_crops_keep_the_type_of_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), np.uint8)
    found = cropped(pixels, 1, np.random.default_rng(0))
    assert found.dtype == np.uint8 and found.shape == pixels.shape
    assert found.min() >= pixels.min() and found.max() <= pixels.max()
    np.testing.assert_array_equal(cropped(np.full((2, 1, 9, 9), 7, np.uint8), 2, np.random.default_rng(1)), 7)
