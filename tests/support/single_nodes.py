"""Models of one node of ONNX, with what to feed them, and how their outputs are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from pruna_ir.model import Model

Shape = tuple[int, ...]
# Largest difference of floats, relative to the range of the output.
TOLERANCE = 1e-5


class Fixed:
    """A constant input."""

    def __init__(self, values: Any, dtype: Any = np.int64) -> None:
        self.values = np.asarray(values, dtype)


def node(
    op: str,
    *inputs: np.ndarray | Fixed | None,
    opset: int = 20,
    outputs: int | Sequence[str] = 1,
    domain: str = "",
    **attributes: Any,
) -> tuple[Model, dict[str, np.ndarray]]:
    """A model of one node, and what to feed it: arrays are its inputs, `Fixed` its constants, None is left out."""
    names = ["" if item is None else f"x{place}" for place, item in enumerate(inputs)]
    written = [f"y{place}" for place in range(outputs)] if isinstance(outputs, int) else list(outputs)
    made = onnx.helper.make_node(op, names, written, name="node", domain=domain, **attributes)
    feeds = {name: item for name, item in zip(names, inputs, strict=True) if isinstance(item, np.ndarray)}
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    stored = [
        onnx.numpy_helper.from_array(item.values, name)
        for name, item in zip(names, inputs, strict=True)
        if isinstance(item, Fixed)
    ]
    results = [onnx.ValueInfoProto(name=name) for name in written if name]
    graph = onnx.helper.make_graph([made], "g", values, results, initializer=stored)
    imports = [onnx.helper.make_opsetid("", opset)] + ([onnx.helper.make_opsetid(domain, 1)] if domain else [])
    proto = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
    proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    for value in proto.graph.output:  # of what ONNX infers nothing has the type of the first input
        if not value.type.tensor_type.elem_type or not value.type.tensor_type.HasField("shape"):
            value.type.CopyFrom(values[0].type)
    return Model.load(proto), feeds


def require_close(wanted: np.ndarray, found: np.ndarray, tolerance: float, place: str) -> None:
    """Check that floats are within `tolerance` of the range, and everything else is equal."""
    assert found.shape == wanted.shape, f"{place}: {found.shape} instead of {wanted.shape}"
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted, err_msg=place)
        return
    assert (np.isnan(found) == np.isnan(wanted)).all(), f"{place}: NaN in other places"
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(found[~finite], wanted[~finite], err_msg=place)
    if not finite.any():
        return
    limit = tolerance * max(float(np.ptp(wanted[finite])), float(np.abs(wanted[finite]).max()))
    difference = float(np.abs(found[finite].astype(np.float64) - wanted[finite]).max())
    assert difference <= limit, f"{place}: differs by {difference:.2e}, and {limit:.2e} is allowed"
