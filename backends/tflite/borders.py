"""Layouts of images at the border of a file: with channels first or last, or as the ONNX model has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_graphsurgeon as gs

from pruna_ir.backends.tflite.contraction import Contraction
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layouts import Layout, channels_last, identity, inverse

_IMAGE = 4
_TO_LAST = channels_last(_IMAGE)
_TO_FIRST = inverse(_TO_LAST)
_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")


def border_layouts(contraction: Contraction, io: str) -> dict[int, Layout]:
    """Layouts of inputs and outputs of four dimensions by identity, for those that are not stored as in ONNX.

    `io` is `nchw`, `nhwc`, or `onnx`, which leaves all as they are. A graph that has images with channels last already
    begins by transposing them, and ends so.
    """
    if io == "onnx":
        return {}
    readers: dict[int, list[Kernel]] = {}
    writers: dict[int, list[Kernel]] = {}
    for kernel in contraction.kernels:
        for tensor in kernel.inputs:
            readers.setdefault(id(tensor), []).append(kernel)
        for tensor in kernel.outputs:
            writers[id(tensor)] = [kernel]
    found: dict[int, Layout] = {}
    for value in contraction.inputs:
        last = _turned(value, lambda tensor: readers.get(id(tensor), []), lambda kernel: kernel.outputs[0], _TO_FIRST)
        found[id(value)] = _layout(io, last)
    for value in contraction.outputs:
        last = _turned(value, lambda tensor: writers.get(id(tensor), []), lambda kernel: kernel.inputs[0], _TO_LAST)
        found.setdefault(id(value), _layout(io, last))
    images = [value for value in [*contraction.inputs, *contraction.outputs] if len(value.shape) == _IMAGE]
    return {id(value): found[id(value)] for value in images if found[id(value)] != identity(_IMAGE)}


def _layout(io: str, last: bool) -> Layout:
    """How a value is stored that ONNX has with channels last, or first."""
    if io == "nhwc":
        return identity(_IMAGE) if last else _TO_LAST
    return _TO_FIRST if last else identity(_IMAGE)


def _turned(
    value: gs.Tensor,
    kernels: Callable[[gs.Tensor], Iterable[Kernel]],
    beyond: Callable[[Kernel], gs.Tensor],
    order: Layout,
) -> bool:
    """Whether all that stands next to a value, behind conversions, is a Transpose of this order."""
    found = list(kernels(value))
    return bool(found) and all(
        _turned(beyond(kernel), kernels, beyond, order)
        if kernel.op in _CONVERSIONS
        else kernel.op == "Transpose" and tuple(kernel.node.attrs.get("perm", ())) == order
        for kernel in found
    )
