"""From what the user holds (a path, bytes, a protobuf) to a protobuf that the IR can take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx.inliner import inline_local_functions

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model import checks, external
from pruna_ir.model.attributes import normalize_attributes
from pruna_ir.model.conversion import infer_shapes
from pruna_ir.model.opset import MINIMUM_OPSET, default_opset, raise_opset
from pruna_ir.model.sidecar import Sidecar

TEXT_SUFFIXES = (".onnxtxt", ".onnxtext")
# Before it, an initializer had to be listed as an input too.
_FREE_INITIALIZERS = 4


@dataclass
class Loaded:
    """A checked, normalized protobuf, the notes of the original, and what was done to it."""

    proto: onnx.ModelProto
    sidecar: Sidecar
    folder: Path
    notes: list[str] = field(default_factory=list)


def read(path: Path) -> onnx.ModelProto:
    """Parse a model file, binary or (by its suffix) ONNX text. External data is not read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise error("M001", "no such file", place=path) from None
    except OSError as failure:
        raise error("M001", f"cannot read the file: {failure.strerror}", place=path) from None
    return parse(data, place=str(path), is_text=path.suffix in TEXT_SUFFIXES)


def parse(data: bytes | str, *, place: str = "model", is_text: bool = False) -> onnx.ModelProto:
    """Parse a serialized ModelProto or ONNX text (https://onnx.ai/onnx/repo-docs/Syntax.html)."""
    if is_text or isinstance(data, str):
        try:
            return onnx.parser.parse_model(data if isinstance(data, str) else data.decode())
        except (onnx.parser.ParseError, UnicodeDecodeError) as failure:
            raise error("M002", f"not ONNX text: {_first_line(failure)}", place=place) from None
    if not data:
        raise error("M002", "the file is empty", place=place)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        help_text = "is it an .onnx file, and did the download or the copy finish?"
        raise error("M002", "not a protobuf, or a truncated one", place=place, help=help_text) from None
    if not proto.HasField("graph") or not proto.opset_import:
        raise error("M002", "a protobuf, but not an ONNX model: it has no graph or no opset", place=place)
    return proto


def normalize(proto: onnx.ModelProto, folder: Path, place: str = "model") -> Loaded:
    """Check a protobuf and bring it into the one form that passes see. `proto` is changed.

    Functions are inlined, initializers listed as inputs are demoted, the opset is at least 13 and the IR version 4,
    nodes are sorted and every tensor whose type ONNX can infer has it.
    """
    external.check_files(proto.graph, folder)
    if not proto.graph.name:
        proto.graph.name = "model"
    notes: list[str] = []
    if proto.functions:
        notes.append(f"{len(proto.functions)} functions inlined")
        proto = _inline_functions(proto, place)
    checks.check_supported(proto, place)
    checks.sort_nodes(proto.graph, place)
    checks.check_operators(proto, place)
    sidecar = Sidecar.of(proto)
    infer_shapes(proto)  # before the checker, which insists on shapes that exporters may leave out
    _drop_repeated_types(proto.graph)
    _check(proto, folder, place)
    checks.check_weights(proto.graph, place)
    normalize_attributes(proto.graph, place)
    demoted = _demote_initializers(proto.graph)
    proto.ir_version = max(proto.ir_version, _FREE_INITIALIZERS)
    if demoted:
        notes.append(f"{demoted} initializers were listed as inputs and are now constants")
    before = default_opset(proto)
    if before < MINIMUM_OPSET:
        proto, evidence = raise_opset(proto, MINIMUM_OPSET, place)
        notes.append(f"opset raised from {before} to {MINIMUM_OPSET}, {evidence}")
    return Loaded(proto, sidecar, folder, notes)


def _inline_functions(proto: onnx.ModelProto, place: str) -> onnx.ModelProto:
    try:
        return inline_local_functions(proto, convert_version=True)
    except (RuntimeError, onnx.checker.ValidationError) as failure:
        raise error("M006", f"the functions cannot be inlined: {_first_line(failure)}", place=place) from None


def _check(proto: onnx.ModelProto, folder: Path, place: str) -> None:
    if any(external.is_external(tensor) for tensor in external.tensors(proto.graph)):
        return  # the checker wants a path then; the files are checked above and ONNX Runtime loads the result
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as failure:
        raise error("M006", _first_line(failure), place=place, notes=_context(failure)) from None


def _first_line(failure: Exception) -> str:
    text = str(failure).strip()
    if failure.args and isinstance(failure.args[0], bytes):  # onnx.parser's
        text = " ".join(failure.args[0].decode(errors="replace").split())
    return (text.splitlines() or [type(failure).__name__])[0]


def _context(failure: Exception) -> list[str]:
    lines = [line.strip() for line in str(failure).splitlines()[1:]]
    return [line[:200] for line in lines if line.startswith("==>")][:2]


def _drop_repeated_types(graph: onnx.GraphProto) -> None:
    """Keep one type of each input and output: graphsurgeon would take that among the inner values, if it says less."""
    for scope in checks.graphs(graph):
        interface = {value.name: value for value in [*scope.input, *scope.output]}
        inner = [value for value in scope.value_info if value.name not in interface]
        for repeated in scope.value_info:
            stated = interface.get(repeated.name)
            if stated is not None and not stated.type.tensor_type.HasField("shape"):
                stated.type.CopyFrom(repeated.type)
        if len(inner) < len(scope.value_info):
            del scope.value_info[:]
            scope.value_info.extend(inner)


def _demote_initializers(graph: onnx.GraphProto) -> int:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    demoted = len(graph.input) - len(inputs)
    if demoted:
        del graph.input[:]
        graph.input.extend(inputs)
    return demoted


__all__ = ["Loaded", "PrunaError", "normalize", "parse", "read"]
