"""`-O2` for the targets that cannot run here: is the graph legal, and what does it cost in accuracy?

    python tests/benchmarks/quantization_targets.py [--models resnet20_cifar10,...] [--targets tflite,...]
        [--tune] [--max-drop 0.005] [--rows rows.jsonl] [--page P]

Prints a row for each model and target: what the linter finds, the metric on the test split (which no decision has
seen) of the float and the quantized model under ONNX Runtime without its optimizations, what is allowed, and the share
of MACs in kernels that read integers. --tune and --max-drop are what a user would try where a row loses too much:
`tune-ranges` behind `quantize`, and a stricter limit. With --rows, what was measured is kept in that file, and not
measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from pages import put, table
from quantization import CASES, Case, score
from rich.console import Console

from pruna_ir import registry
from pruna_ir.analysis.macs import macs_by_node
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.data import BoundDataset
from pruna_ir.model import Model
from pruna_ir.passes.quantization.lint.rules import RULES
from pruna_ir.passes.quantization.lint.view import QdqView
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

# What the metric may lose: an asymmetric scheme loses less than the symmetric one that TensorRT insists on.
LIMITS = {"tflite": 0.005, "coreml": 0.005, "tensorrt": 0.010}
MODELS = (
    *("resnet20_cifar10", "resnet56_cifar10", "mobilenetv1_025_imagenet", "mobilenetv2_100_imagenet"),
    *("squeezenet11_imagenet", "kws_dscnn", "yolox_nano_coco"),
)
COLUMNS = ("model", "target", "by", "linter", "float", "quantized", "drop", "allowed", "integer MACs")


@dataclass(frozen=True)
class Row:
    """What `-O2` made of a model for a target."""

    model: str
    target: str
    violations: int
    before: float
    after: float
    share: float
    seconds: float
    by: str = "-O2"

    @property
    def drop(self) -> float:
        """What the metric loses, in points of 1."""
        return self.before - self.after

    def cells(self) -> tuple[str, ...]:
        """The row as text; a drop of more than is allowed is marked."""
        allowed = LIMITS[self.target]
        # Scores are counts of samples: beyond the fourth digit is rounding.
        mark = "" if round(self.drop, 4) <= allowed else " **too much**"
        return (
            *(self.model, self.target, self.by, "clean" if not self.violations else f"{self.violations} violations"),
            *(f"{self.before:.4f}", f"{self.after:.4f}", f"{self.drop:+.4f}{mark}", f"{allowed:.3f}"),
            f"{self.share:.0%}",
        )


@dataclass(frozen=True)
class Recipe:
    """How a model is quantized."""

    tune: bool = False
    max_drop: float = 0.01

    def __str__(self) -> str:
        limit = "" if self.max_drop == Recipe.max_drop else f" --max-drop {self.max_drop:g}"
        return f"-O2{limit}{' with tune-ranges' if self.tune else ''}"

    def run(self, model: Model, data: BoundDataset, target: str) -> None:
        """Quantize `model`."""
        pipeline = PassManager.parse("O2").text
        if self.tune:
            pipeline = pipeline.replace(",correct-bias", ",tune-ranges,correct-bias")
        PassManager.parse(pipeline).run(model, data=data, target=target, max_drop=self.max_drop)


def measure(name: str, case: Case, target: str, recipe: Recipe) -> Row:
    """Quantize a model for a target, and look at what came out."""
    model, before = Model.load(case.model), Session(case.model, optimize=False)
    data = case.data().bind(model.inputs())
    start = time.perf_counter()
    recipe.run(model, data, target)
    seconds = time.perf_counter() - start
    view = QdqView(model.graph, registry.target(target))
    violations = sum(1 for rule in RULES if not rule.advice for _ in rule.check(view))
    wanted, found = (score(session, data, before) for session in (before, Session(model, optimize=False)))
    return Row(name, target, violations, wanted, found, integer_share(model, view), seconds, str(recipe))


def integer_share(model: Model, view: QdqView) -> float:
    """The share of a model's MACs in kernels that read integers."""
    macs = macs_by_node(model)
    if isinstance(macs, Unmeasured):
        raise TypeError(macs.reason)
    integer = {kernel.kernel.key for kernel in view.quantized} | {k.node.outputs[0].name for k in view.quantized}
    return sum(count for name, count in macs.items() if name in integer) / sum(macs.values())


def kept(rows: Path | None) -> list[Row]:
    """What was measured before."""
    if rows is None or not rows.exists():
        return []
    return [Row(**json.loads(line)) for line in rows.read_text().splitlines()]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help="names, separated by commas; all of them by default")
    parser.add_argument("--targets", default=",".join(LIMITS), help="names, separated by commas; all by default")
    parser.add_argument("--tune", action="store_true", help="with tune-ranges")
    parser.add_argument("--max-drop", type=float, default=Recipe.max_drop, help="what may be lost, of the metric")
    parser.add_argument("--rows", type=Path, help="a file of rows that were measured before; new ones are added")
    parser.add_argument("--page", type=Path, help="put the table into this page too")
    arguments = parser.parse_args()
    recipe = Recipe(arguments.tune, arguments.max_drop)
    measured = {(row.model, row.target, row.by): row for row in kept(arguments.rows)}
    wanted = [(name, target) for name in arguments.models.split(",") for target in arguments.targets.split(",")]
    for name, target in wanted:
        key = name, target, str(recipe)
        if key not in measured:
            row = measured[key] = measure(name, CASES[name], target, recipe)
            if arguments.rows:
                with arguments.rows.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
        show(measured[key].cells())
        if arguments.page:
            put(arguments.page, "targets", table(COLUMNS, in_order(measured.values())))


def in_order(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    """The rows as text, models and targets in the order of the tables above."""
    places = {name: place for place, name in enumerate((*MODELS, *LIMITS))}
    return [row.cells() for row in sorted(rows, key=lambda row: [places.get(at, 99) for at in astuple(row)[:2]])]


def show(row: tuple[str, ...]) -> None:
    """Print a row."""
    Console().print(*row, sep=" | ", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
