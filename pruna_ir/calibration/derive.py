"""Tensors whose statistics follow from another's, without capturing them: clipped or reshaped copies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from pruna_ir.calibration.histogram import FINE
from pruna_ir.calibration.record import Record

_MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_FINITE = (np.finfo(np.float32).min, np.finfo(np.float32).max)


@dataclass(frozen=True)
class Derivation:
    """The tensor holds the values of `source`, clipped to `low`..`high`, perhaps in another shape or order."""

    source: str
    low: float = -np.inf
    high: float = np.inf

    def apply(self, record: Record) -> Record:
        """The record of the tensor from that of its source: equal to what capturing the tensor would give.

        Buckets beyond a bound move into the bound's own. Values that are infinite in the source stay counted as such.
        """
        if record.minimum > record.maximum:
            return replace(record, channels=None)
        numbers = FINE.ascending
        counts = record.histogram[numbers]
        position = np.empty(FINE.size, np.int64)
        position[numbers] = np.arange(len(numbers))
        ends = FINE.index(np.clip(np.array([self.low, self.high], np.float32), *_FINITE))
        first, last = position[ends]
        moved = np.zeros_like(counts)
        np.add.at(moved, np.clip(np.arange(len(counts)), first, last), counts)
        histogram = np.zeros_like(record.histogram)
        histogram[numbers] = moved
        low, high = (float(np.clip(value, self.low, self.high)) for value in (record.minimum, record.maximum))
        return replace(record, minimum=low, maximum=high, histogram=histogram, channels=None)


def derivations(graph: onnx.GraphProto, names: Collection[str]) -> dict[str, Derivation]:
    """Which of the tensors `names` follow from another one of them, in the order in which they can be derived.

    Relu, Clip with constant bounds, and nodes that only move values. A tensor whose source is not among `names` is
    better captured itself: capturing the source could keep ONNX Runtime from fusing the two nodes.
    """
    constants = _constants(graph)
    found = {}
    for node in graph.node:
        if node.domain in ("", "ai.onnx") and node.output and node.input and node.input[0] in names:
            bounds = _bounds(node, constants)
            if bounds is not None and node.output[0] in names:
                found[node.output[0]] = Derivation(node.input[0], *bounds)
    return found


def _bounds(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[float, float] | None:
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type in _MOVES:
        return -np.inf, np.inf
    if node.op_type != "Clip":
        return None
    attributes = {attribute.name: attribute.f for attribute in node.attribute}
    bounds = [attributes.get("min", -np.inf), attributes.get("max", np.inf)]
    for index, name in enumerate(node.input[1:3]):
        if name and name not in constants:
            return None
        if name:
            bounds[index] = onnx.numpy_helper.to_array(constants[name]).item()
    return (bounds[0], bounds[1]) if bounds[0] <= bounds[1] else None


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    known = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            known[node.output[0]] = node.attribute[0].t
    return known
