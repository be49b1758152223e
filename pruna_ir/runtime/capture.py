"""Reading the tensors inside a model while it runs, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pruna_ir.model.spec import TensorSpec
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

Receive = Callable[[int, dict[str, np.ndarray]], None]
# The captured tensors of one batch take at most this much memory at a time, unless one alone takes more.
DEFAULT_LIMIT = 1 << 30
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


def written_tensors(model: Model | onnx.ModelProto) -> list[str]:
    """Names of the tensors that the nodes of the main graph write, in order. Bodies of If and Loop stay closed."""
    proto = _proto(model)
    return [name for node in proto.graph.node for name in node.output if name]


def with_outputs(model: Model | onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy of the model whose outputs are exactly `tensors`, in that order.

    Known types are kept; a tensor without one is left to ONNX Runtime's own inference. Names that are graph inputs
    cannot be outputs and are left out: the caller holds their values.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(_proto(model))
    typed = {value.name: value for value in [*proto.graph.value_info, *proto.graph.output]}
    inputs = {value.name for value in proto.graph.input}
    chosen = [typed.get(name) or onnx.ValueInfoProto(name=name) for name in tensors if name not in inputs]
    del proto.graph.output[:]
    proto.graph.output.extend(chosen)
    return proto


def float_tensors(model: Model | onnx.ModelProto) -> list[str]:
    """Names of every float32, float16 and float64 tensor that a node of the main graph writes, in order."""
    proto = _proto(model)
    names = written_tensors(proto)
    typed = {value.name: value.type for value in [*proto.graph.value_info, *proto.graph.output]}
    if all(name in typed for name in names):
        return [name for name in names if typed[name].tensor_type.elem_type in FLOATS]
    session = Session(with_outputs(proto, names), optimize=False)  # ONNX Runtime knows its own operators' types too
    return [spec.name for spec in session.outputs if spec.dtype.kind == "f"]


def capture(
    model: Model | onnx.ModelProto,
    batches: Iterable[Mapping[str, np.ndarray]],
    tensors: Sequence[str],
    receive: Receive,
    *,
    threads: int = 1,
    optimize: bool = True,
    limit: int = DEFAULT_LIMIT,
) -> int:
    """Run the model on every batch and hand the values of `tensors` to `receive(batch index, values by name)`.

    Values are dropped after the call, so `receive` copies what it keeps. When the tensors of one batch take more than
    `limit` bytes, the batch runs several times and `receive` is called with a part of the tensors each time. Returns
    the number of batches.
    """
    sessions: list[Session] = []
    count = 0
    for feeds in batches:
        if not sessions:
            sessions = open_sessions(model, feeds, tensors, threads=threads, optimize=optimize, limit=limit)
        for session in sessions:
            receive(count, session.run(feeds))
        count += 1
    return count


def open_sessions(
    model: Model | onnx.ModelProto,
    feeds: Mapping[str, np.ndarray],
    tensors: Sequence[str],
    *,
    threads: int,
    optimize: bool = True,
    limit: int = DEFAULT_LIMIT,
) -> list[Session]:
    """Sessions that together write `tensors`, each at most `limit` bytes for a batch shaped like `feeds`."""
    whole = Session(with_outputs(model, tensors), threads=threads, optimize=optimize)
    groups = partition(_sizes(whole, feeds), limit)
    if len(groups) <= 1:
        return [whole]
    del whole
    return [Session(with_outputs(model, group), threads=threads, optimize=optimize) for group in groups]


def partition(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """The names in order, cut into runs whose sizes add up to at most `limit`; a larger one stands alone."""
    groups: list[list[str]] = []
    room = 0
    for name, size in sizes.items():
        if not groups or size > room:
            groups.append([])
            room = limit
        groups[-1].append(name)
        room -= size
    return groups


def _sizes(session: Session, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Bytes of each output of `session` on `feeds`; one whose shape is not known counts as the largest known one."""
    bound: dict[str, int] = {}
    for spec in session.inputs:
        if spec.name in feeds and len(spec.shape) == feeds[spec.name].ndim:
            named = zip(spec.shape, feeds[spec.name].shape, strict=True)
            bound |= {dim: size for dim, size in named if isinstance(dim, str)}
    sizes = {spec.name: _bytes(spec, bound) for spec in session.outputs}
    largest = max((size for size in sizes.values() if size is not None), default=0)
    return {name: largest if size is None else size for name, size in sizes.items()}


def _bytes(spec: TensorSpec, bound: Mapping[str, int]) -> int | None:
    size = spec.dtype.itemsize
    for dim in spec.shape:
        length = bound.get(dim) if isinstance(dim, str) else dim
        if length is None:
            return None
        size *= length
    return size


def _proto(model: Model | onnx.ModelProto) -> onnx.ModelProto:
    return model if isinstance(model, onnx.ModelProto) else model.to_proto()
