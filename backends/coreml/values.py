"""The values of the graph as variables of the program; constants are made when they are first read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.backends.coreml.builder import MilBuilder
from pruna_ir.backends.coreml.constants import ConstantValue, constant_value
from pruna_ir.backends.coreml.types import narrow
from pruna_ir.backends.unsupported import Unsupported

# Tensors of more axes are held as variables of any shape that have their values in the same sequence.
MOST_AXES = 5


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
        """A constant, stored in integers if it is; Unsupported for blocks before iOS 18."""
        if not known.packed:
            values = narrow(known.real(), known.name, self.build.ios)
            return self._once(("plain", values.dtype.str), known, lambda name: self.build.const(values, name))
        if self.build.ios >= 18 and (known.blocks is not None or "4" in known.array.dtype.name):
            return self._once(("blocks",), known, lambda name: self._blocks(known, name))
        if known.params is None:
            raise Unsupported(f"`{known.name}` has a scale for each block", "that needs coreml<ios=18>")
        return self._once(("affine",), known, lambda name: self._affine(known, name))

    def _once(self, kind: tuple[str, ...], known: ConstantValue, make: Callable[[str], Any]) -> Any:
        """What `make` makes of a constant under a free name; of the same constant in the same form only once."""
        key = (kind, known.name, known.array.shape, hash(known.array.tobytes()))
        if key not in self._constants:
            self._constants[key] = make(self.names.unique(known.name))
        return self._constants[key]

    def _affine(self, known: ConstantValue, name: str) -> Any:
        """One scale, or one a channel. Integers of 4 bits are stored in 8."""
        params = known.params
        assert params is not None
        dtype = np.dtype(np.uint8 if known.array.dtype.name.startswith("u") else np.int8)
        return self.build(
            "constexpr_affine_dequantize",
            name,
            quantized_data=np.ascontiguousarray(known.array.astype(dtype)),
            zero_point=params.zero_point.astype(dtype)[()],
            scale=params.scale.astype(np.float32)[()],
            axis=np.int32((params.axis or 0) % known.array.ndim),
        )

    def _blocks(self, known: ConstantValue, name: str) -> Any:
        """A scale for each block, of integers of 8 or 4 bits."""
        from coremltools.converters.mil.mil import types

        blocks = known.as_blocks()
        dtype = types.nptype_from_builtin(types.string_to_builtin(known.array.dtype.name))

        def stored(array: np.ndarray, part: str) -> Any:
            integers = array.astype(np.uint8 if known.array.dtype.name.startswith("u") else np.int8)
            return self.build.const(np.ascontiguousarray(integers).astype(dtype), self.names.unique(f"{name}_{part}"))

        data, offset = stored(known.array, "integers"), stored(blocks.zero_point, "offset")
        return self.build("constexpr_blockwise_shift_scale", name, data=data, scale=blocks.scale, offset=offset)
