"""Fingerprints of tensors: a hash of everything upstream, so that statistics know when they no longer hold."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import onnx

from pruna_ir.diagnostics import error

if TYPE_CHECKING:
    from pruna_ir.model import Model

_DIGEST_BYTES = 16


def fingerprints(model: Model | onnx.ModelProto) -> dict[str, str]:
    """The fingerprint of every tensor of the main graph: inputs, initializers, and what nodes write.

    Two tensors have the same one if they are computed the same way (operators and their versions, attributes,
    constants' bytes) from inputs of the same name and type. Names of nodes, of inner tensors and of initializers, and
    documentation, do not count. Bodies of control flow count as a whole, with what they read from outside. Raises
    M005 if the nodes are not in order.
    """
    proto = model if isinstance(model, onnx.ModelProto) else model.to_proto()
    versions = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    known = {value.name: _digest(b"input", value.name, value.type) for value in proto.graph.input}
    known |= {tensor.name: _of_tensor(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        digest = _of_node(node, versions.get(node.domain or "ai.onnx", 0), known)
        for index, name in enumerate(node.output):
            if name:
                known[name] = _digest(digest, index)
    return {name: digest.hex() for name, digest in known.items()}


def _of_tensor(tensor: onnx.TensorProto) -> bytes:
    return _digest(b"tensor", tensor.data_type, tuple(tensor.dims), _values(tensor))


def _values(tensor: onnx.TensorProto) -> bytes:
    """The same bytes for the same values, whichever field of the protobuf holds them."""
    if tensor.HasField("raw_data") and sys.byteorder == "little":
        return bytes(tensor.raw_data)
    values = onnx.numpy_helper.to_array(tensor)
    return repr(values.tolist()).encode() if values.dtype == object else bytes(values.tobytes())


def _of_node(node: onnx.NodeProto, version: int, known: dict[str, bytes]) -> bytes:
    parts: list[object] = [b"node", node.domain or "ai.onnx", node.op_type, version]
    for name in node.input:
        if name and name not in known:
            raise error("M005", f"nothing before it writes `{name}`", place=node.name or node.op_type)
        parts.append(known[name] if name else b"")
    for attribute in sorted(node.attribute, key=lambda attribute: attribute.name):
        parts += [attribute.name, *_of_attribute(attribute)]
        parts += [known[name] for name in _read_by(attribute) if name in known]
    return _digest(*parts)


def _of_attribute(attribute: onnx.AttributeProto) -> Iterable[bytes]:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return [_of_tensor(attribute.t)]
    if attribute.doc_string:
        copy = onnx.AttributeProto()
        copy.CopyFrom(attribute)
        copy.ClearField("doc_string")
        attribute = copy
    return [attribute.SerializeToString(deterministic=True)]


def _read_by(attribute: onnx.AttributeProto) -> Iterator[str]:
    """Every name that the bodies in an attribute read, their own tensors included."""
    for body in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
        for node in body.node:
            yield from node.input
            for inner in node.attribute:
                yield from _read_by(inner)
        yield from (value.name for value in body.output)


def _digest(*parts: object) -> bytes:
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        data = _bytes(part)
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.digest()


def _bytes(part: object) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, onnx.TypeProto):
        return bytes(part.SerializeToString(deterministic=True))
    return repr(part).encode()
