"""Padding."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers

Pads = list[tuple[int, int]]


@lowers("Pad", layout=DATA_FOLLOWS)
def pad(op: Op) -> None:
    """PAD with zeros, PADV2 with another value, MIRROR_PAD; what repeats edges or wraps around is gathered."""
    pads = op.stored(_pads(op))
    data, mode = op.read(), op.attr("mode", "constant")
    if mode == "constant":
        data, pads = _cut(op, data, pads)
        _constant(op, data, pads)
    elif mode == "reflect" and all(0 <= max(pair) < n for pair, n in zip(pads, data.shape, strict=True)):
        op.emit("MIRROR_PAD", [data, op.const(pads)], op.write(), mode="REFLECT")
    else:
        _gathered(op, data, pads, mode)


def _pads(op: Op) -> Pads:
    """What is added before and behind each axis of ONNX's."""
    rank = len(op.shape())
    given = op.required(1, "padding").reshape(-1).tolist() if op.has(1) else op.attr("pads")
    axes = [int(axis) % rank for axis in op.required(3, "list of axes").reshape(-1)] if op.has(3) else range(rank)
    pads = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        pads[axis] = int(given[position]), int(given[position + len(given) // 2])
    return pads


def _cut(op: Op, data: Tensor, pads: Pads) -> tuple[Tensor, Pads]:
    """Negative padding is a slice."""
    if min(min(pair) for pair in pads) >= 0:
        return data, pads
    starts = [max(-before, 0) for before, _ in pads]
    sizes = [n - s - max(-after, 0) for n, s, (_, after) in zip(data.shape, starts, pads, strict=True)]
    data = op.apply("SLICE", [data, op.const(starts), op.const(sizes)], sizes, data)
    return data, [(max(before, 0), max(after, 0)) for before, after in pads]


def _constant(op: Op, data: Tensor, pads: Pads) -> None:
    value = float(op.required(2, "value").reshape(())) if op.has(2) else float(op.attr("value", 0.0))
    if not any(map(any, pads)):
        op.tensors.reshape_into(data, op.write())
    elif value == 0.0:
        op.emit("PAD", [data, op.const(pads)], op.write())
    else:
        op.emit("PADV2", [data, op.const(pads), _value(op, data, value)], op.write())


def _value(op: Op, data: Tensor, value: float) -> Tensor:
    """The value as the data has it, in integers of its scale."""
    if data.quantization is None:
        return op.tensors.raw(np.array([value], data.dtype), f"{op.name}/value")
    info = np.iinfo(data.dtype)
    units = np.rint(np.float32(value) / data.quantization.scale) + data.quantization.zero_point
    return op.tensors.raw(np.clip(units, info.min, info.max).astype(data.dtype), f"{op.name}/value", data.quantization)


def _gathered(op: Op, data: Tensor, pads: Pads, mode: str) -> None:
    """Along every axis the places that each result comes from."""
    changed = [axis for axis, pair in enumerate(pads) if any(pair)]
    if not changed:
        op.tensors.reshape_into(data, op.write())
    for axis in changed:
        places = _places(data.shape[axis], pads[axis], mode)
        shape = [*data.shape[:axis], len(places), *data.shape[axis + 1 :]]
        result = op.write() if axis == changed[-1] else op.temp(shape, data)
        op.emit("GATHER", [data, op.const(places)], result, axis=axis, batchDims=0)
        data = result


def _places(size: int, pads: tuple[int, int], mode: str) -> np.ndarray:
    places = np.arange(-pads[0], size + pads[1])
    if mode == "edge":
        return np.clip(places, 0, size - 1)
    if mode == "wrap":
        return places % size
    if mode == "reflect":
        period = max(2 * (size - 1), 1)
        folded = places % period
        return np.minimum(folded, period - folded)
    raise Unsupported(f"mode={mode} is not known")
