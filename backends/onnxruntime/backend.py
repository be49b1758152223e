"""The back end `onnx`: the model as ONNX Runtime loads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pruna_ir.diagnostics import error
from pruna_ir.emission import Backend, Check, Emitted, Feeds, outputs_with_nan
from pruna_ir.model.opset import relative_error
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model


@dataclass(frozen=True)
class OnnxBackend(Backend):
    """Write an ONNX file for ONNX Runtime.

    The graph is written as it is. The file must load in ONNX Runtime with its optimizations on and off; with them off
    its outputs are those of the model in memory, bit for bit, and no output is NaN.
    """

    name: ClassVar[str] = "onnx"
    suffix: ClassVar[str] = ".onnx"
    target: ClassVar[str] = "ort-cpu"

    def emit(self, model: Model, path: Path) -> None:
        """Write the file; above 2 GB the weights go to `<name>.data` beside it."""
        model.save(path)

    def check(self, emitted: Emitted, samples: Sequence[Feeds]) -> tuple[Check, ...]:
        """Load the file both ways and run it next to the model; E002 if they differ, M009 if it does not load."""
        import onnxruntime

        path = emitted.path
        plain, optimized = Session(path, optimize=False), emitted.session()
        loads = Check("loads", f"ONNX Runtime {onnxruntime.__version__}, graph optimizations off and on")
        if not samples:
            return (loads, Check("outputs", "not compared: no inputs are known that the model runs on"))
        worst = 0.0
        for feeds in samples:
            expected = emitted.reference.run(feeds)
            _require_equal(expected, plain.run(feeds), path)
            fast = optimized.run(feeds)
            for outputs in (expected, fast):
                _require_numbers(outputs, path)
            worst = max(worst, relative_error(expected, fast))
        equal = Check("outputs", f"bit-equal to the model's on {len(samples)} samples, optimizations off")
        return (loads, equal, Check("optimized", f"largest difference {worst:.1e} of the output's range"))

    def session(self, path: Path, threads: int = 1) -> Session:
        """The file in ONNX Runtime, with its optimizations on, as it is deployed."""
        return Session(path, threads=threads)


def _require_equal(expected: Feeds, found: Feeds, path: Path) -> None:
    for name, wanted in expected.items():
        if not np.array_equal(wanted, found[name], equal_nan=wanted.dtype.kind == "f"):
            raise error("E002", f"the written file's output `{name}` differs from the model's", place=path.name)


def _require_numbers(outputs: Feeds, path: Path) -> None:
    for name in outputs_with_nan(outputs):
        message = f"the output `{name}` holds {int(np.isnan(outputs[name]).sum())} NaN on the first samples"
        raise error("E002", message, place=path.name, help="does the original model give numbers on these samples?")
