"""Running a .tflite file on LiteRT."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.backends.tflite.interface import ENTRY, Interface, Port
from pruna_ir.backends.turns import joined, turns
from pruna_ir.diagnostics import error
from pruna_ir.model.spec import TensorSpec

_DELEGATE = "DELEGATE"
_LONGEST_MESSAGE = 300
Feeds = Mapping[str, np.ndarray]


class LiteSession:
    """A loaded file that is fed, and answers, as the ONNX model that it was made from: in its names, layouts and types.

    More samples than the file takes at a time go through it in turns, the last of which is filled up. `delegate=False`
    runs LiteRT's own kernels in place of XNNPACK's. `run` may be called from several threads, which wait for each
    other. Raises X001 without ai-edge-litert, E002 with LiteRT's reason if it refuses the file.
    """

    def __init__(self, file: bytes | Path, *, threads: int = 1, delegate: bool = True) -> None:
        self.content = file if isinstance(file, bytes) else file.read_bytes()
        self.threads = threads
        self._lock = threading.Lock()
        self.native = _interpreter(self.content, threads, delegate)
        self._inputs, self._outputs = self.native.get_input_details(), self.native.get_output_details()
        interface = read_interface(self.content) or self._plain_interface()
        self.interface = interface
        self.inputs = tuple(port.spec for port in interface.inputs)
        self.outputs = tuple(port.spec for port in interface.outputs)

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name, all of them or the named ones; D003 if the feeds do not fit, E002 if LiteRT fails."""
        parts = turns(self.inputs, feeds)
        with self._lock:
            found = [self._run_once(part) for part in parts]
        names = [spec.name for spec in self.outputs] if outputs is None else outputs
        return {name: joined(self.inputs, feeds, [part[name] for part in found]) for name in names}

    def prepared(self, feeds: Feeds) -> Callable[[], object]:
        """A function that runs the file on these feeds (of the first turn) once, for who times it."""
        self._feed(turns(self.inputs, feeds)[0])
        invoke: Callable[[], object] = self.native.invoke
        return invoke

    def operators(self) -> list[tuple[str, bool]]:
        """The operators of the file, in order, and whether XNNPACK runs them."""
        details = self.native._get_ops_details()
        nodes = [detail for detail in details if detail["op_name"] != _DELEGATE]
        writers = {int(tensor): index for index, node in enumerate(nodes) for tensor in node["outputs"]}
        taken: set[int] = set()
        for part in (detail for detail in details if detail["op_name"] == _DELEGATE):
            borders = {int(tensor) for tensor in part["inputs"]}
            waiting = [int(tensor) for tensor in part["outputs"]]
            while waiting:
                index = writers.get(waiting.pop())
                if index is not None and index not in taken:
                    taken.add(index)
                    read = (int(tensor) for tensor in nodes[index]["inputs"])
                    waiting += [tensor for tensor in read if tensor not in borders]
        return [(str(node["op_name"]), index in taken) for index, node in enumerate(nodes)]

    def _plain_interface(self) -> Interface:
        """The interface of a file that does not say: its own."""
        return Interface(*(tuple(_port(item) for item in side) for side in (self._inputs, self._outputs)))

    def _run_once(self, feeds: Feeds) -> dict[str, np.ndarray]:
        self._feed(feeds)
        try:
            self.native.invoke()
        except (RuntimeError, ValueError) as failure:
            raise error("E002", f"LiteRT failed while running the file: {_line(failure)}") from None
        found = {}
        for port, detail in zip(self.interface.outputs, self._outputs, strict=True):
            values = self._read(detail)
            found[port.spec.name] = port.from_file(_to_model(values, detail, port.spec.dtype))
        return found

    def _read(self, detail: Mapping[str, Any]) -> np.ndarray:
        """The values of an output; LiteRT does not hand out tensors without any."""
        if 0 in detail["shape"]:
            return np.empty(detail["shape"], detail["dtype"])
        return np.array(self.native.get_tensor(detail["index"]))

    def _feed(self, feeds: Feeds) -> None:
        for port, detail in zip(self.interface.inputs, self._inputs, strict=True):
            values = _to_file(port.to_file(np.asarray(feeds[port.spec.name])), detail, port.spec)
            if values.shape != tuple(detail["shape"]):
                raise _misfit(port, detail, values)
            if values.size:
                self.native.set_tensor(detail["index"], values.copy(order="C"))


def read_interface(content: bytes) -> Interface | None:
    """What the file's metadata says of its interface, if it says anything."""
    entry = metadata_entries(content).get(ENTRY)
    return None if entry is None else Interface.from_bytes(entry)


def metadata_entries(content: bytes) -> dict[str, bytes]:
    """The metadata of a file: buffers by name."""
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAs(content)
    found = {}
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        buffer = model.Buffers(entry.Buffer())
        found[entry.Name().decode()] = b"" if buffer.DataIsNone() else buffer.DataAsNumpy().tobytes()
    return found


def require_litert() -> None:
    """Raise X001 if ai-edge-litert is not installed, without loading it."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        help_text = 'pip install "pruna-ir[tflite]"'
        raise error("X001", "the package ai-edge-litert is not installed", help=help_text)


def _interpreter(content: bytes, threads: int, delegate: bool) -> Any:
    require_litert()
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with _without_native_messages():
            made = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=threads)
            made.allocate_tensors()
    except (RuntimeError, ValueError) as failure:
        raise error("E002", f"LiteRT refuses the file: {_line(failure)}") from None
    return made


@contextmanager
def _without_native_messages() -> Iterator[None]:
    """LiteRT announces from C++ on stderr which delegate it uses, which is no news to anybody."""
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def _to_file(values: np.ndarray, detail: Mapping[str, Any], spec: TensorSpec) -> np.ndarray:
    """Values in the type of the file: quantized where it has integers for floats, narrowed where nothing is lost."""
    wanted = np.dtype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    if scale and values.dtype.kind == "f" and wanted.kind in "iu":
        info = np.iinfo(wanted)
        return np.asarray(np.clip(np.rint(values / np.float32(scale)) + zero_point, info.min, info.max), wanted)
    narrowed = values.astype(wanted)
    if values.dtype.kind in "iu" and (narrowed != values).any():
        raise error("D003", f"`{spec.name}` holds integers that {wanted.name} does not, which the file has")
    return narrowed


def _to_model(values: np.ndarray, detail: Mapping[str, Any], wanted: np.dtype) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if scale and values.dtype.kind in "iu" and wanted.kind == "f":
        values = (values.astype(np.int32) - np.int32(zero_point)).astype(np.float32) * np.float32(scale)
    return values.astype(wanted, copy=False)


def _misfit(port: Port, detail: Mapping[str, Any], values: np.ndarray) -> Exception:
    shape = port.from_file(np.empty(detail["shape"], np.bool_)).shape
    note = f"`{port.spec.name}` is {list(shape)} in the file, the sample is {list(port.from_file(values).shape)}"
    return error("D003", "the samples do not fit the file's inputs", notes=[note])


def _port(detail: Mapping[str, Any]) -> Port:
    shape = tuple(int(size) for size in detail["shape"])
    return Port(TensorSpec(str(detail["name"]), np.dtype(detail["dtype"]), shape))


def _line(failure: Exception) -> str:
    """LiteRT's message on one line, without its source places."""
    text = " ".join(str(failure).split())
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"
