"""The TFLite back end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from pruna_ir.backends.agreement import NO_SCALES, compare, require_agreement, require_same_scales
from pruna_ir.backends.tflite import metadata
from pruna_ir.backends.tflite.check import LIMITS, coverage, file_params
from pruna_ir.backends.tflite.interface import ENTRY, Interface, Port
from pruna_ir.backends.tflite.session import LiteSession, require_litert
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.diagnostics import error
from pruna_ir.emission import Backend, Check, Emitted, Feeds, first_samples
from pruna_ir.model.spec import TensorSpec
from pruna_ir.pipeline.options import option

if TYPE_CHECKING:
    from pruna_ir.backends.tflite.program import Binding, Program
    from pruna_ir.data import BoundDataset
    from pruna_ir.model import Model
    from pruna_ir.remarks import Remark

_LABELS = "labels.txt"


@dataclass(frozen=True)
class TfliteBackend(Backend):
    """Write a .tflite file for LiteRT.

    Q/DQ of the graph become integer kernels with the graph's scales, bit for bit; what has no integer kernel runs in
    float, with a remark. The file carries a signature with the model's names, and the metadata that Android Studio
    and MediaPipe read. It is compared with the model in ONNX Runtime, on XNNPACK's kernels and on LiteRT's own.
    """

    name: ClassVar[str] = "tflite"
    suffix: ClassVar[str] = ".tflite"
    target: ClassVar[str] = "tflite"
    runtime: ClassVar[str] = "LiteRT"

    io: Literal["onnx", "nchw", "nhwc"] = option(
        "onnx", "order of axes of images at inputs and outputs: as in the ONNX model, or channels first, or last"
    )
    dtype: Literal["float32", "float16", "int8"] = option(
        "float32", "what weights that the graph has in float are stored in"
    )
    io_dtype: Literal["float", "int8"] = option("float", "quantized inputs and outputs: from and to float, or integers")
    batch: int = option(1, "samples that the file takes at a time, where the model leaves that open", low=1)
    shapes: tuple[str, ...] = option((), "sizes of other open dimensions, by the model's names for them: [length:128]")
    labels: str = option("", "text file with the name of a class a line, which is packed into the file")
    preprocessing: Preprocessing | None = None

    def require_packages(self) -> None:
        """X001 without ai-edge-litert; D001 if the labels cannot be read."""
        require_litert()
        self._label_file()

    def for_data(self, data: BoundDataset) -> TfliteBackend:
        """With the normalisation of the data, for the metadata."""
        return replace(self, preprocessing=data.dataset.preprocessing)

    def legalize(self, model: Model) -> Model:
        """A copy in operators that LiteRT has, with fixed shapes.

        Raises Q001 with the linter's findings where Q/DQ ask for integer kernels that LiteRT has not.
        """
        from pruna_ir.backends.tflite.legality import in_int8, require_legal
        from pruna_ir.backends.tflite.legalize import legalize

        legal = legalize(model, batch=self.batch, weights=self.dtype, sizes=_sizes(self.shapes))
        in_int8(legal)
        require_legal(legal)
        return legal

    def emit(self, model: Model, path: Path) -> Sequence[Remark]:
        """Write the file; E004 names all operators that cannot be written, E006 if it would be larger than 2 GB."""
        from pruna_ir.backends.tflite.lowering import lower
        from pruna_ir.backends.tflite.writer import pack

        program = lower(model, io=self.io, weights=self.dtype, io_dtype=_IO_DTYPES[self.io_dtype])
        program.metadata[ENTRY] = _interface(model, program).to_bytes()
        files = self._label_file()
        program.metadata[metadata.ENTRY] = self._metadata(model, program, files)
        path.write_bytes(pack(program))
        metadata.append(path, files)
        return program.remarks

    def check(self, emitted: Emitted, samples: Sequence[Feeds]) -> tuple[Check, ...]:
        """Compare scales, and outputs on both kinds of kernels; E002 if they differ or LiteRT refuses the file."""
        import ai_edge_litert

        place = emitted.path.name
        fast = emitted.session()
        assert isinstance(fast, LiteSession)
        loads = Check("loads", f"LiteRT {ai_edge_litert.__version__}: {coverage(fast)}")
        scales = require_same_scales(emitted.model.graph, file_params(fast.content))
        samples = [sample for sample in samples if _fits(sample, emitted.model)] or first_samples(
            emitted.reference, None
        )
        if not samples:
            return (loads, scales, Check("outputs", "not compared: no inputs are known that the model runs on"))
        limit = LIMITS["float" if scales == NO_SCALES else "quantized"]
        found = [loads, scales]
        for name, session in (("xnnpack", fast), ("kernels", LiteSession(emitted.path, delegate=False))):
            agreement = compare(emitted.model, emitted.reference, session, samples)
            require_agreement(agreement, limit, place, name)
            outputs = "; ".join(f"`{output}` {values}" for output, values in agreement.items())
            found.append(Check(name, f"{outputs}, on {len(samples)} samples"))
        return tuple(found)

    def session(self, path: Path, threads: int = 1) -> LiteSession:
        """The file in LiteRT with XNNPACK, as it is deployed."""
        return LiteSession(path, threads=threads)

    def original(self, model: Model) -> LiteSession:
        """The model as it was brought, written in float."""
        import tempfile

        plain = replace(self, dtype="float32", io_dtype="float", labels="")
        with tempfile.TemporaryDirectory(prefix="pruna-") as folder:
            path = Path(folder) / "original.tflite"
            plain.emit(plain.legalize(model), path)
            return plain.session(path)

    def _label_file(self) -> dict[str, bytes]:
        if not self.labels:
            return {}
        try:
            return {_LABELS: Path(self.labels).read_bytes()}
        except OSError as failure:
            raise error("D001", f"the labels cannot be read: {failure.strerror}", place=self.labels) from None

    def _metadata(self, model: Model, program: Program, files: dict[str, bytes]) -> bytes:
        inputs = [self._described(item) for item in program.inputs]
        count = len(files[_LABELS].splitlines()) if files else 0
        outputs = [
            metadata.Described(item.name, labels=files if item.tensor.shape[-1:] == (count,) else None)
            for item in program.outputs
        ]
        if files and not any(item.labels for item in outputs):
            message = f"there are {count} labels, and no output has as many values"
            raise error("D007", message, place=self.labels)
        return metadata.metadata(model.graph.name or "model", "", inputs, outputs)

    def _described(self, item: Binding) -> metadata.Described:
        """An input; an image if the data's samples are preprocessed as such."""
        shape, preprocessing = item.tensor.shape, self.preprocessing
        if preprocessing is None or len(shape) != 4:
            return metadata.Described(item.name)
        layout = preprocessing.layout.lower() if self.io == "onnx" else self.io
        channels = shape[3] if layout == "nhwc" else shape[1]
        color = f"channels in the order {preprocessing.color}" if preprocessing.color else ""
        images = channels if channels in (1, 3) else 0
        return metadata.Described(item.name, color, images, metadata.Normalization.of(preprocessing))


_IO_DTYPES = {"float": "float32", "int8": "int8"}


def _fits(sample: Feeds, model: Model) -> bool:
    """Whether a sample has the sizes that a model takes, whatever the number of samples."""
    return all(sample[spec.name].shape[1:] == spec.shape[1:] for spec in model.inputs())


def _sizes(texts: Sequence[str]) -> dict[str, int]:
    """Sizes by name; P004 for text that is none."""
    found = {}
    for text in texts:
        name, _, size = text.rpartition(":")
        if not name or not size.isdigit() or int(size) < 1:
            raise error("P004", f"`{text}` is no name and size", place="tflite<shapes>", help="such as [length:128]")
        found[name] = int(size)
    return found


def _interface(model: Model, program: Program) -> Interface:
    """What the file has for the model's inputs and outputs."""
    sides = zip((model.inputs(), model.outputs()), (program.inputs, program.outputs), strict=True)
    return Interface(*(tuple(_port(*pair) for pair in zip(*side, strict=True)) for side in sides))


def _port(spec: TensorSpec, binding: Binding) -> Port:
    shape = binding.tensor.shape
    if binding.permutation is not None:
        shape = tuple(shape[axis] for axis in np.argsort(binding.permutation))
    return Port(replace(spec, shape=shape), binding.permutation)
