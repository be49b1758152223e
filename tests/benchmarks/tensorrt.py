"""Trained networks as bundles for TensorRT: what the builder makes of them, in 8 bits and in float.

    python tests/benchmarks/tensorrt.py [--models resnet20_cifar10,...] [--keep FOLDER] [--rows rows.jsonl] [--page P]
                                        [--precisions]

Needs tensorrt-rtx and no GPU. Prints a row for each model: layers that are quantized, those that run in 8 bits in the
engine that TensorRT for RTX builds for Ada (compute capability 8.9), bytes and seconds, and the metric of the written
network on the test split next to the float model's, both under ONNX Runtime. With --precisions it prints a row for each
precision that a model can be written in. With --keep, quantized models are kept in that folder (those that are there
are taken), and with --rows what was measured is, and neither is made again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np
from pages import put, table
from quantization import CASES, SHARED, Case, score, shared
from rich.console import Console

import pruna_ir as pi
from pruna_ir.backends.tensorrt import build_log, proof
from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.legalize import PRECISIONS
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

# What the metric may lose.
ALLOWED = 0.010
COLUMNS = ("model", "layers", "quantized", "in 8 bits", "engine", "float engine", "seconds", "float", "written", "drop")


ORDER = ("fp32", "fp16", "int4-weights", "int8", "int8+fp16", "fp8")
OF_PRECISIONS = ("model", "precision", "products", "built so", "network", "engine", "metric")


def pictures() -> Dataset:
    """Photographs as the face detector reads them."""
    from PIL import Image

    def read(folder: Path) -> Iterator[np.ndarray]:
        for path in sorted(folder.glob("*.jpg"))[:64]:
            pixels = np.asarray(Image.open(path).convert("RGB").resize((320, 240)), np.float32)
            yield ((pixels - 127) / 128).transpose(2, 0, 1)[None]

    calibration, test = (list(read(SHARED / "data" / "coco128" / split)) for split in ("calib", "val"))
    return Dataset.from_arrays(calibration, test=test)


_MORE = {
    "mobilenetv1_025_imagenet_bn": shared("mobilenetv1_025_imagenet_bn", "imagenet-sample"),
    "resnet56_cifar10_bn": shared("resnet56_cifar10_bn", "cifar10"),
    "ultraface_rfb320": Case(SHARED / "models" / "ultraface_rfb320.onnx", pictures),
}
MODELS = {**CASES, **_MORE}


@dataclass(frozen=True)
class Row:
    """What became of a model: counts of layers, bytes of engines, seconds to build, and the metric."""

    model: str
    layers: int
    quantized: int
    built: int
    engine: int
    float_engine: int
    seconds: float
    before: float
    after: float

    def cells(self) -> tuple[str, ...]:
        """The row as text; a drop of more than is allowed is marked."""
        drop = self.before - self.after
        lost = "-" if np.isinf(drop) else f"{drop:+.4f}" + " **too much**" * (round(drop, 4) > ALLOWED)
        return (
            *(self.model, str(self.layers), str(self.quantized), f"{self.built} of {self.quantized}"),
            *(f"{self.engine:,}", f"{self.float_engine:,}", f"{self.seconds:.0f}"),
            *(f"{self.before:.4f}", f"{self.after:.4f}", lost),
        )


def quantized(name: str, case: Case, keep: Path) -> Path:
    """The file of a quantized model, made if it is not there."""
    path = keep / f"{name}.onnx"
    if not path.exists():
        model = Model.load(case.model)
        PassManager.parse("O2").run(model, data=case.data().bind(model.inputs()), target="tensorrt")
        model.save(path)
    return path


def in_precision(name: str, case: Case, keep: Path, precision: str) -> tuple[str, ...]:
    """Write a model in a precision and build it: the cells of its row."""
    before = Session(case.model, optimize=False)
    data = case.data().bind(before.inputs)
    source = quantized(name, case, keep) if PRECISIONS[precision].quantized else case.model
    with tempfile.TemporaryDirectory() as folder:
        text = f"tensorrt<build=never;compare=false;precision={precision}>"
        artifact = pi.emit(Model.load(source), text, Path(folder) / "bundle", data=data)
        built = proof.build(artifact.path)
        network = Model.load(artifact.path / "model.onnx")
        products = layers(network.graph)
        outcome = build_log.compare(products, built.layers)
        counts = Counter(layer.precision for layer in products)
        return (
            *(name, precision, ", ".join(f"{count} {kind}" for kind, count in counts.most_common())),
            f"{outcome.intended - len(outcome.missed)} of {outcome.intended}" if outcome.intended else "-",
            *(f"{artifact.bytes:,}", f"{built.bytes:,}"),
            f"{score(Session(network, optimize=False), data, before):.4f}",
        )


def _row_or_reason(name: str, case: Case, keep: Path, precision: str) -> tuple[str, ...]:
    try:
        return in_precision(name, case, keep, precision)
    except PrunaError as failure:
        return (name, precision, f"refused: {failure.diagnostic.message}", *"----")


def measure(name: str, case: Case, keep: Path) -> Row:
    """Quantize a model, write and build it, and build it in float."""
    before = Session(case.model, optimize=False)
    data = case.data().bind(before.inputs)
    kept = quantized(name, case, keep)
    with tempfile.TemporaryDirectory() as folder:
        bundle, plain = Path(folder) / "int8", Path(folder) / "float"
        backend = TensorrtBackend(build="never", compare=False)
        pi.emit(Model.load(kept), backend, bundle, data=data)
        pi.emit(Model.load(case.model), backend, plain, data=data)
        start = time.perf_counter()
        built = proof.build(bundle)
        seconds = time.perf_counter() - start
        network = Model.load(bundle / "model.onnx")
        intended = layers(network.graph)
        outcome = build_log.compare(intended, built.layers)
        found = score(Session(network, optimize=False), data, before)
        return Row(
            name,
            len(intended),
            outcome.intended,
            outcome.intended - len(outcome.missed),
            built.bytes,
            proof.build(plain).bytes,
            seconds,
            score(before, data, before),
            found,
        )


def main() -> None:
    """Measure, print, and put the table into a page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), help="which, separated by commas")
    parser.add_argument("--precisions", action="store_true", help="a row for each precision of a model")
    parser.add_argument("--keep", type=Path, help="folder for quantized models")
    parser.add_argument("--rows", type=Path, help="file for what was measured")
    parser.add_argument("--page", type=Path, help="page to put the table into")
    arguments = parser.parse_args()
    proof.require_installed()
    names = arguments.models.split(",")
    with tempfile.TemporaryDirectory() as folder:
        keep = arguments.keep or Path(folder)
        if arguments.precisions:
            found = [_row_or_reason(name, MODELS[name], keep, kind) for name in names for kind in ORDER]
            text = table(OF_PRECISIONS, found)
            Console().print(text, soft_wrap=True)
            if arguments.page is not None:
                put(arguments.page, "tensorrt-precisions", text)
            return
        rows = list(_rows(names, keep, arguments.rows))
    if arguments.page is not None:
        put(arguments.page, "tensorrt", table(COLUMNS, (row.cells() for row in rows)))


def _rows(names: Iterable[str], keep: Path, stored: Path | None) -> Iterable[Row]:
    known = {}
    if stored is not None and stored.exists():
        known = {row.model: row for row in (Row(**json.loads(line)) for line in stored.read_text().splitlines())}
    for name in names:
        if name not in known:
            known[name] = measure(name, MODELS[name], keep)
            if stored is not None:
                with stored.open("a") as stream:
                    stream.write(json.dumps(asdict(known[name])) + "\n")
        Console(stderr=True).print(*astuple(known[name]))
        yield known[name]


if __name__ == "__main__":
    main()
