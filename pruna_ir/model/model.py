"""The IR: a `gs.Graph`, which passes mutate, and beside it everything else that an ONNX file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.logger import G_LOGGER

from pruna_ir.diagnostics import error
from pruna_ir.model import conversion, external, invariants, load
from pruna_ir.model.attributes import drop_empty_lists
from pruna_ir.model.collection import collection_paused
from pruna_ir.model.copying import copy_graph
from pruna_ir.model.fingerprint import fingerprint
from pruna_ir.model.save import write
from pruna_ir.model.sidecar import Sidecar
from pruna_ir.model.spec import TensorSpec


class Model:
    """A neural network that is being optimized.

    Passes change `graph` in place. Values of constants are shared between clones: a pass replaces them
    (`tensor.values = new`) and never writes into them, which NumPy enforces on clones.
    """

    def __init__(self, graph: gs.Graph, sidecar: Sidecar | None = None, *, source: Path | None = None) -> None:
        self.graph = graph
        self.sidecar = sidecar or Sidecar()
        self.source = source
        self.notes: list[str] = []
        self.untyped = invariants.untyped_tensors(graph)

    @classmethod
    def load(cls, source: str | Path | bytes | onnx.ModelProto | gs.Graph | Model) -> Model:
        """A model from a path, serialized bytes, a protobuf or a graph; raises `PrunaError` M001 to M010.

        A protobuf is not changed, and neither is a graph: what comes back is independent of it.
        """
        if isinstance(source, Model):
            return source.clone()
        if isinstance(source, gs.Graph):
            return cls._from_proto(_export(source), Path(), None, "graph")
        if isinstance(source, bytes):
            return cls._from_proto(load.parse(source), Path(), None, "bytes")
        if isinstance(source, onnx.ModelProto):
            copy = onnx.ModelProto()
            copy.CopyFrom(source)
            return cls._from_proto(copy, Path(), None, source.graph.name or "model")
        path = Path(source)
        return cls._from_proto(load.read(path), path.parent, path, str(path))

    @classmethod
    def from_text(cls, text: str) -> Model:
        """A model from ONNX text."""
        return cls._from_proto(load.parse(text), Path(), None, "text")

    @classmethod
    def _from_proto(cls, proto: onnx.ModelProto, folder: Path, source: Path | None, place: str) -> Model:
        with collection_paused():
            loaded = load.normalize(proto, folder, place)
            model = cls(_import(loaded.proto, folder), loaded.sidecar, source=source)
        model.notes = loaded.notes
        return model

    def adopt(self, proto: onnx.ModelProto) -> None:
        """Take the graph of `proto`, a rewritten form of this model, and keep this model's notes."""
        self.graph = _import(conversion.infer_shapes(proto), Path())
        self.untyped = invariants.untyped_tensors(self.graph)

    def to_proto(self) -> onnx.ModelProto:
        """The model as a protobuf that holds all its data, with the notes of what survives put back."""
        with collection_paused():
            external.make_exportable(self.graph)
            proto = _export(self.graph)
            self.sidecar.restore(proto)
        return proto

    def save(self, path: str | Path) -> int:
        """Write the model and return its bytes on disk, external data included.

        Above 2 GB the weights go to `<name>.data` beside the file. The file appears whole or not at all; raises C002
        when it is the file that the model came from, C003 when it cannot be written.
        """
        path = Path(path)
        if self.source is not None and path.exists() and self.source.exists() and path.samefile(self.source):
            raise error("C002", "the output is the input, which is never overwritten", place=path)
        with collection_paused():
            proto = self.to_proto()
            self.sidecar.strip_types(proto)
            return write(proto, path)

    def clone(self) -> Model:
        """An independent copy that shares the constants' values."""
        with collection_paused():
            copy = Model(copy_graph(self.graph), self.sidecar, source=self.source)
        copy.notes = list(self.notes)
        return copy

    def replace_with(self, other: Model) -> None:
        """Become `other`: how a guard takes back what a pass did."""
        self.graph, self.sidecar, self.untyped = other.graph, other.sidecar, other.untyped

    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs, in order."""
        return tuple(_spec(tensor) for tensor in self.graph.inputs)

    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs, in order."""
        return tuple(_spec(tensor) for tensor in self.graph.outputs)

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return int(self.graph.opset)

    def fingerprint(self) -> str:
        """A hash of everything that determines what the model computes and says."""
        return fingerprint(self.to_proto())

    def check(self, place: str = "model") -> None:
        """Raise P008 if the graph breaks an invariant of the IR."""
        invariants.check(self.graph, self.untyped, place)

    def __str__(self) -> str:
        """The model as ONNX text, which `Model.from_text` reads back."""
        return str(onnx.printer.to_text(self.to_proto()))


def _spec(tensor: gs.Tensor) -> TensorSpec:
    dtype = tensor.dtype
    if isinstance(dtype, int):  # how graphsurgeon writes the types that NumPy lacks
        dtype = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    return TensorSpec(tensor.name, np.dtype(dtype), tuple(tensor.shape or ()))


def _import(proto: onnx.ModelProto, folder: Path) -> gs.Graph:
    drop_empty_lists(proto.graph)
    with G_LOGGER.suppress():
        graph = gs.import_onnx(proto)
    external.attach(graph, folder)
    return graph


def _export(graph: gs.Graph) -> onnx.ModelProto:
    with G_LOGGER.suppress():
        proto: onnx.ModelProto = gs.export_onnx(graph)
    # graphsurgeon writes empty names, which take room.
    for name in ("producer_name", "producer_version"):
        if not getattr(proto, name):
            proto.ClearField(name)
    for tensor in external.tensors(proto.graph):
        if not tensor.name:
            tensor.ClearField("name")
    return proto
