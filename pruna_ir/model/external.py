"""External data: weights in files of their own, memory-mapped on load and streamed on save."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from pruna_ir.diagnostics import error

# A protobuf message holds at most 2 GiB; below this limit a model is one file.
PROTOBUF_LIMIT = 2**31 - 2**20
# Tensors below this size stay in the protobuf, where tools can see shape constants.
INLINE_BYTES = 1024
_ALIGNMENT = 4096


def tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor of a graph: initializers, and tensors in attributes, sub-graphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from tensors(body)


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor's values lie in another file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


class ExternalValues(LazyValues):  # type: ignore[misc]
    """Values that are memory-mapped from their file when first read."""

    def __init__(self, tensor: onnx.TensorProto, folder: Path) -> None:
        super().__init__(tensor)
        self.folder = folder

    def load(self) -> np.ndarray:
        """The values, read-only and paged in by the operating system as they are touched."""
        dtype = onnx.helper.tensor_dtype_to_np_dtype(self.tensor.data_type)
        path, offset, _ = _locate(self.tensor, self.folder)
        if 0 in self.shape:
            return np.zeros(self.shape, dtype)
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=tuple(self.shape))


def check_files(graph: onnx.GraphProto, folder: Path) -> None:
    """Raise M003 for the first external tensor whose bytes are not all there."""
    for tensor in tensors(graph):
        if not is_external(tensor):
            continue
        path, offset, length = _locate(tensor, folder)
        help_text = "keep the file beside the .onnx, as the exporter wrote it, or export again"
        if not path.is_file():
            raise error("M003", f"`{tensor.name}` lies in a file that is missing", place=path, help=help_text)
        if path.stat().st_size < offset + length:
            size = path.stat().st_size
            message = f"`{tensor.name}` ends at byte {offset + length:,}, but its file has {size:,}"
            raise error("M003", message, place=path, help=help_text)


def files(graph: onnx.GraphProto, folder: Path) -> set[Path]:
    """The files beside a model that hold its external data."""
    return {_locate(tensor, folder)[0] for tensor in tensors(graph) if is_external(tensor)}


def _locate(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int, int]:
    info = {entry.key: entry.value for entry in tensor.external_data}
    location = Path(info.get("location", ""))
    if location.is_absolute() or ".." in location.parts:
        raise error("M003", f"`{tensor.name}` points outside of the model's folder", place=location)
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    needed = int(np.prod(tensor.dims, dtype=np.int64)) * itemsize
    return folder / location, int(info.get("offset", 0)), int(info.get("length", needed))


def attach(graph: gs.Graph, folder: Path) -> None:
    """Make every external constant of a freshly imported graph memory-mapped."""
    for tensor in _constants(graph):
        values = tensor._values
        if isinstance(values, LazyValues) and is_external(values.tensor):
            tensor.values = ExternalValues(values.tensor, folder)
            tensor.data_location = None


def inline(graph: gs.Graph) -> None:
    """Load the external constants, so that the exported protobuf holds them itself."""
    for tensor in _constants(graph):
        if isinstance(tensor._values, ExternalValues):
            _ = tensor.values


def _constants(graph: gs.Graph) -> Iterator[gs.Constant]:
    for scope in [graph, *graph.subgraphs(recursive=True)]:
        for node in scope.nodes:
            for held in [*node.inputs, *node.attrs.values()]:
                if isinstance(held, gs.Constant):
                    yield held


def write(proto: onnx.ModelProto, data_file: Path, location: str) -> None:
    """Move the large tensors of `proto` into `data_file`; the tensors then refer to it as `location`."""
    with data_file.open("wb") as stream:
        for tensor in tensors(proto.graph):
            raw = tensor.raw_data
            if len(raw) < INLINE_BYTES:
                continue
            stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
            offset = stream.tell()
            stream.write(raw)
            onnx.external_data_helper.set_external_data(tensor, location, offset=offset, length=len(raw))
            tensor.ClearField("raw_data")
