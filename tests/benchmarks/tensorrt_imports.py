"""A network that others quantized, as a bundle for TensorRT: by ONNX Runtime, or by TensorRT's own calibration.

    python tests/benchmarks/tensorrt_imports.py [--model resnet20_cifar10] [--page P]

Needs tensorrt-rtx and no GPU. ONNX Runtime quantizes with symmetric ranges, in each of its forms; the calibration cache
holds the largest values of all tensors, as TensorRT 10 and older wrote them. Prints a row for each: what it is made of,
layers that are quantized and those that run in 8 bits in the engine, and the metric as it came and as it is written.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from pages import put, table
from quantization import CASES, score
from rich.console import Console

import pruna_ir as pi
from pruna_ir.backends.tensorrt import build_log, proof
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.calibration import collect
from pruna_ir.data import BoundDataset
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

SAMPLES, BATCH = 128, 16
# A file, and the options that it is to be written with.
Made = tuple[Path, str]
Quantizer = Callable[[Path, BoundDataset, Path], Made]
COLUMNS = ("quantized by", "as", "quantized", "in 8 bits", "engine", "as it came", "written")
_FORM = {"per_channel": True, "extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True}}


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """Calibration data as ONNX Runtime's quantizer reads it."""

    def __init__(self, data: BoundDataset) -> None:
        self._left = feeds_of(data)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch."""
        return next(self._left, None)


def feeds_of(data: BoundDataset) -> Iterator[dict[str, np.ndarray]]:
    """Batches of the calibration split."""
    return (dict(batch.feeds) for batch in data.require("calibration").head(SAMPLES).batches(BATCH))


def by_onnxruntime(
    form: QuantFormat, kind: QuantType, source: Path, data: BoundDataset, folder: Path
) -> tuple[Path, str]:
    """A file that ONNX Runtime quantized, and the options to write it with."""
    out = folder / "quantized.onnx"
    quantize_static(str(source), str(out), Samples(data), quant_format=form, activation_type=kind, **_FORM)
    return out, ""


def by_cache(source: Path, data: BoundDataset, folder: Path) -> Made:
    """The float file, and options with a calibration cache."""
    model, lines = Model.load(source), ["TRT-8601-MinMaxCalibration"]
    for name, record in collect(model, feeds_of(data)).records.items():
        if top := max(abs(record.minimum), abs(record.maximum)):
            lines.append(f"{name}: {struct.pack('>f', top / 127).hex()}")
    (folder / "calibration.cache").write_text("\n".join(lines) + "\n")
    return source, f';precision=int8;cache="{folder / "calibration.cache"}"'


_ONNXRUNTIME = {
    "QLinear operators, int8": (QuantFormat.QOperator, QuantType.QInt8),
    "Q/DQ, int8": (QuantFormat.QDQ, QuantType.QInt8),
    "Q/DQ, uint8 with zero point 128": (QuantFormat.QDQ, QuantType.QUInt8),
}
QUANTIZERS: dict[tuple[str, str], Quantizer] = {
    **{("ONNX Runtime", what): partial(by_onnxruntime, *how) for what, how in _ONNXRUNTIME.items()},
    ("TensorRT", "calibration cache"): by_cache,
}


def measure(name: str, quantizer: Quantizer) -> tuple[str, ...]:
    """The figures of a row."""
    case = CASES[name]
    before = Session(case.model, optimize=False)
    data = case.data().bind(before.inputs)
    with tempfile.TemporaryDirectory() as folder:
        source, options = quantizer(case.model, data, Path(folder))
        text = f"tensorrt<build=never;compare=false{options}>"
        bundle = pi.emit(Model.load(source), text, Path(folder) / "bundle", data=data).path
        built, network = proof.build(bundle), Model.load(bundle / "model.onnx")
        outcome = build_log.compare(layers(network.graph), built.layers)
        scores = (score(Session(model, optimize=False), data, before) for model in (source, network))
        done = f"{outcome.intended - len(outcome.missed)} of {outcome.intended}"
        return str(outcome.intended), done, f"{built.bytes:,}", *(f"{value:.4f}" for value in scores)


def main() -> None:
    """Measure, print, and put the table into a page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet20_cifar10", choices=CASES, help="which")
    parser.add_argument("--page", type=Path, help="page to put the table into")
    arguments = parser.parse_args()
    proof.require_installed()
    text = table(COLUMNS, [(*names, *measure(arguments.model, how)) for names, how in QUANTIZERS.items()])
    Console().print(text, soft_wrap=True, markup=False)
    if arguments.page is not None:
        put(arguments.page, "tensorrt-imports", text)


if __name__ == "__main__":
    main()
