"""What `-O1` costs on a large graph, next to onnxsim alone: `bench_large_graph.py [NODES]`.

The first two read the same file, work in this process and write a file: onnx.load, `onnxsim.simplify` and onnx.save
next to Model.load, `-O1` and Model.save. The commands do the same in processes of their own; `pruna-opt` also verifies,
compares and times the result. All are taken in turn; each figure is the median of the rounds.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxsim
from bench_model import large_model

from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

ROUNDS = 3
# What each row is compared with.
PEERS = {
    "onnxsim.simplify, load and save": "",
    "-O1, load and save": "onnxsim.simplify, load and save",
    "-O1, passes only": "onnxsim.simplify, load and save",
    "onnxsim IN OUT": "",
    "pruna-opt IN -O1 -o OUT": "onnxsim IN OUT",
}


def one_round(source: Path, out: Path) -> list[float]:
    """Seconds of each row."""
    passes = 0.0

    def simplify() -> None:
        simplified, _ = onnxsim.simplify(onnx.load(source))
        onnx.save(simplified, out)

    def optimize() -> None:
        nonlocal passes
        model = Model.load(source)
        passes = sum(stage.seconds for stage in PassManager.parse("O1").run(model).stages)
        model.save(out)

    def command(*arguments: object) -> None:
        subprocess.run([sys.executable, "-m", *map(str, arguments)], check=True, capture_output=True)

    in_process = [seconds(simplify), seconds(optimize)]
    commands = [
        seconds(lambda: command("onnxsim", source, out)),
        seconds(lambda: command("pruna_ir.tools.pruna_opt", source, "-O1", "-o", out)),
    ]
    return [*in_process, passes, *commands]


def seconds(work: Callable[[], None]) -> float:
    """Seconds that a call takes, without clearing away what the call before it left."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "large.onnx"
        onnx.save(large_model(count), source)
        rounds = [one_round(source, Path(folder) / "out.onnx") for _ in range(ROUNDS)]
    medians = dict(zip(PEERS, map(statistics.median, zip(*rounds, strict=True)), strict=True))
    print(f"{count:,} nodes")
    for name, peer in PEERS.items():
        ratio = f"  {medians[name] / medians[peer]:.2f}x {peer}" if peer else ""
        print(f"{name:32} {medians[name]:6.2f} s{ratio}")


if __name__ == "__main__":
    main()
