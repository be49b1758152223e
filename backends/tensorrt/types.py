"""Element types of tensors by name, those among them that NumPy lacks."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs


def type_name(tensor: gs.Tensor) -> str:
    """The name of a tensor's element type, `bfloat16` and `int4` too; float32 where it is not known."""
    dtype = tensor.dtype
    if dtype is None:
        return "float32"
    if isinstance(dtype, int):  # graphsurgeon keeps ONNX's number of types that it does not know
        dtype = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    return str(np.dtype(dtype).name)
