"""What the Core ML back end writes, in float and after `-O2 --target coreml`: exactness, size, cost of writing.

    python tests/benchmarks/coreml.py [--models resnet20_cifar10,...] [--samples 100] [--quantized FOLDER]
        [--rows rows.jsonl] [--page docs/coreml.md]

For each model: how far packages in 32 and in 16 bits are from the model; and of the quantized one how far every tensor
of integers is from the Q/DQ graph's under ONNX Runtime, and the metric of both on the first samples of the test split,
which no decision has seen. Packages are read back from disk and run in the reference evaluator. Bytes are next to the
ONNX file's. --quantized keeps quantized models, --rows what was measured, so that neither is made again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pages import put, table
from quantization import BATCH, CASES, SHARED, Case, sound_data
from rich.console import Console

from pruna_ir.backends.agreement import compare
from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.check import check_scales, compare_steps
from pruna_ir.backends.coreml.evaluate.program import every_op
from pruna_ir.backends.coreml.exactness import exact_nodes
from pruna_ir.backends.coreml.session import EvaluatorSession
from pruna_ir.data import BoundDataset, Dataset
from pruna_ir.data.metrics import evaluate
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Feeds
from pruna_ir.model import Model
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.runner import Runner
from pruna_ir.runtime.session import Session

# Further models of the shared folder, without data that a metric could be taken on: written in float only.
PLAIN = ("mobilenetv1_025_imagenet_bn", "resnet56_cifar10_bn", "ultraface_rfb320", "silero_vad")
# Samples that outputs and tensors are compared on.
COMPARED = 4
FLOAT = (
    *("model", "largest error: ONNX Runtime optimized", ".mlpackage, 32 bits", "16 bits", "nodes kept in 32"),
    *("bytes, of the ONNX file: 32 bits", "16 bits", "operators", "seconds to write"),
)
INT8 = (
    *("model", "metric: float", "Q/DQ in ONNX Runtime", "optimized", ".mlpackage, 32 bits", "16 bits", "samples"),
    *("tensors of integers", "differ at most by", "of the values", "scales"),
    *("bytes, of the int8 ONNX file", "operators", "seconds to write"),
)


@dataclass
class Row:
    """What was measured of a model; `problem` says why there is nothing."""

    model: str
    problem: str = ""
    float: dict[str, Any] = field(default_factory=dict)
    int8: dict[str, Any] = field(default_factory=dict)

    def float_cells(self) -> tuple[str, ...]:
        """The row of the first table."""
        if self.problem:
            return (self.model, self.problem, *"-" * (len(FLOAT) - 2))
        found = self.float
        return (
            *(self.model, f"{found['optimized']:.1e}", f"{found['fp32']['error']:.1e}"),
            *(f"{found['fp16']['error']:.1e}", f"{found['kept']} of {found['nodes']}" if found["kept"] else "0"),
            *(f"{found['fp32']['bytes']:.3f}", f"{found['fp16']['bytes']:.3f}"),
            *(str(found["fp16"]["operators"]), f"{found['fp16']['seconds']:.2f}"),
        )

    def int8_cells(self) -> tuple[str, ...]:
        """The row of the second table."""
        found = self.int8
        return (
            *(
                self.model,
                *(f"{found[name]:.4f}" for name in ("before", "simulated", "optimized", "metric", "half")),
                str(found["samples"]),
            ),
            *(str(found["tensors"]), f"{found['steps']} unit", f"{found['differ']:.1e}", found["scales"]),
            *(f"{found['bytes']:.3f}", str(found["operators"]), f"{found['seconds']:.2f}"),
        )


def written(
    model: Model, path: Path, compute: str, samples: Sequence[Feeds] = ()
) -> tuple[EvaluatorSession, Model, float]:
    """The package of a model, read back; the legalized model; and the seconds that writing took."""
    backend = CoremlBackend(compute=compute, samples=tuple(samples))  # type: ignore[arg-type]
    start = time.perf_counter()
    legal = backend.legalize(model)
    backend.emit(legal, path)
    seconds = time.perf_counter() - start
    return EvaluatorSession(path), legal, seconds


def size_of(path: Path) -> int:
    """Bytes of all files of a package."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def operators(session: EvaluatorSession) -> int:
    """The number of operators that compute something."""
    return sum(not op.op_type.startswith("const") for op in every_op(session.program.function))


def in_float(path: Path, samples: list[Feeds], folder: Path) -> dict[str, Any]:
    """The figures of the packages in 32 and in 16 bits, and of ONNX Runtime's optimizations next to them."""
    legal = CoremlBackend().legalize(Model.load(path))
    plain = Session(legal, optimize=False)
    own = compare(legal, plain, Session(legal), samples)
    found: dict[str, Any] = {
        "optimized": max(item.worst for item in own.values()),
        "kept": len(exact_nodes(legal, samples).names),
        "nodes": len(legal.graph.nodes),
    }
    for compute in ("fp32", "fp16"):
        out = folder / f"{compute}.mlpackage"
        session, legal, seconds = written(Model.load(path), out, compute, samples)
        agreement = compare(legal, plain, session, samples)
        found[compute] = {
            "error": max(item.worst for item in agreement.values()),
            "bytes": size_of(out) / path.stat().st_size,
            "operators": operators(session),
            "seconds": seconds,
        }
    return found


def in_int8(
    case: Case, quantized: Path, data: BoundDataset, samples: list[Feeds], folder: Path, count: int
) -> dict[str, Any]:
    """The figures of the quantized package, in 32 bits where it is not in integers; the metric in 16 too."""
    out = folder / "int8.mlpackage"
    session, legal, _ = written(Model.load(quantized), out, "fp32")
    default = folder / "half.mlpackage"
    half, _, seconds = written(Model.load(quantized), default, "fp16", samples)
    steps = compare_steps(legal, session, samples)
    reference = Session(case.model)
    values = sum(agreement.values for agreement in steps.values())
    return {
        "before": score(reference, data, reference, count),
        "simulated": score(Session(quantized, optimize=False), data, reference, count),
        "optimized": score(Session(quantized), data, reference, count),
        "metric": score(session, data, reference, count),
        "half": score(half, data, reference, count),
        "samples": min(count, data.require("test").size or count),
        "tensors": len(steps),
        "steps": max((agreement.steps for agreement in steps.values()), default=0),
        "differ": sum(agreement.differ for agreement in steps.values()) / max(values, 1),
        "scales": check_scales(legal, session.package).result.split(" tensors")[0].removeprefix("of "),
        "bytes": size_of(default) / quantized.stat().st_size,
        "operators": operators(half),
        "seconds": seconds,
    }


def score(session: Runner, data: BoundDataset, reference: Runner, count: int) -> float:
    """The metric on the first samples of the test split, or the SQNR against the float model where there is none."""
    split, metric = data.require("test").head(count), data.metric()
    if metric is not None:
        return evaluate(session.run, split, metric, BATCH)
    signal = noise = 0.0
    for batch in split.batches(1):
        for expected, found in zip(reference.run(batch.feeds).values(), session.run(batch.feeds).values(), strict=True):
            signal += float(np.square(expected, dtype=np.float64).sum())
            noise += float(np.square(found - expected, dtype=np.float64).sum())
    return float(10 * np.log10(signal / noise)) if noise else np.inf


def quantize(case: Case, data: BoundDataset, path: Path) -> None:
    """What `-O2 --target coreml` makes of a model, unless it is there."""
    if not path.exists():
        model = Model.load(case.model)
        PassManager.parse("O2").run(model, data=data, target="coreml")
        model.save(path)


def made_up(path: Path) -> Dataset:
    """Random samples for a model without data, of one kind for each of its inputs."""
    specs = CoremlBackend().legalize(Model.load(path)).inputs()
    return Dataset.from_arrays([random_feeds(specs, seed) for seed in range(COMPARED)])


def measure(name: str, quantized: Path | None, count: int) -> Row:
    """Everything about a model."""
    case = CASES.get(name) or Case(SHARED / "models" / f"{name}.onnx", sound_data)
    row = Row(name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            dataset = case.data() if name in CASES else made_up(case.model)
            data = dataset.bind(Model.load(case.model).inputs())
            samples = [dict(batch.feeds) for batch in data.require("calibration").head(COMPARED).batches(1)]
            row.float = in_float(case.model, samples, folder)
        except PrunaError as failure:
            row.problem = f"refused: {failure.diagnostic.code} {failure.diagnostic.message}"
            return row
        if name in CASES:
            path = (quantized or folder) / f"{name}.onnx"
            quantize(case, data, path)
            row.int8 = in_int8(case, path, data, samples, folder, count)
    return row


def kept(rows: Path | None) -> dict[str, Row]:
    """What was measured before."""
    if rows is None or not rows.exists():
        return {}
    found = [Row(**json.loads(line)) for line in rows.read_text().splitlines()]
    return {row.model: row for row in found}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join((*CASES, *PLAIN)), help="names, separated by commas")
    parser.add_argument(
        "--samples", type=int, default=100, help="samples of the test split that the metric is taken on"
    )
    parser.add_argument("--quantized", type=Path, help="a folder of quantized models; those that it lacks are added")
    parser.add_argument("--rows", type=Path, help="a file of rows that were measured before; new ones are added")
    parser.add_argument("--page", type=Path, help="put the tables into this page too")
    arguments = parser.parse_args()
    measured: Mapping[str, Row] = kept(arguments.rows)
    for name in arguments.models.split(","):
        if name not in measured:
            row = measure(name, arguments.quantized, arguments.samples)
            measured = {**measured, name: row}
            if arguments.rows:
                with arguments.rows.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
        row = measured[name]
        show(row.float_cells())
        show(row.int8_cells() if row.int8 else ())
        if arguments.page:
            rows = measured.values()
            put(arguments.page, "float", table(FLOAT, [row.float_cells() for row in rows]))
            put(arguments.page, "int8", table(INT8, [row.int8_cells() for row in rows if row.int8]))


def show(cells: tuple[str, ...]) -> None:
    """Print a row."""
    if cells:
        Console().print(*cells, sep=" | ", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
