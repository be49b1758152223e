"""Windows that slide over spatial axes: what convolutions and pooling have in common, axis by axis."""

from __future__ import annotations

from dataclasses import dataclass

from pruna_ir.backends.node_view import NodeView
from pruna_ir.backends.unsupported import Unsupported


@dataclass(frozen=True)
class Windows:
    """Sizes of windows and how they slide, a number for each spatial axis; `before` and `after` are padding."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    ceil: bool = False

    @property
    def reach(self) -> tuple[int, ...]:
        """How many places a window covers."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def results(self) -> tuple[int, ...]:
        """How many windows there are."""
        return tuple(_count(self, axis) for axis in range(len(self.size)))

    @property
    def padding(self) -> str | None:
        """SAME or VALID if that pads alike; None if padding must be written out."""
        if not any(self.before) and not any(self.after) and self.fits:
            return "VALID"
        return "SAME" if all(self._same(axis) for axis in range(len(self.size))) else None

    @property
    def fits(self) -> bool:
        """Whether no window goes past the end, padding included."""
        return all(excess <= 0 for excess in self.excess)

    @property
    def excess(self) -> tuple[int, ...]:
        """How far the last window goes past the end, padding included; less than zero: what it leaves out."""
        parts = zip(self.results, self.strides, self.reach, self.size, self.before, self.after, strict=True)
        return tuple((n - 1) * s + r - (size + b + a) for n, s, r, size, b, a in parts)

    def _same(self, axis: int) -> bool:
        """Whether SAME means this padding: as many results as steps, the larger half of what they need behind."""
        size, stride, before = self.size[axis], self.strides[axis], self.before[axis]
        count = -(-size // stride)
        needed = max((count - 1) * stride + self.reach[axis] - size, 0)
        return self.results[axis] == count and before == needed // 2


def _count(windows: Windows, axis: int) -> int:
    room = windows.size[axis] + windows.before[axis] + windows.after[axis] - windows.reach[axis]
    stride = windows.strides[axis]
    if not windows.ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    # a window that starts in the padding behind is left out
    return count - 1 if (count - 1) * stride >= windows.size[axis] + windows.before[axis] else count


def windows_of(op: NodeView, kernel: tuple[int, ...]) -> Windows:
    """The windows of a node by its attributes, with automatic padding worked out."""
    size = op.shape(0)[2:]
    rank = len(size)
    strides = tuple(op.attr("strides", [1] * rank))
    dilations = tuple(op.attr("dilations", [1] * rank))
    pads = list(op.attr("pads", [0] * (2 * rank)))
    mode = op.attr("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = _automatic(size, kernel, strides, dilations, lower=mode == "SAME_LOWER")
    elif mode == "VALID":
        pads = [0] * (2 * rank)
    elif mode not in ("NOTSET", ""):
        raise Unsupported(f"auto_pad={mode} is not known")
    ceil = bool(op.attr("ceil_mode", 0)) and mode in ("NOTSET", "", "VALID")
    return Windows(size, tuple(kernel), strides, dilations, tuple(pads[:rank]), tuple(pads[rank:]), ceil)


def _automatic(
    size: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], *, lower: bool
) -> list[int]:
    before, after = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        needed = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        small, large = needed // 2, needed - needed // 2
        before.append(large if lower else small)
        after.append(small if lower else large)
    return before + after


def with_rows(windows: Windows) -> Windows:
    """Windows over one axis as windows over two, the first of which has one place."""
    none, one = (0,), (1,)
    return Windows(
        one + windows.size,
        one + windows.kernel,
        one + windows.strides,
        one + windows.dilations,
        none + windows.before,
        none + windows.after,
        windows.ceil,
    )
