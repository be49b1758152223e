"""Layers as matrix products: which rows a node makes from its input, and its constant weight as a matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.remarks import Reason

# A layer sees at most this many rows of each sample: more positions of a large image say nothing new.
ROWS_OF_A_SAMPLE = 512


@dataclass(frozen=True)
class Vectors:
    """Every vector along an axis, -1 or -2, is a row."""

    groups: ClassVar[int] = 1
    axis: int

    def of(self, values: np.ndarray, number: int = 0, most: int | None = None) -> np.ndarray:
        """The vectors of a batch, [1, rows, width]; some, spread evenly, where there are many: `number` shifts them.

        `most` is about how many at most; by default there is a limit for each sample.
        """
        axis = self.axis if values.ndim > 1 else -1
        rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
        samples = len(values) if values.ndim > 2 else 1
        return rows[None, spread(len(rows), most or ROWS_OF_A_SAMPLE * samples, number)]


@dataclass(frozen=True)
class Patches:
    """Every window of a convolution, zeros of its padding included, is a row for each group of channels (im2col)."""

    groups: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"

    def of(self, values: np.ndarray, number: int = 0, most: int | None = None) -> np.ndarray:
        """The windows of a batch [n, channels, *spatial] as [groups, rows, channels / groups * kernel].

        They are some, spread evenly, where there are many: `number` shifts them, `most` is about how many at most; by
        default there is a limit for each sample.
        """
        samples, channels = values.shape[:2]
        pads = self._padding(values.shape[2:])
        padded = np.pad(values, [(0, 0), (0, 0), *pads]) if any(map(any, pads)) else values
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._extents, tuple(range(2, values.ndim)))
        steps = [slice(None, None, step) for step in (1, 1, *self.strides, *self.dilations)]
        windows = windows[tuple(steps)]
        places = windows.shape[2 : values.ndim]
        chosen = np.arange(math.prod(places))[spread(math.prod(places), self.wanted(samples, most), number)]
        index: tuple[Any, ...] = (slice(None), slice(None), *np.unravel_index(chosen, places))
        picked = windows[index]
        split = picked.reshape(samples, self.groups, channels // self.groups, len(chosen), -1)
        return np.asarray(split.transpose(1, 0, 3, 2, 4).reshape(self.groups, samples * len(chosen), -1))

    def written(self, values: np.ndarray, number: int = 0, most: int | None = None) -> np.ndarray:
        """What was written from the rows of `of`: a batch [n, outputs, *places] as [groups, rows, outputs / groups]."""
        samples, places = len(values), math.prod(values.shape[2:])
        flat = values.reshape(samples, self.groups, -1, places)
        picked = flat[..., spread(places, self.wanted(samples, most), number)]
        return np.asarray(picked.transpose(1, 0, 3, 2).reshape(self.groups, -1, flat.shape[2]))

    @staticmethod
    def wanted(samples: int, most: int | None) -> int:
        """How many windows of each sample are taken."""
        return -(-most // max(samples, 1)) if most else ROWS_OF_A_SAMPLE

    @property
    def _extents(self) -> tuple[int, ...]:
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))

    def _padding(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        rank = len(self.kernel)
        if self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            return [self._same(*axis) for axis in zip(sizes, self._extents, self.strides, strict=True)]
        pads = self.pads if self.auto_pad == "NOTSET" else (0,) * 2 * rank
        return list(zip(pads[:rank], pads[rank:], strict=True))

    def _same(self, size: int, extent: int, stride: int) -> tuple[int, int]:
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        smaller, larger = total // 2, total - total // 2
        return (smaller, larger) if self.auto_pad == "SAME_UPPER" else (larger, smaller)


Rows = Vectors | Patches


@dataclass(frozen=True)
class Layer:
    """A node that multiplies rows of an input by a constant matrix: outputs = rows @ matrix.T, for each group.

    `tensor` names the input. `weight` is the position of the constant and `shape` its shape; `transposed` says that it
    holds the matrix with its axes exchanged. `key` names what the node writes.
    """

    key: str
    tensor: str
    rows: Rows
    weight: int
    shape: tuple[int, ...]
    transposed: bool = False

    @property
    def width(self) -> int:
        """Columns of the matrix of each group."""
        return self.shape[0] if self.transposed else math.prod(self.shape[1:])

    def matrix(self, weight: np.ndarray) -> np.ndarray:
        """A weight of the node as [groups, outputs / group, width]."""
        return (weight.T if self.transposed else weight).reshape(self.rows.groups, -1, self.width)

    def unfold(self, matrix: np.ndarray) -> np.ndarray:
        """A matrix as a weight of the node: the inverse of `matrix`."""
        return matrix.reshape(self.shape[::-1]).T if self.transposed else matrix.reshape(self.shape)


def layer_of(node: gs.Node) -> Layer | Reason:
    """The layer that a node is, or why it is none: another op, no constant weight, an input that is no variable."""
    position = WEIGHTS.get(node.op) if node.domain in (None, "", "ai.onnx") else None
    if position is None:
        return Reason("{} is no product of rows and a matrix", node.op)
    if node.op == "MatMul" and isinstance(node.inputs[0], gs.Constant):
        position = 0
    weight, read = node.inputs[position], node.inputs[0 if position else 1]
    if not isinstance(weight, gs.Constant):
        return Reason("`{}` is not a constant", weight.name)
    if isinstance(read, gs.Constant):
        return Reason("`{}` is a constant", read.name)
    shape = tuple(weight.shape)
    if node.op != "Conv" and len(shape) != 2:
        return Reason("`{}` has {} axes, not 2", weight.name, len(shape))
    rows, transposed = _FORMS[node.op](node, position)
    return Layer(str(node.outputs[0].name), str(read.name), rows, position, shape, transposed)


def spread(total: int, wanted: int, number: int) -> slice:
    """A slice that takes about `wanted` of `total` places at a fixed distance, starting elsewhere for each `number`.

    The distance has no common divisor with the total, so that it does not fall into step with the rows of an image.
    """
    distance = max(1, -(-total // max(wanted, 1)))
    while distance > 1 and math.gcd(distance, total) > 1:
        distance += 1
    return slice(number % distance, None, distance)


def _conv(node: gs.Node, position: int) -> tuple[Rows, bool]:
    kernel = tuple(node.inputs[position].shape[2:])
    ones = (1,) * len(kernel)
    rows = Patches(
        int(node.attrs.get("group", 1)),
        kernel,
        tuple(node.attrs.get("strides", ones)),
        tuple(node.attrs.get("dilations", ones)),
        tuple(node.attrs.get("pads", (0,) * 2 * len(kernel))),
        str(node.attrs.get("auto_pad", "NOTSET")),
    )
    return rows, False


def _gemm(node: gs.Node, position: int) -> tuple[Rows, bool]:
    return Vectors(-2 if node.attrs.get("transA", 0) else -1), not node.attrs.get("transB", 0)


def _matmul(node: gs.Node, position: int) -> tuple[Rows, bool]:
    return (Vectors(-1), True) if position else (Vectors(-2), False)


WEIGHTS = {"Conv": 1, "Gemm": 1, "MatMul": 1}
_FORMS: dict[str, Callable[[gs.Node, int], tuple[Rows, bool]]] = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}
