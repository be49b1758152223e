"""Resize: an operator of the runtime where it samples at the same places, else a gather or a product for each axis."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pruna_ir.backends.resampling import Resampling, resamplings
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layout_rules import Follows
from pruna_ir.backends.tflite.layouts import Layout, channels_last
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

# How far places may be from each other, relative to the size of the image.
_SAME_PLACE = 1e-6

Places = Callable[[Resampling], np.ndarray]


class _Images(Follows):
    """Channels-last for images that are resized in space; any layout else."""

    def fixed(self, kernel: Kernel) -> Layout | None:
        before, after = kernel.inputs[0].shape, kernel.outputs[0].shape
        if len(before) == 4 and list(before[:2]) == list(after[:2]):
            return channels_last(4)
        return super().fixed(kernel)


@lowers("Resize", "Upsample", layout=_Images(only=(0,)))
def resize(op: Op) -> None:
    """RESIZE_NEAREST_NEIGHBOR, RESIZE_BILINEAR; where those sample elsewhere, GATHER or BATCH_MATMUL for each axis."""
    axes = resamplings(op)
    changing = [axis for axis, item in enumerate(axes) if _changes(item)]
    spatial = op.mode == channels_last(4) and all(axis >= 2 for axis in changing)
    data = op.read()
    if not changing:
        op.tensors.reshape_into(data, op.write())
        return
    found = _native(axes[2:]) if spatial else None
    if found is not None:
        code, options = found
        op.emit(code, [data, op.const([axes[2].after, axes[3].after])], op.write(), **options)
        return
    for position, axis in enumerate(changing):
        last = position == len(changing) - 1
        data = _along(op, data, axes[axis], op.axis(axis), last=last)


def _changes(axis: Resampling) -> bool:
    return axis.before != axis.after or not np.array_equal(axis.matrix(), np.eye(axis.before))


def _native(axes: list[Resampling]) -> tuple[str, dict[str, bool]] | None:
    """The operator and options that sample two spatial axes at the same places, if there are some."""
    if axes[0].mode == "nearest":
        for name, places in _NEAREST.items():
            if all(np.array_equal(axis.indices(), places(axis)) for axis in axes):
                return "RESIZE_NEAREST_NEIGHBOR", {} if not name else {name: True}
    if axes[0].mode == "linear":
        for name, places in _LINEAR.items():
            if all(_close(axis, axis.places(), places(axis)) for axis in axes):
                return "RESIZE_BILINEAR", {} if not name else {name: True}
    return None


def _close(axis: Resampling, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether places are the same, as far as float32 goes; those outside of the image are at its border."""
    last = axis.before - 1
    return bool(np.allclose(np.clip(one, 0, last), np.clip(other, 0, last), rtol=0, atol=_SAME_PLACE * axis.before))


def _steps(axis: Resampling) -> np.ndarray:
    return np.arange(axis.after, dtype=np.float64)


def _corners(axis: Resampling) -> np.ndarray:
    """Where results come from if the corners stay where they are."""
    ratio = (axis.before - 1) / (axis.after - 1) if axis.after > 1 else axis.before / axis.after
    return _steps(axis) * ratio


def _halves(axis: Resampling) -> np.ndarray:
    """Where they come from if pixels are squares."""
    return (_steps(axis) + 0.5) * (axis.before / axis.after)


def _start(axis: Resampling) -> np.ndarray:
    return _steps(axis) * (axis.before / axis.after)


def _last(axis: Resampling, places: np.ndarray) -> np.ndarray:
    return np.asarray(np.minimum(places.astype(np.int64), axis.before - 1))


_NEAREST: dict[str, Places] = {
    "": lambda axis: _last(axis, np.floor(_start(axis))),
    "halfPixelCenters": lambda axis: _last(axis, np.floor(_halves(axis))),
    "alignCorners": lambda axis: _last(axis, np.floor(_corners(axis) + 0.5)),
}
_LINEAR: dict[str, Places] = {
    "halfPixelCenters": lambda axis: _halves(axis) - 0.5,
    "alignCorners": _corners,
    "": _start,
}


def _along(op: Op, data: Tensor, axis: Resampling, place: int, *, last: bool) -> Tensor:
    """Resample along one stored axis."""
    shape = [*data.shape[:place], axis.after, *data.shape[place + 1 :]]
    result = op.write() if last else op.temp(shape, data)
    if axis.mode == "nearest":
        op.emit("GATHER", [data, op.const(axis.indices())], result, axis=place, batchDims=0)
        return result
    if op.integer:
        raise Unsupported("it samples at places for which there is no integer kernel")
    lead, rest = int(np.prod(data.shape[:place])), int(np.prod(data.shape[place + 1 :]))
    flat = op.reshape(data, (lead, axis.before, rest))
    matrix = op.const(np.broadcast_to(axis.matrix(), (lead, axis.after, axis.before)), np.float32)
    product = op.apply("BATCH_MATMUL", [matrix, flat], (lead, axis.after, rest), data)
    op.tensors.reshape_into(product, result)
    return result
