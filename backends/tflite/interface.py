"""How the inputs and outputs of a .tflite file stand to those of the ONNX model: an entry of the file's metadata.

A file may want channels last where the model has them first, integers where it has floats, one sample where it takes
any number. Whoever has ONNX's samples needs to know.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pruna_ir.model.spec import TensorSpec

ENTRY = "pruna_ir.interface"


@dataclass(frozen=True)
class Port:
    """An input or output: `spec` as the ONNX model has it, and the permutation of its axes that the file has."""

    spec: TensorSpec
    permutation: tuple[int, ...] | None = None

    def to_file(self, values: np.ndarray) -> np.ndarray:
        """Values in the order of axes of the file."""
        return values if self.permutation is None else values.transpose(self.permutation)

    def from_file(self, values: np.ndarray) -> np.ndarray:
        """Values in the order of axes of the model."""
        return values if self.permutation is None else values.transpose(np.argsort(self.permutation))


@dataclass(frozen=True)
class Interface:
    """All inputs and outputs, in the order of the model's, which is that of the file's."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def to_bytes(self) -> bytes:
        """The entry of the metadata."""
        document = {"inputs": [_document(port) for port in self.inputs], "outputs": [*map(_document, self.outputs)]}
        return json.dumps(document, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(entry: bytes) -> Interface:
        """What `to_bytes` wrote."""
        document = json.loads(entry)
        return Interface(_ports(document["inputs"]), _ports(document["outputs"]))


def _document(port: Port) -> dict[str, object]:
    spec = port.spec
    found: dict[str, object] = {"name": spec.name, "dtype": spec.dtype.name, "shape": list(spec.shape)}
    return found if port.permutation is None else {**found, "permutation": list(port.permutation)}


def _ports(documents: Sequence[dict[str, object]]) -> tuple[Port, ...]:
    return tuple(map(_port, documents))


def _port(document: dict[str, object]) -> Port:
    shape, order = document["shape"], document.get("permutation")
    assert isinstance(shape, list) and (order is None or isinstance(order, list))
    spec = TensorSpec(str(document["name"]), np.dtype(str(document["dtype"])), tuple(shape))
    return Port(spec, None if order is None else tuple(order))
