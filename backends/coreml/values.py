"""The values of the graph as variables of the program; constants are made when they are first read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import params_of
from pruna_ir.analysis.qdq import stored as stored_behind
from pruna_ir.backends.coreml.builder import MilBuilder
from pruna_ir.backends.coreml.types import narrow
from pruna_ir.calibration.scheme import QuantParams

# Integers that a program stores weights in, to be dequantized when it is loaded.
_WEIGHT_TYPES = ("int8", "uint8")


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
        return np.asarray((self.array.astype(np.int64) - zero_point.astype(np.int64)).astype(np.float32) * scale)

    @property
    def packed(self) -> bool:
        """Whether the program stores it in integers."""
        return self.params is not None and self.array.dtype.name in _WEIGHT_TYPES and self.array.ndim > 0

    def transposed(self, order: list[int]) -> ConstantValue:
        """With its axes in another order."""
        params = self.params
        if params is not None and params.axis is not None:
            params = QuantParams(params.scale, params.zero_point, order.index(params.axis % self.array.ndim))
        return ConstantValue(self.name, self.array.transpose(order), params)


def constant_value(tensor: gs.Tensor) -> ConstantValue | None:
    """The constant that a tensor is, by itself or behind a DequantizeLinear."""
    if isinstance(tensor, gs.Constant):
        return ConstantValue(tensor.name, np.asarray(tensor.values))
    behind = stored_behind(tensor)
    if behind is None:
        return None
    params = params_of(behind.dequantize)
    return ConstantValue(behind.constant.name, np.asarray(behind.constant.values), params)


class Names:
    """Names as MIL allows them, each given once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, name: str) -> str:
        """A name that nothing has yet, like `name`."""
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name) or "value"
        plain = plain if not plain[0].isdigit() else f"_{plain}"
        wanted, number = plain, 1
        while wanted in self._taken:
            number += 1
            wanted = f"{plain}_{number}"
        self._taken.add(wanted)
        return wanted


class Values:
    """Variables by the identity of the tensors of the graph that they stand for."""

    def __init__(self, build: MilBuilder, names: Names) -> None:
        self.build, self.names = build, names
        # Variables that have the name of a tensor already.
        self.named: set[int] = set()
        self._vars: dict[int, Any] = {}
        self._constants: dict[tuple[Any, ...], Any] = {}

    def place(self, tensor: gs.Tensor, var: Any) -> None:
        """Say which variable a tensor is."""
        self._vars[id(tensor)] = var

    def has(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor is a variable already."""
        return id(tensor) in self._vars

    def read(self, tensor: gs.Tensor) -> Any:
        """The variable that a tensor is."""
        if id(tensor) in self._vars:
            return self._vars[id(tensor)]
        known = constant_value(tensor)
        assert known is not None, f"nothing writes `{tensor.name}`"
        self._vars[id(tensor)] = self.constant(known)
        return self._vars[id(tensor)]

    def weight(self, tensor: gs.Tensor, change: Callable[[ConstantValue], ConstantValue]) -> Any:
        """A constant brought into another form."""
        known = constant_value(tensor)
        assert known is not None
        return self.constant(change(known))

    def constant(self, known: ConstantValue) -> Any:
        """A constant, stored in integers if it is."""
        if not known.packed:
            values = narrow(known.real(), known.name, self.build.ios)
            key: tuple[Any, ...] = (known.name, values.shape, values.dtype.str, hash(values.tobytes()))
            if key not in self._constants:
                self._constants[key] = self.build.const(values, self.names.unique(known.name))
            return self._constants[key]
        assert known.params is not None
        key = ("packed", known.name, known.array.shape, hash(known.array.tobytes()), known.params.scale.tobytes())
        if key not in self._constants:
            self._constants[key] = self._packed(known, known.params)
        return self._constants[key]

    def _packed(self, known: ConstantValue, params: QuantParams) -> Any:
        per_channel = params.axis is not None
        return self.build(
            "constexpr_affine_dequantize",
            self.names.unique(known.name),
            quantized_data=np.ascontiguousarray(known.array),
            zero_point=params.zero_point.astype(known.array.dtype) if per_channel else params.zero_point[()],
            scale=params.scale.astype(np.float32) if per_channel else np.float32(params.scale),
            axis=np.int32((params.axis or 0) % known.array.ndim),
        )
