"""What ONNX stores and `gs.Graph` drops, kept beside the graph and put back when the model is written.

Measured with onnx-graphsurgeon 0.6.1: a round trip loses the documentation and metadata_props of the model, of
graphs, nodes, values and initializers, the model's domain and version, dimension denotations and quantization
annotations. Nodes are keyed by their first output and values by their name, because object identity does not survive
tools that rewrite the protobuf; what no longer exists is left out, silently and by design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import onnx

_LISTS = {
    onnx.AttributeProto.INTS: "ints",
    onnx.AttributeProto.FLOATS: "floats",
    onnx.AttributeProto.STRINGS: "strings",
}
# Names that shape inference gives to dimensions of which the model says nothing.
_INVENTED = "unk__"
# (path of the enclosing sub-graphs, kind of thing, its name)
Key = tuple[str, str, str]
Documented = onnx.NodeProto | onnx.ValueInfoProto | onnx.TensorProto | onnx.GraphProto
Visitor = Callable[[Key, Any], None]


@dataclass
class Sidecar:
    """Notes of one model: its header (everything but graph and functions) and the notes of its parts."""

    header: onnx.ModelProto = field(default_factory=onnx.ModelProto)
    notes: dict[Key, Documented] = field(default_factory=dict)
    interface: dict[Key, onnx.ValueInfoProto] = field(default_factory=dict)
    annotations: dict[Key, onnx.TensorAnnotation] = field(default_factory=dict)
    typed: set[Key] = field(default_factory=set)

    @staticmethod
    def of(proto: onnx.ModelProto) -> Sidecar:
        """Read the notes of a model; the tensors' data is not copied."""
        sidecar = Sidecar(header=_header(proto))
        for scope, graph in scopes(proto.graph):
            _visit(scope, graph, sidecar._remember)
            for value in [*graph.input, *graph.output]:
                sidecar.interface[scope, "interface", value.name] = value
            sidecar.typed.update((scope, "value", value.name) for value in graph.value_info)
            for annotation in graph.quantization_annotation:
                sidecar.annotations[scope, "annotation", annotation.tensor_name] = annotation
        return sidecar

    def _remember(self, key: Key, part: Documented) -> None:
        attributes = _remembered(part) if isinstance(part, onnx.NodeProto) else []
        if part.doc_string or part.metadata_props or attributes:
            note = type(part)()
            note.doc_string = part.doc_string
            note.metadata_props.extend(part.metadata_props)
            if attributes:
                note.op_type = part.op_type
                note.attribute.extend(attributes)
            self.notes[key] = note

    def restore(self, proto: onnx.ModelProto) -> None:
        """Put the notes back on the parts of `proto` that still exist."""
        opset_imports, ir_version = list(proto.opset_import), max(proto.ir_version, self.header.ir_version)
        proto.MergeFrom(self.header)
        del proto.opset_import[:]
        proto.opset_import.extend(opset_imports)
        proto.ir_version = ir_version
        for scope, graph in scopes(proto.graph):
            for value in [*graph.input, *graph.output]:
                original = self.interface.get((scope, "interface", value.name))
                if original is not None and _same_type(original, value):
                    value.CopyFrom(original)
            _visit(scope, graph, self._put_back)
            self._restore_annotations(scope, graph)

    def strip_types(self, proto: onnx.ModelProto) -> None:
        """Remove the value types that inference added: they take room, and readers infer them again."""
        for scope, graph in scopes(proto.graph):
            kept = [value for value in graph.value_info if (scope, "value", value.name) in self.typed]
            del graph.value_info[:]
            graph.value_info.extend(kept)
            for value in [*graph.input, *graph.output] if scope else ():
                original = self.interface.get((scope, "interface", value.name))
                if original is not None:
                    _forget_type(original, value)

    def _put_back(self, key: Key, part: Documented) -> None:
        note = self.notes.get(key)
        if note is None:
            return
        part.doc_string = note.doc_string
        del part.metadata_props[:]
        part.metadata_props.extend(note.metadata_props)
        if isinstance(note, onnx.NodeProto) and isinstance(part, onnx.NodeProto):
            _put_back_attributes(note, part)

    def _restore_annotations(self, scope: str, graph: onnx.GraphProto) -> None:
        if not self.annotations:
            return
        alive = {name for node in graph.node for name in (*node.input, *node.output)}
        del graph.quantization_annotation[:]
        for (where, _, name), annotation in self.annotations.items():
            if where == scope and name in alive:
                graph.quantization_annotation.append(annotation)


def is_empty_list(attribute: onnx.AttributeProto) -> bool:
    """Whether the attribute is a list without elements: graphsurgeon loses its type and then cannot write it."""
    return attribute.type in _LISTS and not getattr(attribute, _LISTS[attribute.type])


def _remembered(node: onnx.NodeProto) -> list[onnx.AttributeProto]:
    """What is lost of a node's attributes: documentation, and lists without elements (a Constant's become tensors)."""
    found = []
    for attribute in node.attribute:
        if attribute.doc_string or (is_empty_list(attribute) and node.op_type != "Constant"):
            note = onnx.AttributeProto(name=attribute.name, type=attribute.type)
            note.doc_string = attribute.doc_string
            found.append(note)
    return found


def _put_back_attributes(note: onnx.NodeProto, node: onnx.NodeProto) -> None:
    present = {attribute.name: attribute for attribute in node.attribute}
    for lost in note.attribute:
        if lost.name in present:
            present[lost.name].doc_string = lost.doc_string
        elif is_empty_list(lost) and node.op_type == note.op_type:
            node.attribute.append(lost)


def _header(proto: onnx.ModelProto) -> onnx.ModelProto:
    header = onnx.ModelProto()
    for descriptor, value in proto.ListFields():
        if descriptor.name in ("graph", "functions", "opset_import"):
            continue
        if isinstance(value, str | int):
            setattr(header, descriptor.name, value)
        else:
            getattr(header, descriptor.name).extend(value)
    return header


def _visit(scope: str, graph: onnx.GraphProto, visitor: Visitor) -> None:
    visitor((scope, "graph", ""), graph)
    for node in graph.node:
        visitor((scope, "node", first_output(node)), node)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        visitor((scope, "value", value.name), value)
    for tensor in graph.initializer:
        visitor((scope, "initializer", tensor.name), tensor)


def scopes(graph: onnx.GraphProto, scope: str = "") -> Iterator[tuple[str, onnx.GraphProto]]:
    """A graph and those nested in it, each by the nodes and attributes that lead to it."""
    yield scope, graph
    for node in graph.node:
        for attribute in node.attribute:
            for index, body in enumerate([attribute.g] if attribute.HasField("g") else attribute.graphs):
                yield from scopes(body, f"{scope}/{first_output(node)}.{attribute.name}[{index}]")


def first_output(node: onnx.NodeProto) -> str:
    """The name that a node goes by: that of its first output in use."""
    return next((name for name in node.output if name), "")


def _forget_type(original: onnx.ValueInfoProto, value: onnx.ValueInfoProto) -> None:
    """Take from a value what only inference says about it: bodies of control flow need not state types."""
    if not original.HasField("type"):
        value.ClearField("type")
    elif original.type.ByteSize() == 0:
        value.type.Clear()
    elif not original.type.tensor_type.HasField("shape"):
        value.type.tensor_type.ClearField("shape")


def _same_type(original: onnx.ValueInfoProto, value: onnx.ValueInfoProto) -> bool:
    before, after = original.type.tensor_type, value.type.tensor_type
    if before.elem_type != after.elem_type or before.HasField("shape") != after.HasField("shape"):
        return False
    return [_dim(dim) for dim in before.shape.dim] == [_dim(dim) for dim in after.shape.dim]


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    kind = dim.WhichOneof("value")
    if kind == "dim_param" and dim.dim_param.startswith(_INVENTED):
        return None
    return getattr(dim, kind) if kind else None
