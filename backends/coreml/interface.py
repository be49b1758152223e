"""How the inputs and outputs of a package stand to those of the ONNX model: an entry of the package's metadata.

Core ML allows fewer names, types and shapes than ONNX. Whoever has ONNX's samples needs to know.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

# The key in the package's user-defined metadata.
ENTRY = "pruna_ir"
# The output of a classifier that is a dictionary from its labels.
PROBABILITIES = "classLabel_probs"


@dataclass(frozen=True)
class Port:
    """An input or output: name, type and shape as ONNX has them, and its name in the package.

    A dimension is a number, or a name where the package allows several. The package's shape is the same, but for
    numbers alone, which are lists of one there. Its type is in the package's own description. An input that takes
    images has `scale` and `bias`: the model's values are pixel * scale + bias, channel by channel. An output with
    `labels` is a dictionary from those to its values in the package.
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int | str | None, ...]
    scale: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interface:
    """All inputs and outputs, in the order of the model's."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def with_labels(self, name: str, labels: Sequence[str]) -> Interface:
        """With an output that is a dictionary from labels, under the name that Core ML Tools give to that."""
        outputs = (
            replace(port, file=PROBABILITIES, labels=tuple(labels)) if port.name == name else port
            for port in self.outputs
        )
        return replace(self, outputs=tuple(outputs))

    def to_json(self) -> str:
        """The entry of the metadata."""
        document = {
            "inputs": [asdict(port) for port in self.inputs],
            "outputs": [asdict(port) for port in self.outputs],
        }
        return json.dumps(document, separators=(",", ":"))

    @staticmethod
    def from_json(entry: str) -> Interface:
        """What `to_json` wrote."""
        document = json.loads(entry)
        return Interface(_ports(document["inputs"]), _ports(document["outputs"]))


def _document(port: Port) -> dict[str, Any]:
    return {key: value for key, value in asdict(port).items() if key in _ALWAYS or value}


# What a document has of a port even where it is empty.
_ALWAYS = ("name", "file", "dtype", "shape")


def _ports(documents: Sequence[dict[str, Any]]) -> tuple[Port, ...]:
    return tuple(Port(**{key: _value(value) for key, value in document.items()}) for document in documents)


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
