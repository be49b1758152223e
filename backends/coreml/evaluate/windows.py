"""Windows that slide over the spatial axes of a tensor, as convolutions and pools read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Pads = list[tuple[int, int]]


@dataclass(frozen=True)
class Windows:
    """How windows lie on spatial axes: their size, step and dilation, each a number an axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @classmethod
    def of(cls, kernel: Sequence[int] | Array, strides: Array | None, dilations: Array | None = None) -> Windows:
        """From the inputs of an operator, of which some may be missing: 1 everywhere."""
        ones = np.ones(len(kernel), np.int32)
        return cls(
            ints(kernel), ints(ones if strides is None else strides), ints(ones if dilations is None else dilations)
        )

    @property
    def extents(self) -> tuple[int, ...]:
        """What a window spans with its dilation."""
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))

    def pads(self, pad_type: str, pad: Array | None, sizes: Sequence[int]) -> Pads:
        """What is added before and behind each axis of these sizes."""
        if pad_type == "custom" and pad is not None:
            return pairs(pad)
        if pad_type in ("same", "same_lower"):
            totals = [
                max(0, stride * -(-size // stride) - size + extent - stride)
                for size, extent, stride in zip(sizes, self.extents, self.strides, strict=True)
            ]
            # An odd one goes behind, or with same_lower before.
            less = [(total // 2, total - total // 2) for total in totals]
            return less if pad_type == "same" else [(behind, before) for before, behind in less]
        return [(0, 0)] * len(sizes)

    def view(self, x: Array) -> Array:
        """All windows of x [N, C, *sizes], without copying: [N, C, *kernel, *positions]."""
        spatial = x.shape[2:]
        positions = tuple(
            (size - extent) // stride + 1
            for size, extent, stride in zip(spatial, self.extents, self.strides, strict=True)
        )
        if min(positions, default=1) <= 0:
            raise ValueError(f"a window of {list(self.extents)} does not fit into {list(spatial)}")
        steps = x.strides[2:]
        inside = tuple(step * dilation for step, dilation in zip(steps, self.dilations, strict=True))
        between = tuple(step * stride for step, stride in zip(steps, self.strides, strict=True))
        shape = (*x.shape[:2], *self.kernel, *positions)
        return np.lib.stride_tricks.as_strided(x, shape, (*x.strides[:2], *inside, *between), writeable=False)


def padded(x: Array, pads: Pads, value: float = 0.0) -> Array:
    """x [N, C, *sizes] with a value around its spatial axes."""
    if not any(map(any, pads)):
        return x
    return np.pad(x, [(0, 0), (0, 0), *pads], constant_values=value)


def pairs(flat: Array) -> Pads:
    """Numbers before and behind each axis, from one list of them."""
    values = ints(flat)
    return list(zip(values[::2], values[1::2], strict=True))


def ints(values: Sequence[int] | Array) -> tuple[int, ...]:
    """Plain numbers."""
    return tuple(int(value) for value in np.asarray(values).reshape(-1))
