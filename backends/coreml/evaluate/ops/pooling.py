"""Pools."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes
from pruna_ir.backends.coreml.evaluate.windows import Pads, Windows, padded

Array = np.ndarray


@computes("max_pool")
def max_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: Array | bool = False,
) -> Array:
    """The largest value of each window; what is padded never wins."""
    windows = Windows.of(kernel_sizes, strides)
    pads, more = _pads(windows, x, pad_type, pad, bool(ceil_mode))
    view = windows.view(padded(padded(x, pads, -np.inf), more, -np.inf))
    return np.asarray(view.max(axis=_kernel_axes(x)))


@computes("avg_pool")
def avg_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    exclude_padding_from_average: Array | bool = False,
    ceil_mode: Array | bool = False,
) -> Array:
    """The mean of each window, over the input's values or with the padded zeros.

    What `ceil_mode` adds behind the padded input counts for nothing, as in PyTorch.
    """
    windows = Windows.of(kernel_sizes, strides)
    pads, more = _pads(windows, x, pad_type, pad, bool(ceil_mode))
    sums = windows.view(padded(padded(x, pads), more)).sum(axis=_kernel_axes(x))
    ones = np.ones((1, 1, *x.shape[2:]), np.float32)
    counted = padded(padded(ones, pads, 0.0 if exclude_padding_from_average else 1.0), more)
    return np.asarray(sums / windows.view(counted).sum(axis=_kernel_axes(x)))


@computes("l2_pool")
def l2_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: str,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: Array | bool = False,
) -> Array:
    """The root of the sum of squares of each window."""
    windows = Windows.of(kernel_sizes, strides)
    pads, more = _pads(windows, x, pad_type, pad, bool(ceil_mode))
    return np.asarray(np.sqrt(np.square(windows.view(padded(padded(x, pads), more))).sum(axis=_kernel_axes(x))))


def _kernel_axes(x: Array) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def _pads(windows: Windows, x: Array, pad_type: str, pad: Array | None, ceil: bool) -> tuple[Pads, Pads]:
    """The padding that is asked for, and what is added behind it for the last, incomplete window.

    A window that would begin behind the input is none, unless nothing is padded.
    """
    pads = windows.pads(pad_type.lower(), pad, x.shape[2:])
    if not ceil:
        return pads, [(0, 0)] * len(pads)
    more = []
    for axis, (before, behind) in enumerate(pads):
        size, stride, kernel = x.shape[2 + axis], windows.strides[axis], windows.kernel[axis]
        count = -(-(size + before + behind - kernel) // stride) + 1
        if (count - 1) * stride >= size + before and before + behind > 0:
            count -= 1
        more.append((0, max(0, (count - 1) * stride + kernel - size - before - behind)))
    return pads, more
