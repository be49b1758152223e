"""Half of all channels removed from torchvision's architectures, beside Torch-Pruning and onnxsim, in one run.

    python tests/benchmarks/pruning_zoo.py ZOO
    python tests/benchmarks/pruning_coverage.py ZOO [--models resnet18,vit_b_16] [--weights random] [--markdown PAGE]

Prints a row for each architecture: by what factor the multiplications of one run fall with each tool, counted in the
same way in what each of them writes. What crashes, what ONNX Runtime does not run and what has other outputs says so.
The last columns are of ours: how many groups of channels were cut of those that are there, and the largest difference,
relative to the range of the output, to the oracle (the original that ignores the same channels, which are drawn at
random). With random weights first; then with those of the default initialization, where many tensors are equal and are
stored once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pruning_zoo
from pruning_tools import OURS, RATIO, TOOLS, Request, run

from pruna_ir.analysis.axes import AxisAnalysis, analyze
from pruna_ir.analysis.macs import count_macs
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.passes.pruning.surgery import remove
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import largest_difference

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from pruning_oracle import masked, removed_by

COLUMNS = ("architecture", "weights", "MACs", *TOOLS, "groups cut", "oracle", "seconds")


def row(name: str, weights: str, source: Path, folder: Path) -> list[str]:
    """A row of the table."""
    model = Model.load(source)
    macs = count_macs(model)
    assert not isinstance(macs, Unmeasured), macs
    cells, seconds = [name, weights, f"{macs / 1e9:.2f} G"], []
    for tool in TOOLS:
        out = folder / f"{tool}.onnx"
        taken, failure = run(tool, Request(name, weights, source, out))
        cells.append(f"crash: {failure.split(':')[0][:40]}" if taken is None else factor(macs, model, out))
        seconds.append("-" if taken is None else f"{taken:.0f}")
        out.unlink(missing_ok=True)
    return [*cells, *oracle(model), " / ".join(seconds)]


def factor(macs: int, model: Model, out: Path) -> str:
    """By how much the MACs fell, or what is wrong with what a tool wrote."""
    try:
        session = Session(out, optimize=False)
        outputs = session.run(random_feeds(session.inputs, seed=0))
    except PrunaError:
        return "invalid"
    if not all(_fits(values.shape, spec.shape) for values, spec in zip(outputs.values(), model.outputs(), strict=True)):
        return "other outputs"
    if not all(np.isfinite(values).all() for values in outputs.values()):
        return "not finite"
    left = count_macs(Model.load(out))
    return str(left) if isinstance(left, Unmeasured) else f"{macs / left:.2f}"


def _fits(shape: tuple[int, ...], stated: tuple[int | str | None, ...]) -> bool:
    sizes = zip(shape, stated, strict=False)
    return len(shape) == len(stated) and all(size == dim for size, dim in sizes if isinstance(dim, int))


def oracle(model: Model) -> tuple[str, str]:
    """Groups cut of those there are, and the difference to the oracle with half of each removed."""
    PassManager.parse("O1").run(model)
    analysis = analyze(model)
    removed = halves(analysis, np.random.default_rng(0))
    expected = masked(model, removed_by(analysis, removed))
    remove(model, analysis, removed)
    difference = largest_difference(expected, model)
    return f"{len(removed)} of {len(analysis.groups)}", f"{difference:.0e}"


def halves(analysis: AxisAnalysis, random: np.random.Generator) -> dict[str, list[int]]:
    """Any half of the units of every group that may be cut."""
    counts = {group.name: int(group.size * RATIO) for group in analysis.free}
    return {
        group.name: sorted(random.choice(group.size, counts[group.name], replace=False).tolist())
        for group in analysis.free
        if counts[group.name]
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path, help="the folder that pruning_zoo.py wrote")
    parser.add_argument("--models", default=",".join(pruning_zoo.ARCHITECTURES), help="names, separated by commas")
    parser.add_argument("--weights", default=",".join(pruning_zoo.WEIGHTS), help="of them, separated by commas")
    parser.add_argument("--markdown", type=Path, help="write the table to this file too")
    arguments = parser.parse_args()
    versions = [tool if tool == OURS else f"{tool} {TOOLS[tool].version()}" for tool in TOOLS]
    heads = [*COLUMNS[:3], *versions, *COLUMNS[3 + len(TOOLS) :]]
    lines = [f"| {' | '.join(heads)} |", f"|---|---{'|---:' * (len(heads) - 2)}|"]
    print(*lines, sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        for weights in arguments.weights.split(","):
            for name in arguments.models.split(","):
                source = arguments.zoo / pruning_zoo.file_name(name, weights)
                lines.append(f"| {' | '.join(row(name, weights, source, Path(folder)))} |")
                print(lines[-1], flush=True)
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
