"""External data: weights in files of their own, memory-mapped on load and streamed on save."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import EncodeError
from onnx_graphsurgeon.ir.tensor import LazyValues

from pruna_ir.diagnostics import error
from pruna_ir.model import values
from pruna_ir.model.values import StoredValues

# A protobuf message holds at most 2 GiB; below this limit a model is one file.
PROTOBUF_LIMIT = 2**31 - 2**20
# Tensors below this size stay in the protobuf, where tools can see shape constants.
INLINE_BYTES = 1024
_ALIGNMENT = 4096
# Bits of the types whose elements share bytes. By name: older versions of onnx do not have all of them.
_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}


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


def exceeds(proto: onnx.ModelProto, limit: int) -> bool:
    """Whether a model takes more than `limit` bytes. A protobuf above 2 GiB cannot be asked: it raises an error."""
    held = (tensor for tensor in tensors(proto.graph) if not is_external(tensor))
    if sum(size(tensor) for tensor in held if tensor.data_type != onnx.TensorProto.STRING) > limit:
        return True
    try:
        return bool(proto.ByteSize() > limit)
    except EncodeError:
        return True


class ExternalValues(StoredValues):
    """Values that are memory-mapped from their file when first read."""

    def __init__(self, tensor: onnx.TensorProto, folder: Path) -> None:
        super().__init__(tensor)
        self.folder = folder

    def load(self) -> np.ndarray:
        """The values, read-only and paged in by the operating system as they are touched."""
        path, offset, length = _locate(self.tensor, self.folder)
        if length == 0:
            return np.zeros(self.shape, self.dtype)
        if _bits(self.tensor) >= 8:
            return np.memmap(path, dtype=self.dtype, mode="r", offset=offset, shape=tuple(self.shape))
        packed = np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=(length,)).tobytes()
        whole = onnx.TensorProto(data_type=self.tensor.data_type, dims=self.tensor.dims, raw_data=packed)
        return np.array(onnx.numpy_helper.to_array(whole))


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
    """The file that holds a tensor, and where in it: offset and length in bytes."""
    info = {entry.key: entry.value for entry in tensor.external_data}
    location = Path(info.get("location", ""))
    if location.is_absolute() or ".." in location.parts:
        raise error("M003", f"`{tensor.name}` points outside of the model's folder", place=location)
    needed = size(tensor)
    try:
        offset, length = int(info.get("offset") or 0), int(info.get("length") or needed)
    except ValueError:
        raise error("M003", f"`{tensor.name}` has an offset or a length that is no number", place=location) from None
    if length != needed or offset < 0:
        message = f"`{tensor.name}` takes {needed:,} bytes, but the model says {length:,} at byte {offset:,}"
        raise error("M003", message, place=location)
    return folder / location, offset, length


def size(tensor: onnx.TensorProto) -> int:
    """Bytes that the values of a tensor take."""
    return (int(np.prod(tensor.dims, dtype=np.int64)) * _bits(tensor) + 7) // 8


def _bits(tensor: onnx.TensorProto) -> int:
    packed = _PACKED_BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    return packed or onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8


def attach(graph: gs.Graph, folder: Path) -> None:
    """Give the constants of a freshly imported graph our classes of stored values: external ones memory-mapped."""
    for constant in values.constants(graph):
        stored = constant._values
        if type(stored) is LazyValues and is_external(stored.tensor):
            constant.values = ExternalValues(stored.tensor, folder)
            constant.data_location = None
        else:
            values.attach(constant)


def make_exportable(graph: gs.Graph) -> None:
    """Load the external constants, so that the exported protobuf holds them itself, and fit the others for export."""
    for constant in values.constants(graph):
        if isinstance(constant._values, ExternalValues):
            _ = constant.values
        values.make_exportable(constant)


def write(proto: onnx.ModelProto, data_file: Path, location: str) -> None:
    """Move the large tensors of `proto` into `data_file`; the tensors then refer to it as `location`."""
    with data_file.open("wb") as stream:
        for tensor in tensors(proto.graph):
            raw = _raw(tensor)
            if len(raw) < INLINE_BYTES:
                continue
            stream.write(b"\0" * (-stream.tell() % _ALIGNMENT))
            offset = stream.tell()
            stream.write(raw)
            kept = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=b"")
            kept.doc_string = tensor.doc_string
            kept.metadata_props.extend(tensor.metadata_props)
            onnx.external_data_helper.set_external_data(kept, location, offset=offset, length=len(raw))
            kept.ClearField("raw_data")
            tensor.CopyFrom(kept)


def _raw(tensor: onnx.TensorProto) -> bytes:
    """The bytes of a tensor as external data has them; none for text, which cannot be external."""
    if tensor.HasField("raw_data") or tensor.data_type == onnx.TensorProto.STRING:
        return bytes(tensor.raw_data)
    if is_external(tensor) or _bits(tensor) < 8:
        return b""
    return onnx.numpy_helper.to_array(tensor).tobytes()
