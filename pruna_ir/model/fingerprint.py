"""A hash of what a model is, whichever of ONNX's ways its weights are stored in."""

from __future__ import annotations

import hashlib

import onnx

from pruna_ir.model import checks, external
from pruna_ir.model.values import densify


def fingerprint(proto: onnx.ModelProto) -> str:
    """The hash of everything that determines what a model computes and says. The weights of `proto` are lost.

    Typed and raw, sparse and dense weights of equal values are the same, in whatever order: a pass that only reads
    a weight changes how it is written, and that is no change of the model.
    """
    for graph in checks.graphs(proto.graph):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(onnx.numpy_helper.from_array(densify(sparse), sparse.values.name))
        del graph.sparse_initializer[:]
        graph.initializer.sort(key=lambda tensor: tensor.name)
    for tensor in external.tensors(proto.graph):
        _reduce(tensor)
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def _reduce(tensor: onnx.TensorProto) -> None:
    """Replace the values of a tensor by their hash."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return
    raw = tensor.raw_data if tensor.HasField("raw_data") else _raw(tensor)
    short = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    short.doc_string = tensor.doc_string
    short.metadata_props.extend(tensor.metadata_props)
    short.raw_data = hashlib.sha256(raw).digest()
    tensor.CopyFrom(short)


def _raw(tensor: onnx.TensorProto) -> bytes:
    return bytes(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor)).raw_data)
