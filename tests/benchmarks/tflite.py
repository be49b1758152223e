"""What the TFLite back end writes, in float and after `-O2 --target tflite`: exactness, size, speed, cost of writing.

    python tests/benchmarks/tflite.py [--models resnet20_cifar10,...] [--quantized FOLDER] [--rows rows.jsonl]
        [--onnx2tf PYTHON] [--speeds] [--page docs/tflite.md]

For each model: how far the float file is from the model, and how the int8 file agrees with the Q/DQ graph under ONNX
Runtime, in steps of its last scale and in the metric on the test split, which no decision has seen; bytes next to the
ONNX file's; operators, transposes, and how many XNNPACK runs; the speed of int8 next to float, both on LiteRT on the
clock of their one thread, with interpreters made anew in every turn; seconds and memory of writing. --quantized keeps
quantized models, --rows what was measured, so that neither is made again; with --speeds the times in the rows are taken
again, and nothing else. --onnx2tf is the Python of an environment with onnx2tf, a peer in float.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pages import put, table
from quantization import CASES, SHARED, Case, score, sound_data
from rich.console import Console

from pruna_ir.backends.agreement import Agreement, compare
from pruna_ir.backends.tflite.backend import TfliteBackend
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.data import BoundDataset, Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Feeds
from pruna_ir.model import Model
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime import latency
from pruna_ir.runtime.session import Session

# Further models of the shared folder, without data that a metric could be taken on: written in float only.
PLAIN = ("mobilenetv1_025_imagenet_bn", "resnet56_cifar10_bn", "ultraface_rfb320", "silero_vad")
SAMPLES = 32
TURNS, SECONDS = 5, 0.4
FLOAT = (
    *("model", "largest error", "bytes, of the ONNX file", "operators", "TRANSPOSE", "on XNNPACK"),
    *("seconds to write", "memory (of the ONNX file)"),
)
INT8 = (
    *("model", "metric: float", "Q/DQ as written", "its integer kernels", ".tflite"),
    *("outputs differ from Q/DQ as written", "from its integer kernels"),
    *("bytes, of the int8 ONNX file", "operators", "TRANSPOSE", "on XNNPACK", "speed, of float on LiteRT"),
)
PEER = ("model", "bytes, of ours", "operators: onnx2tf", "ours", "its time over ours", "its largest error")


@dataclass
class Row:
    """What was measured of a model; `problem` says why there is nothing."""

    model: str
    problem: str = ""
    float: dict[str, Any] = field(default_factory=dict)
    int8: dict[str, Any] = field(default_factory=dict)
    peer: dict[str, Any] = field(default_factory=dict)

    def float_cells(self) -> tuple[str, ...]:
        """The row of the first table."""
        if self.problem:
            return (self.model, self.problem, *"------")
        found = self.float
        return (
            *(self.model, f"{found['error']:.1e}", f"{found['bytes']:.3f}", str(found["operators"])),
            *(str(found["transposes"]), f"{found['taken']} of {found['operators']}"),
            *(f"{found['seconds']:.2f}", f"{found['memory'] / 1e6:.0f} MB ({found['times']:.1f}x)"),
        )

    def int8_cells(self) -> tuple[str, ...]:
        """The row of the second table."""
        found = self.int8
        return (
            *(self.model, *(f"{found[name]:.4f}" for name in ("before", "simulated", "fused", "metric"))),
            *(found["agreement"], found["integers"], f"{found['bytes']:.3f}", str(found["operators"])),
            *(str(found["transposes"]), f"{found['taken']} of {found['operators']}", found["speed"]),
        )

    def peer_cells(self) -> tuple[str, ...]:
        """The row of the third table."""
        found = self.peer
        if "problem" in found:
            return (self.model, found["problem"], *"----")
        return (
            *(self.model, f"{found['bytes']:.3f}", str(found["operators"]), str(found["ours"])),
            *(found["time"], f"{found['error']:.1e}"),
        )


def written(model: Model, path: Path) -> LiteSession:
    """The file of a model, opened."""
    backend = TfliteBackend()
    backend.emit(backend.legalize(model), path)
    return backend.session(path)


def structure(session: LiteSession) -> dict[str, int]:
    """Numbers of operators."""
    operators = session.operators()
    transposes = Counter(code for code, _ in operators)["TRANSPOSE"]
    return {"operators": len(operators), "transposes": transposes, "taken": sum(taken for _, taken in operators)}


def agreement(model: Model, session: LiteSession, samples: list[Feeds], reference: Session | None = None) -> Agreement:
    """The output that agrees worst, with those of the model as it is written or of another reference."""
    legal = TfliteBackend().legalize(model)
    found = compare(legal, reference or Session(legal, optimize=False), session, samples)
    return max(found.values(), key=lambda item: item.worst)


def in_integers(model: Model) -> Session:
    """ONNX Runtime's integer kernels. On x86 it has them for uint8 alone: zero points move, and no number changes."""
    moved = model.clone()
    PassManager.parse("retarget-qdq<target=ort-cpu>").run(moved, target="ort-cpu")
    return Session(moved)


def faster(before: LiteSession, after: LiteSession, feeds: Feeds | tuple[Feeds, Feeds]) -> float:
    """The time of `before` over that of `after`, of their thread: other programs stretch long runs more than short."""
    return latency.compare(before, after, feeds, seconds=SECONDS, clock=latency.thread_clock()).speedup


def speed(before: Path, after: Path, feeds: Feeds) -> str:
    """The time of `before` over that of `after`: the median over the turns, and their extremes."""
    ratios = []
    for turn in range(TURNS):
        order = (before, after) if turn % 2 else (after, before)
        made = {path: LiteSession(path) for path in order}
        ratios.append(faster(made[before], made[after], feeds))
    return f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


# Runs in a process of its own, whose peak counts from when the model is loaded.
_COST = """
import sys, tempfile, time
from pathlib import Path
from pruna_ir.backends.tflite.backend import TfliteBackend
from pruna_ir.model import Model

def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

def write(model, folder):
    backend = TfliteBackend()
    backend.emit(backend.legalize(model), Path(folder) / "m.tflite")

small = Model.from_text('<ir_version: 8, opset_import: ["" : 17]> g (float[1,2] x) => (float[1,2] y) { y = Relu(x) }')
with tempfile.TemporaryDirectory() as folder:
    write(small, folder)
    model = Model.load(sys.argv[1])
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    write(model, folder)
    print(time.perf_counter() - start, memory("VmHWM") - before)
"""


def cost(path: Path) -> dict[str, float]:
    """Seconds of writing a model that is loaded, and the memory that this takes beside the model."""
    found = subprocess.run([sys.executable, "-c", _COST, str(path)], capture_output=True, text=True, check=True).stdout
    seconds, memory = map(float, found.split())
    return {"seconds": seconds, "memory": memory, "times": memory / path.stat().st_size}


def in_float(path: Path, samples: list[Feeds], out: Path) -> dict[str, Any]:
    """The figures of the float file."""
    model = Model.load(path)
    session = written(model, out)
    worst = agreement(model, session, samples)
    size = out.stat().st_size / path.stat().st_size
    return {"error": worst.worst, "bytes": size, **structure(session), **cost(path)}


def in_int8(case: Case, quantized: Path, data: BoundDataset, samples: list[Feeds], plain: Path) -> dict[str, Any]:
    """The figures of the int8 file next to the float one at `plain`."""
    model = Model.load(quantized)
    out = plain.with_suffix(".int8.tflite")
    session, reference, integers = written(model, out), Session(case.model), in_integers(model)
    return {
        "before": score(reference, data, reference),
        "simulated": score(Session(quantized, optimize=False), data, reference),
        "fused": score(integers, data, reference),
        "metric": score(session, data, reference),
        "agreement": str(agreement(model, session, samples)),
        "integers": str(agreement(model, session, samples, integers)),
        "bytes": out.stat().st_size / quantized.stat().st_size,
        "speed": speed(plain, out, samples[0]),
        **structure(session),
    }


def quantize(case: Case, data: BoundDataset, path: Path) -> None:
    """What `-O2 --target tflite` makes of a model, unless it is there."""
    if not path.exists():
        model = Model.load(case.model)
        PassManager.parse("O2").run(model, data=data, target="tflite")
        model.save(path)


def beside_onnx2tf(python: Path, model: Path, samples: list[Feeds], folder: Path) -> dict[str, Any]:
    """The peer's float file next to ours, both with images in channels last at the border, which is its only way."""
    backend = TfliteBackend(io="nhwc")
    bound = backend.legalize(Model.load(model))
    source, out, ours = folder / "bound.onnx", folder / "onnx2tf", folder / "ours.tflite"
    bound.save(source)
    backend.emit(bound, ours)
    command = [str(python), "-m", "onnx2tf", "-i", str(source), "-o", str(out), "-n"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    made = sorted(out.glob("*_float32.tflite"))
    if not made:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        return {"problem": f"fails: {lines[-1][:60] if lines else done.returncode}"}
    session, own = LiteSession(made[0]), LiteSession(ours)
    reference = Session(bound, optimize=False)
    error = 0.0
    for feeds in samples:
        expected, found = [*reference.run(feeds).values()], [*session.run(_turned(feeds, session)).values()]
        error = max(error, _nearest(expected, found))
    ratios = []
    for _ in range(TURNS):
        ratios.append(faster(session, own, (_turned(samples[0], session), samples[0])))
    size = made[0].stat().st_size / ours.stat().st_size
    time = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    operators = [len(item.operators()) for item in (session, own)]
    return {"bytes": size, "operators": operators[0], "ours": operators[1], "time": time, "error": error}


def _turned(feeds: Feeds, session: LiteSession) -> Feeds:
    """Feeds under the names and in the layout of a file that says neither."""
    found = {}
    for values, spec in zip(feeds.values(), session.inputs, strict=True):
        found[spec.name] = values if values.shape == spec.shape else np.moveaxis(values, 1, -1)
    return found


def _nearest(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    """The largest error of the outputs, relative to their ranges, where only shapes tell which is which."""
    worst = 0.0
    for wanted in expected:
        fits = [value for value in found if value.size == wanted.size]
        fits = [value if value.shape == wanted.shape else np.moveaxis(value, -1, 1) for value in fits]
        gaps = [float(np.abs(value - wanted).max()) / (float(np.ptp(wanted)) or 1.0) for value in fits]
        worst = max(worst, min(gaps, default=np.inf))
    return worst


def made_up(path: Path) -> Dataset:
    """Random samples for a model without data, of one kind for each of its inputs."""
    specs = TfliteBackend().legalize(Model.load(path)).inputs()
    return Dataset.from_arrays([random_feeds(specs, seed) for seed in range(SAMPLES)])


def measure(name: str, quantized: Path | None, onnx2tf: Path | None) -> Row:
    """Everything about a model."""
    case = CASES.get(name) or Case(SHARED / "models" / f"{name}.onnx", sound_data)
    row = Row(name)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / f"{name}.tflite"
        try:
            dataset = case.data() if name in CASES else made_up(case.model)
            data = dataset.bind(Model.load(case.model).inputs())
            samples = [dict(batch.feeds) for batch in data.require("calibration").head(SAMPLES).batches(1)]
            row.float = in_float(case.model, samples, plain)
        except PrunaError as failure:
            told = failure.diagnostic
            row.problem = f"refused, {told.code}: {(told.notes or (told.message,))[0]}"
            return row
        if onnx2tf is not None:
            row.peer = beside_onnx2tf(onnx2tf, case.model, samples[:4], Path(scratch))
        if name in CASES:
            path = (quantized or Path(scratch)) / f"{name}.onnx"
            quantize(case, data, path)
            row.int8 = in_int8(case, path, data, samples, plain)
    return row


def timed_again(row: Row, quantized: Path | None) -> Row:
    """A row with new times; those of a peer stay."""
    case = CASES.get(row.model) or Case(SHARED / "models" / f"{row.model}.onnx", sound_data)
    if row.float:
        row.float |= cost(case.model)
    if row.int8 and quantized is not None:
        model, other = Model.load(case.model), Model.load(quantized / f"{row.model}.onnx")
        sample = next(iter(case.data().bind(model.inputs()).require("calibration").head(1).batches(1)))
        with tempfile.TemporaryDirectory() as scratch:
            plain, out = Path(scratch) / "float.tflite", Path(scratch) / "int8.tflite"
            written(model, plain), written(other, out)
            row.int8["speed"] = speed(plain, out, dict(sample.feeds))
    return row


def kept(rows: Path | None) -> dict[str, Row]:
    """What was measured before; of several rows of a model the last."""
    if rows is None or not rows.exists():
        return {}
    return {row.model: row for row in (Row(**json.loads(line)) for line in rows.read_text().splitlines())}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join((*CASES, *PLAIN)), help="names, separated by commas")
    parser.add_argument("--quantized", type=Path, help="a folder of quantized models; those that it lacks are added")
    parser.add_argument("--rows", type=Path, help="a file of rows that were measured before; new ones are added")
    parser.add_argument("--onnx2tf", type=Path, help="the Python of an environment that has onnx2tf")
    parser.add_argument("--speeds", action="store_true", help="take the times of --rows again, of --quantized models")
    parser.add_argument("--page", type=Path, help="put the tables into this page too")
    arguments = parser.parse_args()
    places = arguments.quantized, arguments.onnx2tf
    measured: Mapping[str, Row] = kept(arguments.rows)
    for name in arguments.models.split(","):
        if name not in measured or arguments.speeds:
            found = measured.get(name)
            row = measure(name, *places) if found is None else timed_again(found, arguments.quantized)
            measured = {**measured, name: row}
            if arguments.rows:
                with arguments.rows.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
        row = measured[name]
        show(row.float_cells())
        for cells in (row.int8_cells() if row.int8 else (), row.peer_cells() if row.peer else ()):
            show(cells)
        if arguments.page:
            rows = measured.values()
            put(arguments.page, "float", table(FLOAT, [row.float_cells() for row in rows]))
            put(arguments.page, "int8", table(INT8, [row.int8_cells() for row in rows if row.int8]))
            put(arguments.page, "onnx2tf", table(PEER, [row.peer_cells() for row in rows if row.peer]))


def show(cells: tuple[str, ...]) -> None:
    """Print a row."""
    if cells:
        Console().print(*cells, sep=" | ", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
