"""Running a package: with the reference evaluator anywhere, on Core ML itself on a Mac."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.evaluate import Program
from pruna_ir.backends.coreml.evaluate.package import Package, read_package
from pruna_ir.backends.coreml.evaluate.program import Observer
from pruna_ir.backends.coreml.interface import ENTRY, Interface, Port
from pruna_ir.backends.coreml.toolbox import coremltools
from pruna_ir.backends.turns import joined, turns
from pruna_ir.diagnostics import error
from pruna_ir.model.spec import TensorSpec

Feeds = Mapping[str, np.ndarray]
# ImageFeatureType.ColorSpace of the format.
_COLORS = {10: "GRAY", 20: "RGB", 30: "BGR"}


class PackageSession(ABC):
    """A package that is fed, and answers, as the ONNX model that it was made from: in its names, types and shapes.

    A package that does not say what it was made from has its own. More samples than it takes at a time go through it in
    turns.
    """

    def __init__(self, package: Package, program: Program) -> None:
        self.package, self.program = package, program
        entry = package.metadata.get(ENTRY)
        self.interface = _own(program) if entry is None else Interface.from_json(entry)
        self.inputs = tuple(_spec(port) for port in self.interface.inputs)
        self.outputs = tuple(_spec(port) for port in self.interface.outputs)
        self._file_inputs = {spec.name: spec for spec in program.inputs}

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name, all of them or the named ones; D003 if the feeds do not fit, E002 if it cannot be run."""
        answers = [self._answer(self._fed(turn)) for turn in turns(self.inputs, feeds)]
        wanted = [port for port in self.interface.outputs if outputs is None or port.name in outputs]
        found = {port.name: [_left(port, answer[port.file]) for answer in answers] for port in wanted}
        return {name: joined(self.inputs, feeds, parts) for name, parts in found.items()}

    def prepared(self, feeds: Feeds) -> Callable[[], object]:
        """A function that runs the package on these feeds (of the first turn) once, for who times it."""
        return partial(self._answer, self._fed(turns(self.inputs, feeds)[0]))

    @abstractmethod
    def _answer(self, feeds: dict[str, np.ndarray]) -> Mapping[str, Any]:
        """The package's outputs by its names, for arrays by its names."""

    def _fed(self, feeds: Feeds) -> dict[str, np.ndarray]:
        return {
            port.file: _entered(port, self._file_inputs[port.file], np.asarray(feeds[port.name]))
            for port in self.interface.inputs
            if port.file in self._file_inputs
        }


class EvaluatorSession(PackageSession):
    """A package in the reference evaluator."""

    def __init__(self, path: Path) -> None:
        package = read_package(path)
        super().__init__(package, Program(package))

    def run_observed(self, feeds: Feeds, observe: Observer) -> None:
        """Run the feeds of one turn; `observe` is told every value, and may replace it."""
        self.program.run(self._fed(feeds), observe)

    def _answer(self, feeds: dict[str, np.ndarray]) -> Mapping[str, Any]:
        return self.program.run(feeds)


class CoremlSession(PackageSession):
    """A package on Core ML, on whatever processors it chooses; E003 where there is no Core ML: it is part of macOS."""

    def __init__(self, path: Path) -> None:
        if sys.platform != "darwin":
            raise error("E003", "Core ML runs on Apple's systems only", place=path.name)
        package = read_package(path)
        super().__init__(package, Program(package))
        self._model: Any = coremltools().models.MLModel(str(path))

    def _answer(self, feeds: dict[str, np.ndarray]) -> Mapping[str, Any]:
        given = {name: self._given(name, value) for name, value in feeds.items()}
        try:
            found: Mapping[str, Any] = self._model.predict(given)
        except RuntimeError as failure:
            raise error("E002", f"Core ML failed while running the package: {failure}") from None
        return found

    def _given(self, name: str, value: np.ndarray) -> Any:
        """A value as `predict` takes it: an image where the package has one."""
        kind = next(item.type for item in self.package.spec.description.input if item.name == name)
        if kind.WhichOneof("Type") != "imageType":
            return value
        return _picture(value, _COLORS.get(kind.imageType.colorSpace, "RGB"))


def _own(program: Program) -> Interface:
    sides = (program.inputs, program.outputs)
    return Interface(*(tuple(Port(s.name, s.name, s.dtype.name, s.shape) for s in side) for side in sides))


def _spec(port: Port) -> TensorSpec:
    return TensorSpec(port.name, np.dtype(port.dtype), port.shape)


def _entered(port: Port, spec: TensorSpec, values: np.ndarray) -> np.ndarray:
    """A value of the model as the package takes it: narrowed where nothing is lost, and a number as a list of one.

    An image as pixels from 0 to 255, which are not rounded.
    """
    if port.scale:
        scale, bias = (np.asarray(numbers).reshape(1, -1, 1, 1) for numbers in (port.scale, port.bias))
        return np.asarray((values - bias) / scale, spec.dtype)
    narrowed = values.astype(spec.dtype)
    if values.dtype.kind in "iu" and not np.array_equal(narrowed, values):
        raise error("D003", f"`{port.name}` holds integers that {spec.dtype.name} does not, which the package has")
    return narrowed.reshape(1) if not values.ndim and spec.shape else narrowed


def _left(port: Port, value: Any) -> np.ndarray:
    """A value of the package as the model has it: what a classifier says of its labels in their order."""
    listed = [value[label] for label in port.labels] if port.labels else value
    values = np.asarray(listed).astype(np.dtype(port.dtype))
    if port.labels:
        return values.reshape([size if isinstance(size, int) else 1 for size in port.shape])
    return values.reshape(()) if not port.shape and values.size == 1 else values


def _picture(pixels: np.ndarray, color: str) -> Any:
    """One image [1, channels, height, width] as Pillow has it, which is what Core ML Tools hand to Core ML."""
    from PIL import Image

    channels = np.clip(np.rint(pixels[0]), 0, 255).astype(np.uint8)
    ordered = channels[::-1] if color == "BGR" else channels
    return Image.fromarray(ordered[0], "L") if len(ordered) == 1 else Image.fromarray(ordered.transpose(1, 2, 0))
