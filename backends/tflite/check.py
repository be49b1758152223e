"""What a written .tflite file says of itself: the scales of its tensors, and what XNNPACK takes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.backends.agreement import Params, as_bytes
from pruna_ir.backends.tflite.session import LiteSession

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import SubGraph

# Root of the mean squared error relative to the range of an output beyond which the file is not the model. Rounding in
# another order moves single values of a quantized network by several steps, a wrong layout moves all by more than this.
LIMITS = {"float": 1e-3, "quantized": 0.05}


def file_params(content: bytes) -> Iterator[tuple[str, Params]]:
    """Name, scales and zero points of every tensor of a file that has some, but for those that follow from others.

    Kernels want biases in units of the data's scale times the weight's, whether the model has these in integers, in
    floats or not at all.
    """
    from ai_edge_litert.schema_py_generated import Model

    graph = Model.GetRootAs(content).Subgraphs(0)
    follow = {bias for bias, units in _bias_units(graph) if np.array_equal(units, _scale(graph, bias))}
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        quantization = tensor.Quantization()
        if quantization is None or not quantization.ScaleLength() or index in follow:
            continue
        yield tensor.Name().decode(), as_bytes(quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy())


def _bias_units(graph: SubGraph) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each bias in integers, and the product of the scales of what it is added to."""
    for index in range(graph.OperatorsLength()):
        inputs = graph.Operators(index).InputsAsNumpy() if graph.Operators(index).InputsLength() > 2 else ()
        scaled = [int(at) for at in inputs if at >= 0 and _scale(graph, at).size]
        factors = [at for at in scaled if graph.Tensors(at).Type() not in _sums()]
        if len(factors) == 2:
            units = _scale(graph, factors[0]) * _scale(graph, factors[1])
            yield from ((at, units) for at in scaled if at not in factors)


def _sums() -> tuple[int, ...]:
    """The types that products of integers are added up in."""
    from ai_edge_litert.schema_py_generated import TensorType

    return TensorType.INT32, TensorType.INT64


def _scale(graph: SubGraph, index: int) -> np.ndarray:
    quantization = graph.Tensors(index).Quantization()
    known = quantization is not None and quantization.ScaleLength()
    return np.asarray(quantization.ScaleAsNumpy() if known else (), np.float32)


def coverage(session: LiteSession) -> str:
    """How many operators XNNPACK took, and which it did not."""
    operators = session.operators()
    left = Counter(code for code, taken in operators if not taken)
    text = f"XNNPACK runs {len(operators) - sum(left.values())} of {len(operators)} operators"
    names = ", ".join(f"{count} {code}" if count > 1 else code for code, count in sorted(left.items()))
    return f"{text}; not {names}" if left else text
