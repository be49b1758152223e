"""Modules that look like TensorRT to `build_engine.py`, and a CUDA driver: they note what is asked of them."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


class Severity:
    """TensorRT's enumeration."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = (f"Severity.{name}" for name in "IEWNV")


class Dims(tuple[int, ...]):
    """A shape."""


class StandIn:
    """A TensorRT of one generation: `tensorrt` 10 or 11, or `tensorrt_rtx`.

    Networks are JSON files: {"inputs": {name: shape}, "outputs": {name: shape}, "error": text or null}. What is asked
    of the module is in `calls`.
    """

    def __init__(self, name: str = "tensorrt", version: str = "11.4.0", strongly_typed: bool = False) -> None:
        self.__name__, self.__version__ = name, version
        self.calls: list[tuple[Any, ...]] = []
        if strongly_typed:
            self.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
        self.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.ComputeCapability = SimpleNamespace(SM89="sm89")
        self.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
        self.ILogger = type("ILogger", (), {"__init__": lambda self: None, "Severity": Severity})
        self.Builder = lambda logger: Builder(self, logger)
        self.OnnxParser = lambda network, logger: Parser(self, network, logger)
        self.Runtime = lambda logger: Runtime(self)
        self.slow = {"int8": 1.0, "fp16": 2.0, "fp32": 4.0}

    def nptype(self, dtype: str) -> type:
        """NumPy's type."""
        return np.float32

    def note(self, *call: Any) -> None:
        """Remember a call."""
        self.calls.append(call)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of all calls of a name."""
        return [call[1:] for call in self.calls if call[0] == name]


class Builder:
    """Makes networks and engines."""

    def __init__(self, trt: StandIn, logger: Any) -> None:
        self.trt, self.logger = trt, logger

    def create_network(self, flags: int) -> Any:
        """An empty network."""
        self.trt.note("create_network", flags)
        return SimpleNamespace(file=None)

    def create_builder_config(self) -> Config:
        """Nothing set."""
        return Config(self.trt)

    def create_optimization_profile(self) -> Any:
        """One that notes its shapes."""
        return SimpleNamespace(set_shape=lambda *arguments: self.trt.note("set_shape", *arguments))

    def build_serialized_network(self, network: Any, config: Config) -> bytes | None:
        """The network's file; None, and an error in the log, if that asks for it."""
        problem = network.file.get("build_error")
        if problem:
            self.logger.log(Severity.ERROR, problem)
            return None
        self.logger.log(Severity.VERBOSE, "Layers:")
        return json.dumps(network.file).encode()


class Config:
    """What an engine is built with."""

    def __init__(self, trt: StandIn) -> None:
        self.trt = trt
        self.set_memory_pool_limit = lambda *arguments: trt.note("set_memory_pool_limit", *arguments)
        self.add_optimization_profile = lambda profile: trt.note("add_optimization_profile")
        self.set_compute_capability = lambda *arguments: trt.note("set_compute_capability", *arguments)

    def create_timing_cache(self, data: bytes) -> Any:
        """The cache that was saved, and a byte more."""
        self.trt.note("create_timing_cache", data)
        return SimpleNamespace(serialize=lambda: data + b"+")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> None:
        """Use a cache."""
        self.cache = cache

    def get_timing_cache(self) -> Any:
        """The cache in use."""
        return self.cache


class Parser:
    """Reads the JSON files."""

    num_errors = 1

    def __init__(self, trt: StandIn, network: Any, logger: Any) -> None:
        self.network, self.file = network, None

    def parse_from_file(self, path: str) -> bool:
        """Fill the network."""
        self.file = found = json.loads(Path(path).read_text())
        network = self.network
        network.file = found
        tensors = [SimpleNamespace(name=name, shape=Dims(shape)) for name, shape in found["inputs"].items()]
        network.num_inputs, network.get_input = len(tensors), tensors.__getitem__
        return "error" not in found

    def get_error(self, index: int) -> str:
        """The reason."""
        assert self.file is not None
        return str(self.file["error"])


class Runtime:
    """Loads engines."""

    def __init__(self, trt: StandIn) -> None:
        self.trt = trt

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        """The engine; None if the file says so."""
        file = json.loads(bytes(data))
        return None if file.get("foreign") else Engine(self.trt, file)


class Engine:
    """A loaded engine, which is its own execution context. It doubles its input."""

    def __init__(self, trt: StandIn, file: dict[str, Any]) -> None:
        self.trt, self.file = trt, file
        self.shapes = {**file["inputs"], **file["outputs"]}
        self.addresses: dict[str, int] = {}
        self.num_io_tensors = len(self.shapes)

    def create_execution_context(self) -> Engine:
        """Itself."""
        return self

    def get_tensor_name(self, index: int) -> str:
        """Inputs come first."""
        return str(list(self.shapes)[index])

    def get_tensor_mode(self, name: str) -> str:
        """Input or output."""
        return "in" if name in self.file["inputs"] else "out"

    def get_tensor_dtype(self, name: str) -> str:
        """As TensorRT prints it."""
        return "DataType.FLOAT"

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Outputs have the batch of the input."""
        self.trt.note("set_input_shape", name, shape)
        self.shapes[name] = list(shape)
        for output in self.file["outputs"]:
            self.shapes[output] = [shape[0] if dim == -1 else dim for dim in self.shapes[output]]

    def get_tensor_shape(self, name: str) -> Dims:
        """The shape that is set."""
        return Dims(self.shapes[name])

    def set_tensor_address(self, name: str, address: int) -> None:
        """Where a tensor lies."""
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        """Double the first input into the first output, and take a time that depends on the precision."""
        if self.file.get("fails"):
            return False
        memory = Driver.last.memory
        given, found = (self.addresses[next(iter(self.file[side]))] for side in ("inputs", "outputs"))
        values = np.frombuffer(memory[given], np.float32) * 2
        memory[found] = values.astype(np.float32).tobytes()[: len(memory[found])]
        Driver.last.clock += self.trt.slow[self.file["precision"]]
        return True


class Driver:
    """The functions of libcuda that are used, with a clock that only runs when engines do."""

    last: Driver

    def __init__(self, failing: str = "") -> None:
        Driver.last = self
        self.memory: dict[int, bytes] = {}
        self.marks: dict[int, float] = {}
        self.clock, self.next, self.failing = 0.0, 0x1000, failing

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == self.failing:
                return 100
            action = getattr(self, f"do_{name}", None) if not name.startswith("do_") else None
            if action is not None:
                action(*arguments)
            return 0

        if name.startswith("do_"):
            raise AttributeError(name)
        return call

    def do_cuMemAlloc_v2(self, address: Any, size: Any) -> None:  # noqa: N802 (as libcuda has it)
        """Give memory."""
        self.next += 0x1000
        address._obj.value = self.next
        self.memory[self.next] = bytes(size.value)

    def do_cuMemFree_v2(self, address: Any) -> None:  # noqa: N802
        """Take it back."""
        del self.memory[address.value]

    def do_cuMemcpyHtoD_v2(self, address: Any, data: Any, size: Any) -> None:  # noqa: N802
        """Copy in."""
        self.memory[address.value] = ctypes.string_at(data, size.value)

    def do_cuMemcpyDtoH_v2(self, buffer: Any, address: Any, size: Any) -> None:  # noqa: N802
        """Copy out."""
        ctypes.memmove(buffer, self.memory[address.value], size.value)

    def do_cuEventCreate(self, event: Any, flags: int) -> None:  # noqa: N802
        """A mark without a time yet."""
        self.next += 1
        event._obj.value = self.next

    def do_cuEventRecord(self, event: Any, stream: Any) -> None:  # noqa: N802
        """It has one now."""
        self.marks[event.value] = self.clock

    def do_cuEventElapsedTime(self, elapsed: Any, start: Any, end: Any) -> None:  # noqa: N802
        """Between two marks."""
        elapsed._obj.value = self.marks[end.value] - self.marks[start.value]

    def do_cuEventDestroy_v2(self, event: Any) -> None:  # noqa: N802
        """Give a mark back."""
        del self.marks[event.value]
