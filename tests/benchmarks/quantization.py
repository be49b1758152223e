"""`-O2` on the trained models of the shared folder, beside ONNX Runtime's own quantizer in the same run.

    python tests/benchmarks/bench_quantize.py [--models resnet20_cifar10,...] [--shared FOLDER]

Prints for each model: the metric on the test split (float, ours, the peer's), bytes and one-thread speed next to the
float model, and our speed next to the peer's. The peer is quantize_static with unsigned activations, signed
per-channel weights and min-max ranges over at most 128 calibration samples, after its own pre-processing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pruna_ir.data import BoundDataset, Dataset, evaluate
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.session import Session

MODELS = {
    "resnet20_cifar10": "cifar10",
    "resnet56_cifar10": "cifar10",
    "squeezenet11_imagenet": "imagenet-sample-caffe",
    "mobilenetv1_025_imagenet": "imagenet-sample",
    "mobilenetv2_100_imagenet": "imagenet-sample-tf",
    "yolox_nano_coco": "coco128-yolox",
    "kws_dscnn": "kws",
}
BATCH = 16
PEER_SAMPLES = 128
SECONDS = 3.0


def quantize_peer(source: Path, data: BoundDataset, folder: Path) -> Path | None:
    """ONNX Runtime's own quantizer; None where it fails."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(data.require("calibration").head(PEER_SAMPLES).batches(1))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else batch.feeds

    prepared, result = folder / "prepared.onnx", folder / "peer.onnx"
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        Session(result)
    except Exception as failure:  # whatever the peer raises is its result
        print(f"  the peer fails on {source.name}: {str(failure).splitlines()[0][:120]}")
        return None
    return result


def rows(shared: Path, names: list[str], folder: Path) -> Iterator[list[str]]:
    """One row of the table a model."""
    for name in names:
        source, ours = shared / "models" / f"{name}.onnx", folder / "ours.onnx"
        model = Model.load(source)
        data = Dataset.load(shared / "data" / f"{MODELS[name]}.yaml").bind(model.inputs())
        start = time.perf_counter()
        PassManager.parse("O2").run(model, data=data)
        seconds = time.perf_counter() - start
        size = model.save(ours) / source.stat().st_size
        peer = quantize_peer(source, data, folder)
        feeds = next(iter(data.require("calibration").head(1).batches(1))).feeds
        sessions = {"float": Session(source), "ours": Session(ours)} | ({"peer": Session(peer)} if peer else {})
        speed = compare(sessions["float"], sessions["ours"], feeds, seconds=SECONDS)
        versus = compare(sessions["peer"], sessions["ours"], feeds, seconds=SECONDS) if peer else None
        scores = {key: f"{_score(session, data):.4f}" for key, session in sessions.items()}
        yield [
            name,
            scores["float"],
            scores["ours"],
            scores.get("peer", "fails"),
            f"{size:.3f}",
            f"{speed.speedup:.2f} ({speed.low:.2f}..{speed.high:.2f})",
            f"{versus.speedup:.2f} ({versus.low:.2f}..{versus.high:.2f})" if versus else "-",
            f"{seconds:.0f}",
        ]


def _score(session: Session, data: BoundDataset) -> float:
    metric = data.metric()
    assert metric is not None
    return evaluate(session.run, data.require("test"), metric, BATCH)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas")
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2].parent / "shared")
    arguments = parser.parse_args()
    table = Table(*["model", "float", "ours", "peer", "bytes", "speed / float", "speed / peer", "seconds"])
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(arguments.shared, arguments.models.split(","), Path(folder)):
            print(" | ".join(row), flush=True)
            table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
