"""The calibrations that bench_calibration.py compares: each opens a file, and then reads samples to the end.

What opening takes (imports, our reading of the graph) is not timed; a tool's own preparation of the model is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from pruna_ir import registry
from pruna_ir.calibration import collect
from pruna_ir.calibration.ranges import solve
from pruna_ir.model import Model
from pruna_ir.runtime import Session

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Samples:
    """Feeds of batch 1 from a fixed seed, each a little different; none is kept."""

    first: Feeds
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Feeds]:
        for index in range(self.count):
            yield {name: value + value.dtype.type(index / self.count) for name, value in self.first.items()}


Way = Callable[[Path], Callable[[Samples], None]]


def forward(path: Path) -> Callable[[Samples], None]:
    """The model as it is; its outputs are dropped."""
    session = Session(path, threads=os.cpu_count() or 1)

    def run(batches: Samples) -> None:
        for feeds in batches:
            session.run(feeds)

    return run


def ours(path: Path, method: str) -> Callable[[Samples], None]:
    """Statistics, from which every method's ranges can be solved, and the ranges of one."""
    model = Model.load(path)
    scheme = registry.target("ort-cpu").activations

    def run(batches: Samples) -> None:
        for record in collect(model, batches).records.values():
            solve(record, scheme, method)

    return run


def onnxruntime(path: Path, method: str) -> Callable[[Samples], None]:
    """The calibrator that quantize_static makes, with its defaults."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, batches: Samples) -> None:
            self.batches = iter(batches)

        def get_next(self) -> Feeds | None:
            return next(self.batches, None)

    def run(batches: Samples) -> None:
        with tempfile.TemporaryDirectory() as folder:
            augmented = str(Path(folder) / "augmented.onnx")
            calibrator = create_calibrator(
                path, augmented_model_path=augmented, calibrate_method=CalibrationMethod[method]
            )
            calibrator.collect_data(Reader(batches))
            calibrator.compute_data()

    return run


def nncf(path: Path) -> Callable[[Samples], None]:
    """nncf.quantize without its bias correction: it shows calibration alone to nobody, and writes Q/DQ too."""
    import nncf as tool

    model = onnx.load(path)

    def run(batches: Samples) -> None:
        settings = tool.AdvancedQuantizationParameters(disable_bias_correction=True)
        tool.quantize(
            model,
            tool.Dataset(batches),
            preset=tool.QuantizationPreset.MIXED,
            subset_size=len(batches),
            advanced_parameters=settings,
        )

    return run


WAYS: dict[str, Way] = {
    "forward pass": forward,
    "pruna-ir, min-max": partial(ours, method="minmax"),
    "pruna-ir, percentile": partial(ours, method="percentile"),
    "pruna-ir, mse (the default)": partial(ours, method="mse"),
    "ORT, min-max": partial(onnxruntime, method="MinMax"),
    "ORT, percentile": partial(onnxruntime, method="Percentile"),
    "NNCF": nncf,
}
