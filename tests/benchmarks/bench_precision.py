"""Weight-only and dynamic quantization beside onnxruntime's: `bench_precision.py MODEL --data D [--seconds S]`.

MODEL is one whose time goes into matrix products, as a sentence encoder's does; D is a dataset with a metric. Bytes are
the file's over the model's; a ratio is the model's time over the form's, timed in turn, one thread, on one calibration
sample; the score is that of the split `test`.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pruna_ir.data import BoundDataset, Dataset
from pruna_ir.data.metrics import evaluate
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.session import Session

OURS = (
    "O1",
    "O1,convert-fp16",
    "O1,quantize-weights",
    "O1,quantize-weights<block=0>",
    "O1,quantize-weights<bits=4>",
    "O1,quantize-weights<bits=4;symmetric=false>",
    "O1,quantize-dynamic",
    "O1,quantize-dynamic,quantize-weights<ops=[Gather];block=0>",
)
# Samples scored at once.
BATCH = 32


def peer(source: Path, path: Path, per_channel: bool) -> None:
    """onnxruntime.quantization's dynamic quantization with its defaults, or with a scale for each channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)
    quantize_dynamic(source, path, per_channel=per_channel, weight_type=QuantType.QInt8)


def ours(source: Path, path: Path, text: str) -> None:
    """What a pipeline makes of the model, without data: nothing is guarded."""
    model = Model.load(source)
    PassManager.parse(text).run(model)
    model.save(path)


def forms() -> dict[str, Callable[[Path, Path], None]]:
    """The ways to make a form, by name."""
    found: dict[str, Callable[[Path, Path], None]] = {
        "onnxruntime dynamic": lambda source, path: peer(source, path, False),
        "onnxruntime dynamic, per channel": lambda source, path: peer(source, path, True),
    }
    for text in OURS:
        found[text] = lambda source, path, text=text: ours(source, path, text)  # type: ignore[misc]
    return found


def row(source: Path, path: Path, data: BoundDataset, seconds: float) -> list[str]:
    """Bytes, speed and score of a form."""
    feeds = next(iter(data.require("calibration").head(1).batches(1))).feeds
    speed = compare(Session(source), Session(path), feeds, seconds=seconds)
    metric = data.metric()
    score = "-" if metric is None else f"{evaluate(Session(path).run, data.require('test'), metric, BATCH):.4f}"
    size = path.stat().st_size / source.stat().st_size
    return [f"{size:.3f}", f"{speed.speedup:.2f} ({speed.low:.2f}-{speed.high:.2f})", score]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    data = Dataset.load(options.data).bind(Model.load(options.model).inputs())
    table = Table("form", "bytes", "speed", "score")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, make) in enumerate(forms().items()):
            path = Path(folder) / f"{number}.onnx"
            make(options.model, path)
            table.add_row(name, *row(options.model, path, data, options.seconds))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
