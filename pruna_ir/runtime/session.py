"""Running a model on ONNX Runtime's CPU execution provider."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model import external
from pruna_ir.model.save import write
from pruna_ir.model.spec import TensorSpec

if TYPE_CHECKING:
    from pruna_ir.model import Model

_SILENT = 4
_NOISE = (
    re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"Load model from .*? failed:\s*"),
    re.compile(r"/\S+\.(?:cc|h):\d+ .*?(?=[A-Z][a-z]+ )"),
    re.compile(r"This is an invalid model\. (?:Error: )?"),
    re.compile(r"Exception during (?:initialization|loading): "),
)
_LONGEST_MESSAGE = 300


class Session:
    """A loaded model; `run` may be called from several threads at once.

    `optimize=False` turns ONNX Runtime's graph optimizations off: the nodes run as they are written. `without` names
    single ones to leave out, `keep_optimized` is where ONNX Runtime writes the graph that it makes, `profile` how the
    file begins in which it notes the time of each node. Raises M009 with ONNX Runtime's reason if it refuses the model,
    M001 if a path does not exist.
    """

    def __init__(
        self,
        model: Model | onnx.ModelProto | bytes | str | Path,
        *,
        threads: int = 1,
        optimize: bool = True,
        without: Sequence[str] = (),
        keep_optimized: Path | None = None,
        profile: Path | None = None,
    ) -> None:
        self.threads, self._without = threads, list(without)
        self._keep_optimized, self._profile = keep_optimized, profile
        try:
            self.native = self._load(model, optimize)
        except _failures() as failure:
            if type(failure).__name__ == "NoSuchFile":
                raise error("M001", "no such file", place=model) from None
            raise error("M009", f"ONNX Runtime refuses the model: {shorten(failure)}") from None
        self.inputs = tuple(_spec(value) for value in self.native.get_inputs())
        self.outputs = tuple(_spec(value) for value in self.native.get_outputs())

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name, all of them or the named ones.

        `feeds` maps each input to an array of its dtype and shape. Raises D003 if they do not fit, M009 if ONNX
        Runtime fails on the way.
        """
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        try:
            values = self.native.run(names, dict(feeds))
        except _failures() as failure:
            raise self._explain(failure, feeds) from None
        return dict(zip(names, values, strict=True))

    def prepared(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], object]:
        """A function that runs the model on these feeds once, for who times it."""
        return partial(self.native.run, [spec.name for spec in self.outputs], dict(feeds))

    def _load(self, model: Model | onnx.ModelProto | bytes | str | Path, optimize: bool) -> Any:
        if isinstance(model, bytes):
            return self._create(model, optimize)
        if isinstance(model, str | Path):
            return self._create(str(model), optimize)
        proto = model if isinstance(model, onnx.ModelProto) else model.to_proto()
        if not external.exceeds(proto, external.PROTOBUF_LIMIT):
            return self._create(proto.SerializeToString(), optimize)
        if proto is model:
            proto = onnx.ModelProto()
            proto.CopyFrom(model)
        with tempfile.TemporaryDirectory(prefix="pruna-", ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "model.onnx"
            write(proto, path, limit=external.PROTOBUF_LIMIT)
            return self._create(str(path), optimize)

    def _create(self, source: bytes | str, optimize: bool) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if self._keep_optimized is not None:
            options.optimized_model_filepath = str(self._keep_optimized)
        if self._profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(self._profile)
        more = {"disabled_optimizers": self._without} if self._without else {}
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"], enable_fallback=0, **more)

    def _explain(self, failure: Exception, feeds: Mapping[str, np.ndarray]) -> PrunaError:
        """The diagnostic for a run that failed: the feeds' fault (D003) if they differ from the inputs, else M009."""
        problems = [problem for spec in self.inputs if (problem := _mismatch(spec, feeds.get(spec.name)))]
        problems += [f"`{name}` is not an input" for name in feeds if name not in {spec.name for spec in self.inputs}]
        if problems:
            return error("D003", "the samples do not fit the model's inputs", notes=problems)
        return error("M009", f"ONNX Runtime failed while running the model: {shorten(failure)}")


def _failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its exceptions have no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception))
    return (*own, RuntimeError, ValueError)


def shorten(failure: Exception) -> str:
    """The part of ONNX Runtime's message that says what is wrong: one line without its codes and source places."""
    text = " ".join(str(failure).split())
    for noise in _NOISE:
        text = noise.sub("", text)
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def _mismatch(spec: TensorSpec, value: np.ndarray | None) -> str | None:
    if value is None:
        return f"the model needs {spec}, which is missing"
    fits = len(value.shape) == len(spec.shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(spec.shape, value.shape, strict=True)
    )
    if fits and value.dtype == spec.dtype:
        return None
    return f"the model needs {spec}, the sample is {value.dtype.name}{list(value.shape)}"


def _spec(value: Any) -> TensorSpec:
    """`value` is ONNX Runtime's NodeArg; element types that NumPy does not know become `object`."""
    return TensorSpec(value.name, _dtype(value.type), tuple(value.shape))


def _dtype(type_text: str) -> np.dtype:
    match = re.fullmatch(r"tensor\((\w+)\)", type_text)
    word = match.group(1) if match else ""
    word = {"float": "float32", "double": "float64", "string": "object"}.get(word, word)
    try:
        return np.dtype(word) if word else np.dtype(object)
    except TypeError:
        return np.dtype(object)
