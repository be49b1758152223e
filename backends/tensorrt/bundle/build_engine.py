#!/usr/bin/env python3
"""Build the TensorRT engine of the network in this folder, time it, and run it.

    python build_engine.py                       build model.engine; time it where there is a GPU
    python build_engine.py --only-build --log build.log
    python build_engine.py --feeds inputs.npz --outputs outputs.npz

Runs unchanged on TensorRT 10 and 11 and on TensorRT for RTX, and needs nothing else but NVIDIA's driver (and NumPy
for `--feeds`). Types stand in the network: it is built strongly typed, which is the only way that TensorRT 11 has.
profiles.json says how large open dimensions may be, precision.json which networks the folder holds.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import math
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Profiles = Mapping[str, Mapping[str, Sequence[int]]]
MODULES = ("tensorrt", "tensorrt_rtx")
WARM_UP = 20
# Bits of an element, by the name of TensorRT's type.
BITS = {"FLOAT": 32, "HALF": 16, "BF16": 16, "INT64": 64, "INT32": 32, "INT8": 8, "UINT8": 8, "BOOL": 8, "FP8": 8}


class Failure(Exception):  # noqa: N818
    """What ends the script with a message."""


def load_tensorrt(name: str | None = None) -> Any:
    """The module: `name`, or the first of those that are installed."""
    last: object = ""
    for candidate in [name] if name else MODULES:
        try:
            return importlib.import_module(candidate)
        except ImportError as problem:
            last = problem
    raise Failure(f"TensorRT is not installed ({last}): pip install tensorrt, or tensorrt-rtx")


def make_logger(trt: Any, path: Path | None) -> Any:
    """A logger that prints problems, and with `path` writes everything into that file."""
    severity = trt.ILogger.Severity
    shown = (severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING)
    if path:
        path.write_text("", encoding="utf-8")

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if path:  # closed after each message: the builder may end the process
                with path.open("a", encoding="utf-8") as stream:
                    stream.write(f"[{str(level).rsplit('.', 1)[-1]}] {message}\n")
            if level in shown:
                print(f"tensorrt: {message}", file=sys.stderr)

    return Logger()


def build(trt: Any, logger: Any, onnx: Path, profiles: Profiles, options: argparse.Namespace, cuda: Cuda | None) -> Any:
    """The engine of an ONNX file, serialized."""
    builder = trt.Builder(logger)
    # TensorRT 11 knows no other networks, and may not have the flag any more.
    flag = getattr(getattr(trt, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        reasons = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise Failure("\n".join([f"the parser refuses {onnx.name}:", *reasons]))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    add_profile(builder, network, config, profiles)
    set_devices(trt, config, options.compute_capability)
    cache = options.timing_cache if cuda is not None and not is_rtx(trt) else None
    if cache is not None:
        known = cache.read_bytes() if cache.exists() else b""
        config.set_timing_cache(config.create_timing_cache(known), False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise Failure(f"no engine could be built of {onnx.name}: see the errors above")
    if cache is not None:
        cache.write_bytes(memoryview(config.get_timing_cache().serialize()))
    return engine


def is_rtx(trt: Any) -> bool:
    """Whether this is TensorRT for RTX, which picks its kernels when the engine is loaded."""
    return str(trt.__name__).endswith("_rtx")


def add_profile(builder: Any, network: Any, config: Any, profiles: Profiles) -> None:
    """One optimization profile for all inputs with open dimensions."""
    inputs = map(network.get_input, range(network.num_inputs))
    open_inputs = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    missing = [tensor.name for tensor in open_inputs if tensor.name not in profiles]
    if missing:
        raise Failure(f"profiles.json has no shapes for: {', '.join(missing)}")
    if not open_inputs:
        return
    profile = builder.create_optimization_profile()
    for tensor in open_inputs:
        wanted = profiles[tensor.name]
        profile.set_shape(tensor.name, tuple(wanted["min"]), tuple(wanted["opt"]), tuple(wanted["max"]))
    config.add_optimization_profile(profile)


def set_devices(trt: Any, config: Any, capability: str | None) -> None:
    """TensorRT for RTX builds for GPUs that are not there: for this one alone, by its compute capability."""
    if not capability:
        return
    if not is_rtx(trt):
        raise Failure("--compute-capability is for TensorRT for RTX: TensorRT builds for the GPU that it runs on")
    wanted = getattr(trt.ComputeCapability, "SM" + capability.replace(".", ""), None)
    if wanted is None:
        raise Failure(f"this TensorRT does not build for compute capability {capability}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(wanted, 0)


class Cuda:
    """The few functions of NVIDIA's driver that running an engine needs; raises OSError if there is none."""

    def __init__(self, library: Any = None) -> None:
        self.library = library or ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        self._call("cuInit", 0)
        device, context, self.stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", ctypes.byref(self.stream), 0)

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self.library, name)(*arguments):
            raise OSError(f"{name} failed with CUDA error {status}")

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the GPU, all zero."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        self._call("cuMemsetD8_v2", address, ctypes.c_ubyte(0), ctypes.c_size_t(max(size, 1)))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def to_device(self, address: int, data: bytes) -> None:
        """Copy bytes to the GPU."""
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_char_p(data), ctypes.c_size_t(len(data)))

    def to_host(self, address: int, size: int) -> bytes:
        """Copy bytes from the GPU."""
        found = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH_v2", found, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return found.raw

    def synchronize(self) -> None:
        """Wait for the stream."""
        self._call("cuStreamSynchronize", self.stream)

    def event(self) -> Any:
        """Mark this point of the stream."""
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), 0)
        self._call("cuEventRecord", event, self.stream)
        return event

    def milliseconds(self, start: Any, end: Any) -> float:
        """The time between two marks, which are given back."""
        elapsed = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(elapsed), start, end)
        self._call("cuEventDestroy_v2", start)
        self._call("cuEventDestroy_v2", end)
        return elapsed.value


def find_cuda() -> Cuda | None:
    """The driver; None where there is no GPU."""
    try:
        return Cuda()
    except OSError:
        return None


class Runner:
    """An engine with memory for one set of input shapes (those of profiles.json that it is tuned for)."""

    def __init__(self, trt: Any, logger: Any, engine: Any, cuda: Any, shapes: Mapping[str, Sequence[int]]) -> None:
        self.trt, self.cuda = trt, cuda
        self.runtime = trt.Runtime(logger)
        self.engine = self.runtime.deserialize_cuda_engine(engine)
        if self.engine is None:
            raise Failure("the engine cannot be loaded on this GPU")
        self.context = self.engine.create_execution_context()
        self.names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self.inputs = [name for name in self.names if self.engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in self.inputs:
            if name in shapes:
                self.context.set_input_shape(name, tuple(shapes[name]))
        self.addresses: dict[str, int] = {}
        for name in self.names:
            self.addresses[name] = cuda.allocate(self.size(name))
            self.context.set_tensor_address(name, self.addresses[name])

    def size(self, name: str) -> int:
        """Bytes of a tensor."""
        shape: tuple[int, ...] = tuple(self.context.get_tensor_shape(name))
        if any(dim < 0 for dim in shape):
            raise Failure(f"the shape of `{name}` depends on the data: {shape}")
        kind = str(self.engine.get_tensor_dtype(name)).rsplit(".", 1)[-1]
        return -(-math.prod(shape) * BITS[kind] // 8)

    def enqueue(self) -> None:
        """Start one run."""
        if not self.context.execute_async_v3(self.cuda.stream.value or 0):
            raise Failure("the engine does not run: see the errors above")

    def times(self, rounds: int) -> list[float]:
        """Milliseconds on the GPU of each of so many runs."""
        for _ in range(WARM_UP):
            self.enqueue()
        self.cuda.synchronize()
        marks = []
        for _ in range(rounds):
            start = self.cuda.event()
            self.enqueue()
            marks.append((start, self.cuda.event()))
        self.cuda.synchronize()
        return [self.cuda.milliseconds(*pair) for pair in marks]

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs for inputs of the shapes that it has memory for; both are arrays by name."""
        import numpy

        for name in self.inputs:
            array = numpy.ascontiguousarray(feeds[name], self.trt.nptype(self.engine.get_tensor_dtype(name)))
            self.cuda.to_device(self.addresses[name], array.tobytes())
        self.enqueue()
        self.cuda.synchronize()
        found = {}
        for name in self.names:
            if name not in self.inputs:
                dtype = numpy.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name)))
                data = self.cuda.to_host(self.addresses[name], self.size(name))
                found[name] = numpy.frombuffer(data, dtype).reshape(tuple(self.context.get_tensor_shape(name)))
        return found

    def close(self) -> None:
        """Give the memory back."""
        for address in self.addresses.values():
            self.cuda.free(address)


def describe(name: str, times: Sequence[float], base: float | None) -> str:
    """A line of the comparison."""
    median = statistics.median(times)
    line = f"{name:>10}  {median:9.3f} ms  (fastest {min(times):.3f}, slowest {max(times):.3f})"
    return line if base is None else f"{line}  {base / median:5.2f}x as fast as fp32"


def compare(
    trt: Any, logger: Any, engines: Mapping[str, Any], cuda: Any, shapes: Mapping[str, Sequence[int]], rounds: int
) -> None:
    """Time engines next to each other and print the figures; fp32, if it is there, is what the others are held to."""
    found = {}
    for name, engine in engines.items():
        runner = Runner(trt, logger, engine, cuda, shapes)
        found[name] = runner.times(rounds)
        runner.close()
    base = statistics.median(found["fp32"]) if "fp32" in found and len(found) > 1 else None
    print(f"{rounds} runs each, at {shapes or 'the shapes of the network'}")
    for name, times in found.items():
        print(describe(name, times, base))


def run_once(trt: Any, logger: Any, engine: Any, cuda: Any, feeds: Path, outputs: Path) -> int:
    """Run an engine on the arrays of one .npz file, and write another; the exit code."""
    import numpy

    with numpy.load(feeds) as stored:
        arrays = dict(stored)
    runner = Runner(trt, logger, engine, cuda, {name: array.shape for name, array in arrays.items()})
    numpy.savez(outputs, **runner.run(arrays))
    runner.close()
    return 0


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="build the TensorRT engine of this folder's network, and time it")
    parser.add_argument("--only-build", action="store_true", help="do not time, and build no network to compare with")
    parser.add_argument("--engine", type=Path, default=HERE / "model.engine", help="where the engine goes")
    parser.add_argument("--timing-cache", type=Path, default=HERE / "timing.cache", help="what builds before this saw")
    parser.add_argument("--workspace", type=int, default=0, metavar="MIB", help="memory that kernels may ask for")
    parser.add_argument("--compute-capability", metavar="8.9", help="TensorRT for RTX: build for this GPU alone")
    parser.add_argument("--rounds", type=int, default=200, help="runs that are timed")
    parser.add_argument("--log", type=Path, help="file for everything that the builder says, with the layers it made")
    parser.add_argument("--feeds", type=Path, help=".npz with inputs to run")
    parser.add_argument("--outputs", type=Path, default=HERE / "outputs.npz", help=".npz for what comes out")
    parser.add_argument("--module", choices=MODULES, help="which TensorRT; default: the first that is installed")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, trt: Any = None, cuda: Any = None) -> int:
    """Build, then time or run. `trt` and `cuda` stand in for the real ones in tests."""
    options = read_options(arguments)
    try:
        trt = trt or load_tensorrt(options.module)
        cuda = cuda or find_cuda()
        logger = make_logger(trt, options.log)
        profiles = json.loads((HERE / "profiles.json").read_text())
        (name, network), *others = json.loads((HERE / "precision.json").read_text())["networks"].items()
        engine = build(trt, logger, HERE / network, profiles, options, cuda)
        options.engine.write_bytes(memoryview(engine))
        print(f"{trt.__name__} {trt.__version__}: wrote {options.engine} ({options.engine.stat().st_size:,} bytes)")
        if options.only_build:
            return 0
        if cuda is None:
            print("not timed: there is no GPU (libcuda has none)")
            return 0 if options.feeds is None else 1
        if options.feeds is not None:
            return run_once(trt, logger, engine, cuda, options.feeds, options.outputs)
        engines = {name: engine}
        for name, network in others:
            try:
                engines[name] = build(trt, logger, HERE / network, profiles, options, cuda)
            except Failure as failure:
                print(f"{name} is not compared: {failure}", file=sys.stderr)
        compare(trt, logger, engines, cuda, {name: sizes["opt"] for name, sizes in profiles.items()}, options.rounds)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
