"""Checks of the whole model that are too slow to make after every pass unless somebody asks for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.instruments.base import Instrument
from pruna_ir.model import checks, external
from pruna_ir.model.conversion import infer_shapes
from pruna_ir.model.save import write

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.pipeline.manager import Stage
    from pruna_ir.pipeline.pass_base import Pass
    from pruna_ir.runtime.session import Session

_LISTED = 4
_HELP = "this is a bug in the pass: please report it"


class VerifyEach(Instrument):
    """Verifies the model after every pass that changed it; the failure (P008) names the pass.

    `debug`: also holds every pass to what it says about having changed the model (P009), by the model's fingerprint.
    """

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug
        self._fingerprint = ""

    def start(self, model: Model, context: Context) -> None:
        if self.debug:
            self._fingerprint = model.fingerprint()

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        if self.debug:
            self._check_claim(item, model, stage)
        if stage.changed:
            verify(model, place=str(item), help=_HELP)

    def _check_claim(self, item: Pass, model: Model, stage: Stage) -> None:
        before, self._fingerprint = self._fingerprint, model.fingerprint()
        changed = before != self._fingerprint
        if changed == stage.changed:
            return
        said, did = ("nothing", "something") if changed else ("something", "nothing")
        message = f"`{item.name}` said that it changed {said}, but it changed {did}"
        raise error("P009", message, place=str(item), help=_HELP)


def verify(model: Model, place: str = "model", help: str = "") -> Session:
    """Raise P008 unless the model is sound; returns the session that it was loaded in, graph optimizations off.

    It keeps the invariants of the IR, its types agree with those that ONNX infers anew, `onnx.checker` accepts it and
    ONNX Runtime loads it with graph optimizations off. The checker alone accepts graphs that the runtime refuses.
    """
    model.check(place)
    proto = model.to_proto()
    with tempfile.TemporaryDirectory(prefix="pruna-") as folder:
        session = _load(_serialize(proto, Path(folder)), place, help)
    contradictions = type_contradictions(proto)
    if contradictions:
        raise error("P008", contradictions[0], place=place, notes=contradictions[1:_LISTED], help=help)
    return session


def _load(source: bytes | Path, place: str, help: str) -> Session:
    from pruna_ir.runtime.session import Session

    try:
        onnx.checker.check_model(source)
    except onnx.checker.ValidationError as failure:
        reason, *context = str(failure).strip().splitlines() or ["no reason given"]
        notes = [line.strip() for line in context if line.strip()][:_LISTED]
        raise error("P008", f"onnx.checker refuses the model: {reason}", place=place, notes=notes, help=help) from None
    try:
        return Session(source, optimize=False)
    except PrunaError as failure:
        raise error("P008", failure.diagnostic.message, place=place, help=help) from None


def _serialize(proto: onnx.ModelProto, folder: Path) -> bytes | Path:
    """The model as bytes, or as a file with external data where a protobuf cannot hold it."""
    if not external.exceeds(proto, external.PROTOBUF_LIMIT):
        return bytes(proto.SerializeToString())
    path = folder / "model.onnx"
    write(proto, path)
    return path


def type_contradictions(proto: onnx.ModelProto) -> list[str]:
    """Where the types that a model states differ from those that follow from its inputs, a sentence each.

    Only certain contradictions count: another element type, rank, or number in a dimension. Types that ONNX cannot
    infer, and models above 2 GB, are taken as they are. The types of `proto` are replaced by the inferred ones.
    """
    stated = list(_types(proto.graph))
    for graph in checks.graphs(proto.graph):
        del graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = dict(_types(infer_shapes(proto).graph))
    return [
        f"`{name}` is stated to be {_text(said)}, but is {_text(inferred[name])}"
        for name, said in stated
        if name in inferred and _contradict(said, inferred[name])
    ]


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TypeProto.Tensor]]:
    """The types of a graph's values and outputs, and of those inside sub-graphs."""
    for scope in checks.graphs(graph):
        for value in [*scope.value_info, *scope.output]:
            tensor = onnx.TypeProto.Tensor()
            tensor.CopyFrom(value.type.tensor_type)
            yield value.name, tensor


def _contradict(said: onnx.TypeProto.Tensor, found: onnx.TypeProto.Tensor) -> bool:
    if said.elem_type and found.elem_type and said.elem_type != found.elem_type:
        return True
    if not said.HasField("shape") or not found.HasField("shape"):
        return False
    if len(said.shape.dim) != len(found.shape.dim):
        return True
    pairs = zip(said.shape.dim, found.shape.dim, strict=True)
    return any(a.HasField("dim_value") and b.HasField("dim_value") and a.dim_value != b.dim_value for a, b in pairs)


def _text(tensor: onnx.TypeProto.Tensor) -> str:
    name = str(onnx.TensorProto.DataType.Name(tensor.elem_type)).lower()
    if not tensor.HasField("shape"):
        return name
    dims = [str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]
    return f"{name}[{','.join(dims)}]"
