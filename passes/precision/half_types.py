"""The 16-bit floating point types, and which inputs and outputs of a node ONNX lets have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.remarks import Reason

FLOAT = np.dtype(np.float32)
_STANDARD_DOMAINS = (None, "", "ai.onnx")
# A constant is rounded with a relative error (root mean square) of at most so many times the type's precision; a
# larger one means that its values are too small for the type.
_LOST_DIGITS = 4


@dataclass(frozen=True)
class Half:
    """A 16-bit type: NumPy's, ONNX's number and name.

    `largest` is its largest finite value, `smallest` the smallest that has all its digits, `precision` the distance
    from 1 to the next value.
    """

    dtype: np.dtype
    number: int
    onnx_name: str
    largest: float
    smallest: float
    precision: float

    @property
    def variable_dtype(self) -> np.dtype | int:
        """How graphsurgeon writes the type of a tensor: by ONNX's number where NumPy lacks it."""
        return self.dtype if self.dtype.kind == "f" else self.number

    def unfit_constant(self, tensor: gs.Constant) -> Reason | None:
        """Why a float32 constant cannot be held: its values are too large, or so small that digits are lost."""
        values = np.asarray(tensor.values)
        finite = values[np.isfinite(values)].astype(np.float64)
        largest = float(np.abs(finite).max(initial=0.0))
        if largest > self.largest:
            return Reason("its constant `{}` holds {:.3g}, beyond {}", tensor.name, largest, self.onnx_name)
        error = np.square(finite - finite.astype(self.dtype).astype(np.float64)).sum()
        if error > np.square(_LOST_DIGITS * self.precision * finite).sum():
            text = "its constant `{}`, {:.3g} at most, is too small for {}"
            return Reason(text, tensor.name, largest, self.onnx_name)
        return None


HALVES: Mapping[str, Half] = {
    "float16": Half(np.dtype(np.float16), onnx.TensorProto.FLOAT16, "float16", 65504.0, 2.0**-14, 2.0**-10),
    "bfloat16": Half(
        np.dtype(ml_dtypes.bfloat16),
        onnx.TensorProto.BFLOAT16,
        "bfloat16",
        (2 - 2.0**-7) * 2.0**127,
        2.0**-126,
        2.0**-7,
    ),
}


@dataclass(frozen=True)
class Places:
    """Positions of the float32 inputs and outputs that become halves when the node does."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def half_places(node: gs.Node, opset: int, half: Half) -> Places | Reason:
    """Where the node reads and writes halves once it computes in them, or why it cannot.

    A type variable of the operator's schema changes as a whole. What an operator insists on (the scales of Resize)
    and what an attribute decides (the statistics that LayerNormalization writes) stays float32.
    """
    if node.domain not in _STANDARD_DOMAINS:
        return Reason("{} is not an operator of ONNX's own", node.op)
    variables, ins, outs = _signature(node.op, opset, half.onnx_name)
    reads = [ins[min(i, len(ins) - 1)] if ins else "" for i in range(len(node.inputs))]
    writes = [outs[min(i, len(outs) - 1)] if outs else "" for i in range(len(node.outputs))]
    if node.op == "Cast":  # the one operator whose output type is an attribute that can be changed with it
        reads, variables = [""], variables | set(writes)
    inputs = tuple(i for i, tensor in enumerate(node.inputs) if reads[i] in variables and is_float(tensor))
    read = {reads[i] for i in inputs} | ({writes[0]} if node.op == "Cast" else set())
    outputs = tuple(i for i, tensor in enumerate(node.outputs) if writes[i] in read and is_float(tensor))
    if not outputs:
        return Reason("ONNX has no {} in {}", node.op, half.onnx_name)
    return Places(inputs, outputs)


def accepts_half(node: gs.Node, opset: int, half: Half) -> bool:
    """Whether the operator takes a half wherever the node reads float32."""
    if node.domain not in _STANDARD_DOMAINS:
        return False
    variables, ins, _ = _signature(node.op, opset, half.onnx_name)
    return bool(ins) and all(
        ins[min(i, len(ins) - 1)] in variables for i, tensor in enumerate(node.inputs) if is_float(tensor)
    )


def is_float(tensor: gs.Tensor) -> bool:
    """Whether a tensor is known to be float32."""
    return not tensor.is_empty() and isinstance(tensor.dtype, np.dtype | type) and np.dtype(tensor.dtype) == FLOAT


@cache
def _signature(op: str, opset: int, type_name: str) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    """The type variables that may be `type_name` as well as float32, and the types of the inputs and outputs."""
    try:
        schema = onnx.defs.get_schema(op, opset)
    except onnx.defs.SchemaError:
        return frozenset(), (), ()
    wanted = {f"tensor({type_name})", "tensor(float)"}
    variables = frozenset(
        item.type_param_str for item in schema.type_constraints if wanted <= set(item.allowed_type_strs)
    )
    return variables, tuple(item.type_str for item in schema.inputs), tuple(item.type_str for item in schema.outputs)
