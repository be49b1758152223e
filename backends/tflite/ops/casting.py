"""Cast, and what does nothing."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.table import Unsupported, lowers


@lowers("Cast", "CastLike", layout=DATA_FOLLOWS)
def cast(op: Op) -> None:
    """CAST; nothing where both types are stored in one."""
    data, output = op.read(), op.write()
    if "uint64" in (data.dtype.name, output.dtype.name):
        raise Unsupported("LiteRT does not compute with uint64")
    if data.dtype == output.dtype:
        op.tensors.reshape_into(data, output)
    elif data.dtype.kind == "f" and output.dtype.name in ("int8", "uint8", "int16", "uint16"):
        # Through 32 bits, which are then cut off: what is out of range wraps around.
        formula = Formula(op)
        formula.into("CAST", output, formula.cast(data, np.int32))
    else:
        Formula(op).into("CAST", output, data)


@lowers("BitCast", layout=DATA_FOLLOWS)
def bit_cast(op: Op) -> None:
    """BITCAST between types of one size."""
    data, output = op.read(), op.write()
    if not data.dtype == op.kernel.inputs[0].dtype or not output.dtype == op.kernel.outputs[0].dtype:
        raise Unsupported("LiteRT stores one of the types in another one")
    op.emit("BITCAST", [data], output)


@lowers("Identity", "Dropout", layout=DATA_FOLLOWS)
def identity(op: Op) -> None:
    """RESHAPE into the shape that is there. The mask of what Dropout keeps is all of it."""
    if op.has(2) and op.required(2, "training mode").any():
        raise Unsupported("it drops values at random")
    op.tensors.reshape_into(op.read(), op.write())
    if op.writes(1):
        mask = op.write(1)
        op.tensors.reshape_into(op.const(np.ones(mask.shape), np.bool_), mask)
