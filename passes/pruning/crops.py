"""Random crops of images: more samples to fit layers to, where there are few."""

from __future__ import annotations

import numpy as np

# Crops keep at least this share of both sides.
LEAST = 0.6


def cropped(images: np.ndarray, axis: int, generator: np.random.Generator) -> np.ndarray:
    """A random rectangle of each image of a batch, of its aspect ratio, enlarged to its size.

    `axis` is that of the rows of pixels, the one behind it that of the columns. Values between pixels are linear.
    """
    found = np.empty_like(images)
    for number, image in enumerate(images):
        share, values = generator.uniform(LEAST, 1.0), image.astype(np.float32)
        for side in (axis - 1, axis):
            size = image.shape[side]
            start = generator.uniform(0.0, size * (1.0 - share))
            values = _sampled(values, side, start + (np.arange(size) + 0.5) * share - 0.5)
        found[number] = values if np.issubdtype(images.dtype, np.floating) else np.rint(values)
    return found


def _sampled(values: np.ndarray, axis: int, places: np.ndarray) -> np.ndarray:
    """Values along an axis at places between its indices; beyond the last, the last."""
    last = values.shape[axis] - 1
    places = np.clip(places, 0, last)
    below = places.astype(np.int64)
    above = np.minimum(below + 1, last)
    part = (places - below).astype(np.float32).reshape([-1 if side == axis else 1 for side in range(values.ndim)])
    return np.asarray(values.take(below, axis) * (1 - part) + values.take(above, axis) * part)
