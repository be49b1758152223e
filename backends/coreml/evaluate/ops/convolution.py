"""Convolutions, by matrix products over all windows at once."""

from __future__ import annotations

from itertools import product

import numpy as np

from pruna_ir.backends.coreml.evaluate.ops.activations import per_channel
from pruna_ir.backends.coreml.evaluate.table import computes
from pruna_ir.backends.coreml.evaluate.windows import Windows, ints, padded, pairs

Array = np.ndarray


@computes("conv")
def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    """Convolution of x [N, C, *sizes] with weight [O, C / groups, *kernel]."""
    windows = Windows.of(weight.shape[2:], strides, dilations)
    view = windows.view(padded(x, windows.pads(pad_type, pad, x.shape[2:])))
    rank = x.ndim - 2
    positions = view.shape[2 + rank :]
    batch, channels, count = x.shape[0], x.shape[1], int(groups)
    if count == channels and weight.shape[1] == 1:
        result = _depthwise(view, weight, rank)
    else:
        columns = view.reshape(batch, count, -1, int(np.prod(positions)))
        result = weight.reshape(count, weight.shape[0] // count, -1) @ columns
    result = result.reshape(batch, weight.shape[0], *positions)
    return result if bias is None else result + per_channel(bias, result)


def _depthwise(view: Array, weight: Array, rank: int) -> Array:
    """A window of one channel at a time: a sum over the few places of the kernel is faster than tiny products."""
    channels = view.shape[1]
    factors = weight.reshape(channels, -1, *weight.shape[2:])
    result = np.zeros((view.shape[0], channels, factors.shape[1], *view.shape[2 + rank :]), view.dtype)
    for place in product(*map(range, weight.shape[2:])):
        at_place: tuple[int | slice, ...] = (slice(None), slice(None), *place)
        result += factors[at_place].reshape(channels, -1, *[1] * rank) * view[at_place][:, :, None]
    return result


@computes("conv_transpose")
def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Array | None = None,
    output_shape: Array | None = None,
    pad_type: str = "valid",
    strides: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    """Transposed convolution of x [N, C, *sizes] with weight [C, O / groups, *kernel].

    What `output_shape` asks for beyond the windows' reach is the bias alone.
    """
    windows = Windows.of(weight.shape[2:], strides, dilations)
    full = _spread(x, weight, windows, int(groups))
    sizes, reach = x.shape[2:], full.shape[2:]
    if output_shape is not None:
        wanted = ints(output_shape)[2:]
    elif pad_type == "same":
        wanted = tuple(size * stride for size, stride in zip(sizes, windows.strides, strict=True))
    else:
        taken = pairs(pad) if pad_type == "custom" and pad is not None else [(0, 0)] * len(sizes)
        wanted = tuple(size - before - behind for size, (before, behind) in zip(reach, taken, strict=True))
    begins = [0] * len(sizes)
    if pad_type == "custom" and pad is not None:
        begins = [before for before, _ in pairs(pad)]
    elif pad_type == "same":
        begins = [max(size - found, 0) // 2 for size, found in zip(reach, wanted, strict=True)]
    ends = [begin + size for begin, size in zip(begins, wanted, strict=True)]
    full = padded(full, [(0, max(end - size, 0)) for end, size in zip(ends, reach, strict=True)])
    result = full[(slice(None), slice(None), *map(slice, begins, ends))]
    return result if bias is None else result + per_channel(bias, result)


def _spread(x: Array, weight: Array, windows: Windows, groups: int) -> Array:
    """Every value of x times the kernel, added up where the copies overlap."""
    batch, channels, *sizes = x.shape
    outputs = weight.shape[1] * groups
    factors = weight.reshape(groups, channels // groups, -1).swapaxes(1, 2)
    columns = (factors @ x.reshape(batch, groups, channels // groups, -1)).reshape(
        batch, outputs, *windows.kernel, *sizes
    )
    reach = [
        (size - 1) * stride + extent
        for size, stride, extent in zip(sizes, windows.strides, windows.extents, strict=True)
    ]
    result = np.zeros((batch, outputs, *reach), columns.dtype)
    for place in product(*map(range, windows.kernel)):
        begins = [index * step for index, step in zip(place, windows.dilations, strict=True)]
        where = [
            slice(begin, begin + (size - 1) * stride + 1, stride)
            for begin, size, stride in zip(begins, sizes, windows.strides, strict=True)
        ]
        result[(slice(None), slice(None), *where)] += columns[(slice(None), slice(None), *place)]
    return result
