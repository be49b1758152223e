"""The biases of integer kernels: where they are, and shifting them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, Stored, params_of, stored, writer_of
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.rewriter import Rewriter

_INT32 = np.iinfo(np.int32)
_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class _Form:
    """Of an op with a weight: the position of its weight and bias, and the axis of its output's channels."""

    channel_axis: int
    weight: int = 1
    bias: int | None = 2


_FORMS = {
    "Conv": _Form(channel_axis=1),
    "ConvTranspose": _Form(channel_axis=1),
    "Gemm": _Form(channel_axis=-1),
    "MatMul": _Form(channel_axis=-1, bias=None),
}


@dataclass
class Bias:
    """The bias of an integer kernel, one number for each of `channels`; `reader` reads it at `position`.

    `step` is what its integers count, None for one in float; `values` are None where there is no bias yet.
    """

    kernel: gs.Node
    reader: gs.Node
    position: int
    channels: int
    channel_axis: int
    values: np.ndarray | None
    step: np.ndarray | None

    def shift(self, amount: np.ndarray) -> np.ndarray:
        """Add to the bias, and return what was really added: whole steps, where it is in integers."""
        if self.step is None:
            before = np.zeros(self.channels, _FLOAT) if self.values is None else self.values
            self.values = (before + amount).astype(_FLOAT)
            return np.asarray(self.values - before)
        before = np.zeros(self.channels, np.int64) if self.values is None else self.values.astype(np.int64)
        moved = np.clip(before + np.rint(amount / self.step), _INT32.min, _INT32.max).astype(np.int64)
        self.values = moved.astype(np.int32)
        return np.asarray((moved - before) * self.step, _FLOAT)

    def write(self, rewriter: Rewriter, names: NodeNames) -> None:
        """Put the values into the graph as a constant of their own."""
        assert self.values is not None
        name = f"{self.kernel.outputs[0].name}_bias"
        if self.step is None:
            self._read(rewriter.constant(name, self.values), rewriter)
            return
        scale = rewriter.constant(f"{name}_scale", self.step.astype(_FLOAT))
        result = rewriter.variable(f"{name}_dq", _FLOAT, [self.channels])
        inputs = [rewriter.constant(f"{name}_q", self.values), scale]
        attributes = {"axis": 0} if self.step.ndim else {}
        node = gs.Node(DEQUANTIZE, names.fresh(f"{name}_DQ"), attributes, inputs, [result])
        rewriter.insert(node, self.reader)
        self._read(result, rewriter)

    def _read(self, tensor: gs.Tensor, rewriter: Rewriter) -> None:
        before = self.reader.inputs[self.position] if self.position < len(self.reader.inputs) else None
        rewriter.set_input(self.reader, self.position, tensor)
        if before is not None and not before.is_empty():
            rewriter.erase_unread(before)


def bias_of(kernel: gs.Node, *, in_integers: bool = True) -> Bias | None:
    """The bias of a kernel with an integer weight, or where one can be added; None if there is no place for one.

    `in_integers` says what a bias that is not there yet will be.
    """
    form = _FORMS.get(kernel.op)
    weight = stored(kernel.inputs[form.weight]) if form is not None and len(kernel.inputs) > form.weight else None
    if form is None or weight is None or kernel.outputs[0].dtype != _FLOAT:
        return None
    reader, position = (kernel, form.bias) if form.bias is not None else _added_behind(kernel)
    if reader is None or position is None:
        return None
    bias = Bias(kernel, reader, position, _channels(kernel, weight), form.channel_axis, None, None)
    if len(reader.inputs) > position and not reader.inputs[position].is_empty():
        return _existing(bias)
    bias.step = _step(kernel, weight) if in_integers else None
    return bias if bias.step is not None or not in_integers else None


def _existing(bias: Bias) -> Bias | None:
    """A bias with the values that the graph has for it; None if they are no constants, or not one for a channel."""
    tensor = bias.reader.inputs[bias.position]
    inside = stored(tensor)
    if inside is not None:
        params = params_of(inside.dequantize)
        if params is None or inside.constant.dtype != np.int32 or params.zero_point.any():
            return None
        values, bias.step = inside.constant.values, params.scale.astype(np.float64)
    elif isinstance(tensor, gs.Constant) and tensor.dtype == _FLOAT:
        values = tensor.values
    else:
        return None
    if values.size not in (1, bias.channels):
        return None
    bias.values = np.broadcast_to(values.reshape(-1), (bias.channels,))
    return bias


def _added_behind(kernel: gs.Node) -> tuple[gs.Node | None, int | None]:
    """The Add of a constant right behind a MatMul, and the position of that constant."""
    readers = kernel.outputs[0].outputs
    if len(readers) != 1 or readers[0].op != "Add":
        return None, None
    add = readers[0]
    constants = [
        at for at, read in enumerate(add.inputs) if (inside := stored(read)) and inside.constant.dtype == np.int32
    ]
    return (add, constants[0]) if constants else (None, None)


def _channels(kernel: gs.Node, weight: Stored) -> int:
    shape = weight.constant.shape
    if kernel.op == "ConvTranspose":
        return int(shape[1] * kernel.attrs.get("group", 1))
    if kernel.op == "Conv" or kernel.attrs.get("transB", 0):
        return int(shape[0])
    return int(shape[-1])


def _step(kernel: gs.Node, weight: Stored) -> np.ndarray | None:
    """What a product of an activation and a weight counts in integers: the scale of an integer bias."""
    writer = writer_of(kernel.inputs[0])
    activation = params_of(writer) if writer is not None and writer.op == DEQUANTIZE else None
    params = params_of(weight.dequantize)
    if activation is None or params is None or activation.scale.ndim:
        return None
    return (
        np.asarray(activation.scale.astype(np.float64) * params.scale.astype(np.float64)).astype(_FLOAT).astype(float)
    )
