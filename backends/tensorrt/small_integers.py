"""Integers of 8 and 16 bits between Casts: TensorRT has those of 8 only as Q/DQ and, unsigned, where a network ends."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.backends.tensorrt.types import type_name
from pruna_ir.pipeline.rewriter import redirect

_SMALL = frozenset({"int8", "uint8", "int16", "uint16"})


def widen(graph: gs.Graph) -> bool:
    """Hold floats that are cast to small integers and from those again in int32, and store constants as they are cast.

    What a small integer does not hold is not defined in a Cast from floats, so that no number changes. Returns whether
    there were any.
    """
    changed = False
    ends = {id(tensor) for tensor in graph.outputs}
    for node in graph.nodes:
        if node.op != "Cast":
            continue
        read, written = node.inputs[0], node.outputs[0]
        if isinstance(read, gs.Constant) and type_name(read) in _SMALL and id(written) not in ends:
            redirect(written, gs.Constant(f"{written.name}_values", read.values.astype(written.dtype)))
            changed = True
        elif (
            type_name(written) in _SMALL
            and type_name(read).startswith("float")
            and id(written) not in ends
            and all(reader.op == "Cast" for reader in written.outputs)
        ):
            node.attrs["to"], written.dtype = onnx.TensorProto.INT32, np.dtype(np.int32)
            changed = True
    return changed
