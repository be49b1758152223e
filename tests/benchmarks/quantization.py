"""`-O2` beside the quantizers of ONNX Runtime and NNCF (where it is installed), in one run.

    python tests/benchmarks/quantization.py [--models resnet20_cifar10,...] [--minilm MODEL] [--left-float] [--page P]

Prints a row for each model and quantizer: the metric on the test split, which no decision has seen; bytes next to the
float file's; speed next to the float model on one thread and on two, with sessions made anew in every turn; the share
of MACs that run in integer kernels of ONNX Runtime's optimized graph; and the seconds that the quantizer took. With
--left-float also the groups of kernels that `-O2` left in float, each with what was measured for it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fresh_sessions import Feeds, speedups
from pages import put, table
from quantization_peers import PEERS, Peer
from rich.console import Console

from pruna_ir.data import BoundDataset, Dataset, evaluate
from pruna_ir.model import Model
from pruna_ir.passes.quantization.lint.runtime import integer_share
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.remarks import RemarkKind
from pruna_ir.runtime.runner import Runner
from pruna_ir.runtime.session import Session

SHARED = Path(os.environ.get("PRUNA_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
BATCH = 16
# Turns with new sessions for a ratio, and seconds of each.
TURNS, SECONDS = 7, 0.3
THREADS = (1, 2)
RATE = 16_000  # samples a second
CLIPS = {"calibration": 128, "test": 64}
COLUMNS = ("model", "quantizer", "metric", "bytes", "speed, 1 thread", "2 threads", "integer MACs", "seconds")
LEFT_FLOAT = ("model", "group", "stays in float because")


@dataclass(frozen=True)
class Case:
    """A model with its data. Without a metric, the score is the SQNR of the outputs on the test split, in dB."""

    model: Path
    data: Callable[[], Dataset]


def shared(model: str, data: str) -> Case:
    """A trained model of the shared folder."""
    return Case(SHARED / "models" / f"{model}.onnx", lambda: Dataset.load(SHARED / "data" / f"{data}.yaml"))


def sounds(count: int, seed: int) -> Iterator[np.ndarray]:
    """Clips of one second, shape (1, 16000): in turn a few tones that die away, and noise in a band.

    They have the 16 bits of the recordings that such models are trained on: silence is not silent.
    """
    generator = np.random.default_rng(seed)
    seconds = np.arange(RATE) / RATE
    frequencies = np.fft.rfftfreq(RATE, 1 / RATE)
    for index in range(count):
        if index % 2:
            low = generator.uniform(50, 4000)
            band = (frequencies > low) & (frequencies < low * generator.uniform(1.2, 3))
            clip = np.fft.irfft(np.fft.rfft(generator.standard_normal(RATE)) * band, RATE)
        else:
            tones = generator.uniform(80, 6000, (3, 1))
            decay = np.exp(-seconds * generator.uniform(0.5, 8, (3, 1)))
            clip = (np.sin(2 * np.pi * tones * seconds) * decay).sum(axis=0)
        loudness = 10 ** generator.uniform(-2, -0.1)
        steps = np.rint(clip / np.abs(clip).max() * loudness * 2**15)
        yield (steps / 2**15).astype(np.float32)[None]


def sound_data() -> Dataset:
    """Noise and tones, other ones for the test than for calibration."""
    calibration, test = (list(sounds(count, seed)) for seed, count in enumerate(CLIPS.values()))
    return Dataset.from_arrays(calibration, test=test)


CASES = {
    "mobilenetv1_025_imagenet": shared("mobilenetv1_025_imagenet", "imagenet-sample"),
    "mobilenetv2_100_imagenet": shared("mobilenetv2_100_imagenet", "imagenet-sample-tf"),
    "yolox_nano_coco": shared("yolox_nano_coco", "coco128-yolox"),
    "resnet20_cifar10": shared("resnet20_cifar10", "cifar10"),
    "resnet56_cifar10": shared("resnet56_cifar10", "cifar10"),
    "squeezenet11_imagenet": shared("squeezenet11_imagenet", "imagenet-sample-caffe"),
    "kws_dscnn": shared("kws_dscnn", "kws"),
    "kwt1_speechcommands": Case(SHARED / "models" / "kwt1_speechcommands.onnx", sound_data),
}


@dataclass
class Ours:
    """The whole of -O2, and the groups that it left in float: name and reason."""

    left_float: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, source: Path, data: BoundDataset, out: Path) -> None:
        """Quantize a model."""
        model = Model.load(source)
        result = PassManager.parse("O2").run(model, data=data)
        model.save(out)
        for key, verdict in result.decisions.entries.items():
            if key.endswith(" regions"):
                self.left_float += verdict["reasons"].items()
        for remark in result.remarks:
            if remark.pass_name == "quantize-dynamic" and remark.kind is RemarkKind.MISSED and not remark.node:
                self.left_float.append(("products", str(remark.reason)))


def score(session: Runner, data: BoundDataset, reference: Runner) -> float:
    """The metric on the test split, or the SQNR against the float model where there is none."""
    metric = data.metric()
    if metric is not None:
        return evaluate(session.run, data.require("test"), metric, BATCH)
    signal = noise = 0.0
    for batch in data.require("test").batches(1):
        for expected, found in zip(reference.run(batch.feeds).values(), session.run(batch.feeds).values(), strict=True):
            signal += float(np.square(expected, dtype=np.float64).sum())
            noise += float(np.square(found - expected, dtype=np.float64).sum())
    return float(10 * np.log10(signal / noise)) if noise else np.inf


def rows(name: str, case: Case, folder: Path, quantizers: Mapping[str, Peer]) -> Iterator[tuple[str, ...]]:
    """One row for the float model and one for each quantizer."""
    data = case.data().bind(Model.load(case.model).inputs())
    feeds = next(iter(data.require("calibration").head(1).batches(1))).feeds
    before = Session(case.model)
    yield name, "float", f"{score(before, data, before):.4f}", "1.000", *["1.00" for _ in THREADS], "-", "-"
    for index, (tool, quantize) in enumerate(quantizers.items()):
        out = folder / f"{name}.{index}.onnx"
        start = time.perf_counter()
        try:
            quantize(case.model, data, out)
            taken = time.perf_counter() - start
            metric = score(Session(out), data, before)
        except ImportError:
            continue  # this peer is not installed
        except Exception as failure:  # whatever a tool raises is its result
            lines = str(failure).strip().splitlines() or [type(failure).__name__]
            yield name, tool, f"fails: {lines[0][:60]}", *"-----"
            continue
        speeds = (speed(case.model, out, feeds, threads) for threads in THREADS)
        size = out.stat().st_size / case.model.stat().st_size
        yield name, tool, f"{metric:.4f}", f"{size:.3f}", *speeds, share(out, feeds), f"{taken:.0f}"


def speed(before: Path, after: Path, feeds: Feeds, threads: int) -> str:
    """The median over the turns, and their 10th and 90th percentile."""
    found = speedups(before, after, feeds, turns=TURNS, seconds=SECONDS, threads=threads)
    low, middle, high = np.percentile(found, [10, 50, 90])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def share(path: Path, feeds: Feeds) -> str:
    """The share of MACs in integer kernels, for inputs of these shapes."""
    model = Model.load(path)
    for tensor in model.graph.inputs:
        tensor.shape = list(feeds[tensor.name].shape)
    found = integer_share(model)
    return "-" if found is None else f"{found:.0%}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help="names, separated by commas; all of them by default")
    parser.add_argument("--minilm", type=Path, help="the export of the sentence encoder all-MiniLM-L6-v2")
    parser.add_argument("--left-float", action="store_true", help="print the groups left in float too")
    parser.add_argument("--page", type=Path, help="put the tables into this page too")
    arguments = parser.parse_args()
    cases = dict(CASES)
    if arguments.minilm:
        cases["all-MiniLM-L6-v2"] = Case(arguments.minilm, lambda: Dataset.load(SHARED / "data" / "stsb.yaml"))
    measured: list[tuple[str, ...]] = []
    left: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models.split(",") if arguments.models else cases:
            ours = Ours()
            for row in rows(name, cases[name], Path(folder), {"pruna-ir -O2": ours, **PEERS}):
                measured.append(row)
                show(row)
            left += [(name, *group) for group in ours.left_float or [("none", "-")]]
            if arguments.page:  # after each model: the run is long
                put(arguments.page, "quantizers", table(COLUMNS, measured))
                put(arguments.page, "left-float", table(LEFT_FLOAT, left))
    for row in left if arguments.left_float else []:
        show(row)


def show(row: tuple[str, ...]) -> None:
    """Print a row."""
    Console().print(*row, sep=" | ", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
