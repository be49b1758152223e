"""The layers of an engine, as the builder of TensorRT for RTX lists them in its verbose log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pruna_ir.backends.tensorrt.precision import Layer

_LINE = re.compile(
    r"Name: (?P<name>.*), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*)\], Constants: \[(?P<constants>.*)\], "
    r"Outputs: \[.*\], TacticName: .*, Metadata: (?P<nodes>.*)"
)
_TYPE, _NODE = re.compile(r"Datatype: (\w+)"), re.compile(r"\[ONNX Layer: (.*)\]")
_BETWEEN_NODES = "\x1f"
# Kinds that multiply; others only prepare and finish what these do, and name the same nodes.
_MULTIPLIES = frozenset({"correlation", "deconv", "gemm", "runtime_fusion"})
# A fusion that begins with something else makes floats of what it multiplies.
_FUSED, _PURE_FUSION = "runtime_fusion", re.compile(r"__myl_(Fc|Corr|Gemm|Conv)")
# What both operands are in a layer that computes in a precision.
_OPERANDS = {"int8": "Int8", "fp8": "FP8"}


@dataclass(frozen=True)
class BuiltLayer:
    """A layer: its name and kind, the types of what it reads and of its constants, and the nodes that it computes."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    nodes: frozenset[str]

    def multiplies(self, operand: str) -> bool:
        """Whether both its operands are of a type; scales and biases beside them are not operands."""
        if self.kind == _FUSED and not _PURE_FUSION.match(self.name):
            return operand == "Float"
        return operand in self.inputs[:1] and operand in (*self.inputs[1:], *self.constants)


def read_layers(log: str) -> list[BuiltLayer]:
    """The layers of the last engine that the log is about."""
    _, _, listing = log.rpartition("Layers:\n")
    found = []
    for line in listing.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            inputs, constants = (tuple(_TYPE.findall(match[part])) for part in ("inputs", "constants"))
            parts = map(_NODE.fullmatch, match["nodes"].split(_BETWEEN_NODES))
            nodes = frozenset(part[1] for part in parts if part is not None)
            found.append(BuiltLayer(match["name"], match["kind"], inputs, constants, nodes))
    return found


@dataclass(frozen=True)
class Outcome:
    """What became of the layers that were meant to run in 8 bits: how many do, and why the others do not."""

    intended: int
    missed: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.intended - len(self.missed)} of {self.intended} layers that are quantized run in 8 bits"


def compare(intended: Sequence[Layer], built: Iterable[BuiltLayer]) -> Outcome:
    """Hold the built layers to what is intended in 8 bits."""
    by_node: dict[str, list[BuiltLayer]] = {}
    for layer in built:
        if layer.kind in _MULTIPLIES:
            for node in layer.nodes:
                by_node.setdefault(node, []).append(layer)
    wanted = [layer for layer in intended if layer.precision in ("int8", "fp8")]
    missed = {layer.node: reason for layer in wanted if (reason := _missed(layer, by_node.get(layer.node, [])))}
    return Outcome(len(wanted), missed)


def _missed(layer: Layer, built: Sequence[BuiltLayer]) -> str:
    if any(found.multiplies(_OPERANDS[layer.precision]) for found in built):
        return ""
    if not built:
        return "no layer of the engine multiplies for it"
    return f"it is built as {built[0].kind} of {', '.join(built[0].inputs)} by {', '.join(built[0].constants)}"
