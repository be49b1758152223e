"""Resize: operators of Core ML where one of them is exactly what is meant, else indices and matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.table import lowers
from pruna_ir.backends.resampling import Resampling, resamplings


@lowers("Resize", "Upsample")
def resize(op: Op) -> None:
    """upsample_nearest_neighbor where pixels are repeated, upsample_bilinear; else gather or matmul, axis by axis."""
    axes = resamplings(op)
    changed = [axis for axis, found in enumerate(axes) if _changes(found)]
    native = _native(axes, changed)
    if native is not None:
        kind, options = native
        factors = {
            "scale_factor_height": axes[2].after / axes[2].before,
            "scale_factor_width": axes[3].after / axes[3].before,
        }
        op.write(op(kind, x=op.read(), **factors, **options))
        return
    data = op.read()
    for axis in changed:
        data = _along(op, data, axes[axis], axis)
    op.write(data if changed else op("identity", x=data))


def _changes(axis: Resampling) -> bool:
    return axis.before != axis.after or not np.array_equal(axis.matrix(), np.eye(axis.before))


def _native(axes: list[Resampling], changed: list[int]) -> tuple[str, dict[str, Any]] | None:
    """The operator for images that samples at the same places, if there is one."""
    if len(axes) != 4 or not changed or min(changed) < 2:
        return None
    image = axes[2:]
    whole = all(axis.after % axis.before == 0 for axis in image)
    if image[0].mode == "nearest":
        repeats = all(np.array_equal(a.indices(), np.arange(a.after) * a.before // a.after) for a in image)
        return ("upsample_nearest_neighbor", {}) if repeats and whole else None
    if image[0].mode == "linear" and whole:
        for corners, places in ((False, _halves), (True, _corners)):
            if all(np.allclose(_inside(axis, axis.places()), _inside(axis, places(axis)), atol=1e-7) for axis in image):
                return "upsample_bilinear", {"align_corners": corners, "half_pixel_centers": not corners}
    return None


def _inside(axis: Resampling, places: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(places, 0, axis.before - 1))


def _halves(axis: Resampling) -> np.ndarray:
    return (np.arange(axis.after) + 0.5) * (axis.before / axis.after) - 0.5


def _corners(axis: Resampling) -> np.ndarray:
    return np.arange(axis.after) * ((axis.before - 1) / max(axis.after - 1, 1))


def _along(op: Op, data: Any, found: Resampling, axis: int) -> Any:
    """One axis resampled."""
    if found.mode == "nearest":
        return op("gather", x=data, indices=found.indices().astype(np.int32), axis=axis)
    rank = len(data.shape)
    matrix = np.ascontiguousarray(found.matrix(), np.float32)
    if rank > 1 and axis == rank - 2:
        return op("matmul", x=matrix, y=data)
    order = [*(place for place in range(rank) if place != axis), axis]
    last = data if axis == rank - 1 else op("transpose", x=data, perm=order)
    last = op("expand_dims", x=last, axes=[0]) if rank == 1 else last
    moved = op("matmul", x=last, y=np.ascontiguousarray(matrix.T))
    moved = op("squeeze", x=moved, axes=[0]) if rank == 1 else moved
    return moved if axis == rank - 1 else op("transpose", x=moved, perm=[int(place) for place in np.argsort(order)])
