"""What pruning without training costs in accuracy, and what it gains in time.

    python tests/benchmarks/pruning.py [--models resnet20_cifar10,...] [--page PAGE]

Prints a row for each trained model, share of MACs that is left, and rounding: channels of any number, and multiples of
what the target likes. The metric is that of the test split, which no decision has seen. `relmse` is the squared error
of the outputs next to the original model's, over the variance of the latter; `agrees` the share of test images with the
same best class. Speed is next to the original model, one thread, as ONNX Runtime runs both after its full optimization,
with sessions made anew in every turn: the median, and the lowest and highest turn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fresh_sessions import speedups
from pages import put, table

from pruna_ir.analysis.macs import count_macs
from pruna_ir.data import BoundDataset, Dataset
from pruna_ir.data.metrics import trim
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

SHARED = Path(os.environ.get("PRUNA_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
BATCH = 16
# Turns with new sessions for a ratio, and seconds of each.
TURNS, SECONDS = 11, 0.4
# What each rounding is called, and its option.
ROUNDING = {"1": ";round-to=1", "aligned": ""}
COLUMNS = ("model", "MACs left", "rounded to", "metric", "before", "relmse", "agrees", "speed", "seconds")


@dataclass(frozen=True)
class Case:
    """A trained model, its data, and the factors by which its MACs are to fall."""

    data: str
    factors: tuple[float, ...]


CASES = {
    "resnet56_cifar10_bn": Case("cifar10", (1.5, 2.0, 2.6)),
    "resnet56_cifar10": Case("cifar10", (1.5, 2.0, 2.6)),
    "resnet20_cifar10": Case("cifar10", (1.4,)),
    "mobilenetv1_025_imagenet_bn": Case("imagenet-sample", (1.25,)),
    "squeezenet11_imagenet": Case("imagenet-sample-caffe", (1.3,)),
    "yolox_nano_coco": Case("coco128-yolox", (1.25,)),
}


@dataclass
class Distance:
    """How far outputs are from a reference, as batches come: in squares, and in best classes."""

    error: float = 0.0
    squares: float = 0.0
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    count: int = 0
    equal: list[np.ndarray] = field(default_factory=list)

    def update(self, found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
        """Add a batch of outputs, samples on their first axes."""
        for name, expected in wanted.items():
            values = expected.astype(np.float64)
            self.error += float(np.square(found[name] - values).sum())
            self.squares += float(np.square(values).sum())
            self.sums[name] = self.sums.get(name, 0.0) + values.sum(axis=0)
        first = next(iter(wanted))
        self.count += len(wanted[first])
        if wanted[first].ndim == 2:
            self.equal.append(found[first].argmax(1) == wanted[first].argmax(1))

    @property
    def relmse(self) -> float:
        """Squared error over the variance of the reference."""
        means = sum(float(np.square(total).sum()) for total in self.sums.values()) / self.count
        return self.error / (self.squares - means)

    @property
    def agrees(self) -> str:
        """Share of samples with the same best class; nothing for models that do not classify."""
        return f"{np.concatenate(self.equal).mean():.3f}" if self.equal else "-"


def scores(session: Session, reference: Session, data: BoundDataset) -> tuple[float, float, Distance]:
    """The metric of a model and of the reference on the test split, and the distance of their outputs."""
    metric, original, distance = data.metric(), data.metric(), Distance()
    assert metric is not None and original is not None
    for batch in data.require("test").batches(BATCH):
        found, wanted = (trim(each.run(batch.feeds), batch) for each in (session, reference))
        metric.update(found, batch)
        original.update(wanted, batch)
        distance.update(found, wanted)
    return metric.result(), original.result(), distance


def rows(name: str, case: Case, folder: Path) -> Iterator[tuple[str, ...]]:
    """One row for each factor and rounding."""
    source = SHARED / "models" / f"{name}.onnx"
    data = Dataset.load(SHARED / "data" / f"{case.data}.yaml").bind(Model.load(source).inputs())
    feeds = next(iter(data.require("calibration").head(1).batches(1))).feeds
    before, macs = Session(source), count_macs(Model.load(source))
    assert isinstance(macs, int)
    for factor in case.factors:
        for rounding, option in ROUNDING.items():
            model, out, start = Model.load(source), folder / f"{name}.onnx", time.perf_counter()
            text = f"O1,prune-channels<macs={1 / factor:.6f};criterion=obs;recover=lstsq{option}>"
            PassManager.parse(text).run(model, data=data)
            taken = time.perf_counter() - start
            model.save(out)
            metric, original, distance = scores(Session(out), before, data)
            turns = speedups(source, out, feeds, turns=TURNS, seconds=SECONDS)
            left = count_macs(model)
            assert isinstance(left, int)
            yield (
                name,
                f"1/{macs / left:.2f}",
                rounding,
                f"{metric:.4f}",
                f"{original:.4f}",
                f"{distance.relmse:.3f}",
                distance.agrees,
                f"{np.median(turns):.2f} ({min(turns):.2f} to {max(turns):.2f})",
                f"{taken:.0f}",
            )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(CASES), help="names, separated by commas")
    parser.add_argument("--page", type=Path, help="the page whose table `pruning` is replaced")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models.split(","):
            for row in rows(name, CASES[name], Path(folder)):
                found.append(row)
                print(" | ".join(row), flush=True)
    print(table(COLUMNS, found))
    if arguments.page:
        put(arguments.page, "pruning", table(COLUMNS, found))


if __name__ == "__main__":
    main()
