"""The tensors of a program: where the values of the graph are stored, in which layouts, and constants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import stored as stored_behind
from pruna_ir.backends.tflite.constants import Constants
from pruna_ir.backends.tflite.layouts import Layout, identity, padded, same_order, stored_shape
from pruna_ir.backends.tflite.program import Operator, Quantization, Tensor
from pruna_ir.backends.tflite.types import narrow, narrowed
from pruna_ir.calibration.scheme import QuantParams

# Types of integers that the file can hold for real numbers: others become floats.
_UNPACKED = ("int8", "uint8")


@dataclass(frozen=True)
class ConstantValue:
    """A constant of the graph; `params` say what its integers stand for, where it is stored in integers."""

    name: str
    array: np.ndarray
    params: QuantParams | None = None

    def real(self) -> np.ndarray:
        """Its values, out of integers where they stand for real numbers."""
        if self.params is None:
            return self.array
        scale, zero_point = self.params.broadcast(self.array.ndim)
        return np.asarray((self.array.astype(np.int64) - zero_point).astype(np.float32) * scale)


def constant_value(tensor: gs.Tensor) -> ConstantValue | None:
    """The constant that a tensor is, by itself or behind a DequantizeLinear."""
    if isinstance(tensor, gs.Constant):
        return ConstantValue(tensor.name, np.asarray(tensor.values))
    behind = stored_behind(tensor)
    if behind is None:
        return None
    params = _params(behind.dequantize)
    return ConstantValue(behind.constant.name, np.asarray(behind.constant.values), params)


def _params(node: gs.Node) -> QuantParams:
    from pruna_ir.analysis.qdq import params_of

    found = params_of(node)
    assert found is not None
    return found


def quantization_of(params: QuantParams, axis: int = 0) -> Quantization:
    """Scale and zero point as the file has them; `axis` is where scales per channel lie in what is stored."""
    scale = np.atleast_1d(params.scale).astype(np.float32)
    return Quantization(scale, np.atleast_1d(params.zero_point).astype(np.int64), axis if scale.size > 1 else 0)


class Tensors:
    """Values of the graph as tensors of the program, each in the layouts that somebody has asked for.

    `params` are scale and zero point of the integer tensors, by identity. Operators that converting takes go to `emit`.
    `half` stores constants in 16 bits that these hold; `hybrid` gives weights in integers to kernels of floats.
    """

    def __init__(
        self,
        params: Mapping[int, QuantParams],
        emit: Callable[[Operator], None],
        *,
        half: bool = False,
        hybrid: bool = False,
    ) -> None:
        self.hybrid = hybrid
        self._params, self._emit, self._half = params, emit, half
        self._stored: dict[tuple[int, Layout], Tensor] = {}
        self._written: dict[int, Layout] = {}
        self._constants = Constants()
        self._unpacked: dict[int, Tensor] = {}
        self._names: dict[str, Tensor] = {}

    def declare(self, value: gs.Tensor, layout: Layout) -> Tensor:
        """The tensor that a kernel, or the caller of the model, writes a value to."""
        params = self._params.get(id(value))
        quantization = None if params is None else quantization_of(params)
        if quantization is not None and params is not None and params.axis is not None:
            quantization = quantization_of(params, layout.index(params.axis % len(layout)))
        shape = stored_shape(static(value), layout)
        tensor = self._named(Tensor(str(value.name), shape, narrowed(value.dtype), quantization))
        self._stored[id(value), layout] = tensor
        self._written[id(value)] = layout
        return tensor

    def place(self, value: gs.Tensor, layout: Layout, tensor: Tensor) -> None:
        """Say that a value lies in a tensor that is there already."""
        self._stored[id(value), layout] = tensor
        self._written.setdefault(id(value), layout)

    def rename(self, tensor: Tensor, name: str) -> None:
        """Give a tensor the name of a value; the one that has it now, in another layout, gets another name."""
        holder = self._names.get(name)
        if holder is tensor:
            return
        if holder is not None:
            self._name(holder, f"{name}/stored")
        tensor.name, self._names[name] = name, tensor

    def written(self, value: gs.Tensor) -> Layout:
        """The layout in which a value was written."""
        return self._written[id(value)]

    def read(self, value: gs.Tensor, layout: Layout, *, integers: bool = False) -> Tensor:
        """A value in a layout, moved there if it lies in another one. `integers` takes constants as they are stored."""
        known = constant_value(value)
        if known is not None:
            return self._read_constant(known, lambda array: array.transpose(layout), layout.index, integers)
        key = id(value), layout
        if key not in self._stored:
            self._stored[key] = self._moved(value, layout)
        return self._stored[key]

    def read_broadcast(self, value: gs.Tensor, mode: Layout, *, integers: bool = False) -> Tensor:
        """A value of fewer axes than `mode` has, with ones in front, in that layout."""
        known, size, rank = constant_value(value), len(value.shape), len(mode)
        if (known is not None and known.array.size == 1) or (size == 0 or mode == identity(rank)):
            return self.read(value, identity(size), integers=integers)
        extra = rank - size
        if known is not None:

            def change(array: np.ndarray) -> np.ndarray:
                return array.reshape((1,) * extra + array.shape).transpose(mode)

            return self._read_constant(known, change, lambda axis: mode.index(axis + extra), integers)
        layout = self._written[id(value)]
        source = self._stored[id(value), layout]
        shape = (1,) * extra + static(value)
        return self._converted(source, shape, padded(layout, rank), mode)

    def read_any_order(self, value: gs.Tensor) -> Tensor:
        """A value in whatever layout stores it in the order of ONNX: for what only looks at the sequence of values."""
        layout = self._written.get(id(value))
        order = identity(len(value.shape))
        if layout is not None and same_order(static(value), layout, order):
            return self._stored[id(value), layout]
        return self.read(value, order)

    def weight(
        self,
        value: gs.Tensor,
        change: Callable[[np.ndarray], np.ndarray],
        axis: Callable[[int], int],
        integers: bool,
    ) -> Tensor:
        """A constant brought into another form by `change`; `axis` says where an axis of ONNX's went."""
        known = constant_value(value)
        assert known is not None
        return self._read_constant(known, change, axis, integers)

    def constant(self, array: np.ndarray, name: str, quantization: Quantization | None = None) -> Tensor:
        """A constant tensor; equal ones are stored once."""
        return self.raw(narrow(array, name), name, quantization)

    def temporary(
        self, name: str, shape: Iterable[int], dtype: Any, quantization: Quantization | None = None
    ) -> Tensor:
        """A tensor between the operators that one node becomes."""
        return self._named(Tensor(name, tuple(shape), np.dtype(dtype), quantization))

    def _read_constant(
        self,
        known: ConstantValue,
        change: Callable[[np.ndarray], np.ndarray],
        axis: Callable[[int], int],
        integers: bool,
    ) -> Tensor:
        if known.params is None:
            array = change(known.array)
            half = known.array.dtype.name == "float16" or self._half
            if half and array.ndim > 1 and _is_half(array):
                return self._dequantized(self.raw(array.astype(np.float16), known.name))
            return self.constant(array, known.name)
        if not integers and known.array.dtype.name not in _UNPACKED:
            return self.constant(change(known.real()), known.name)
        place = 0 if known.params.axis is None else axis(known.params.axis % known.array.ndim)
        packed = self.raw(change(known.array), known.name, quantization_of(known.params, place))
        return packed if integers else self._dequantized(packed)

    def raw(self, array: np.ndarray, name: str, quantization: Quantization | None = None) -> Tensor:
        """A constant in its own type."""
        found = self._constants.find(array, quantization)
        if found is None:
            found = self._named(Tensor(name, array.shape, array.dtype, quantization, array))
            self._constants.add(found)
        return found

    def _dequantized(self, packed: Tensor) -> Tensor:
        """The float values of a constant that is stored in fewer bits."""
        if id(packed) not in self._unpacked:
            result = self.temporary(f"{packed.name}/float", packed.shape, np.float32)
            self._emit(Operator("DEQUANTIZE", [packed], [result]))
            self._unpacked[id(packed)] = result
        return self._unpacked[id(packed)]

    def _moved(self, value: gs.Tensor, layout: Layout) -> Tensor:
        source = self._written[id(value)]
        return self._converted(self._stored[id(value), source], static(value), source, layout)

    def _converted(self, source: Tensor, shape: tuple[int, ...], layout: Layout, wanted: Layout) -> Tensor:
        """A tensor in another layout; `shape` is ONNX's, and may have more axes of size one than what is stored."""
        target = stored_shape(shape, wanted)
        if same_order(shape, layout, wanted):
            return self.reshaped(source, target)
        source = self.reshaped(source, stored_shape(shape, layout))
        order = np.array([layout.index(axis) for axis in wanted], np.int32)
        result = self.temporary(f"{source.name}/transposed", target, source.dtype, source.quantization)
        self._emit(Operator("TRANSPOSE", [source, self.constant(order, "order")], [result]))
        return result

    def reshaped(self, source: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A tensor in another shape; itself if that is its own."""
        if source.shape == tuple(shape):
            return source
        result = self.temporary(f"{source.name}/reshaped", shape, source.dtype, source.quantization)
        self.reshape_into(source, result)
        return result

    def reshape_into(self, source: Tensor, result: Tensor) -> None:
        """Write what one tensor holds into another one of as many elements."""
        shape = self.constant(np.array(result.shape, np.int32), "shape")
        self._emit(Operator("RESHAPE", [source, shape], [result], {"newShape": list(result.shape)}))

    def _named(self, tensor: Tensor) -> Tensor:
        """A new tensor, with a number behind its name if that is taken."""
        self._name(tensor, tensor.name)
        return tensor

    def _name(self, tensor: Tensor, wanted: str) -> None:
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        tensor.name, self._names[name] = name, tensor


def static(value: gs.Tensor) -> tuple[int, ...]:
    """The shape of a value, all of it numbers."""
    return tuple(int(size) for size in value.shape)


def _is_half(array: np.ndarray) -> bool:
    """Whether 16 bits hold all values as they are."""
    with np.errstate(over="ignore"):
        return array.dtype.kind == "f" and bool((array.astype(np.float16) == array).all())
