"""What calibration costs next to the plain forward pass: `python tests/benchmarks/bench_calibration.py [MODEL]`.

Minimum, maximum and histogram of every float activation, 100 preloaded samples, the same number of threads, both
timed in turn, and in one thread the processor time of both, which other processes disturb less; then the peak memory of
fresh processes for 32 and 512 samples.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pruna_ir.calibration import collect
from pruna_ir.model import Model
from pruna_ir.runtime import Session

_SHARED = Path(os.environ.get("PRUNA_SHARED", Path(__file__).parents[2] / ".." / "shared"))
_DEFAULT = _SHARED / "models" / "mobilenetv2_100_imagenet.onnx"


def samples(session: Session, count: int) -> list[dict[str, np.ndarray]]:
    """Feeds of batch 1 from a fixed seed."""
    generator = np.random.default_rng(0)
    return [
        {
            spec.name: generator.standard_normal([d if isinstance(d, int) else 1 for d in spec.shape], np.float32)
            for spec in session.inputs
        }
        for _ in range(count)
    ]


def compare(path: Path, threads: int, count: int, rounds: int) -> None:
    """Print seconds of both, and the ratio of the best times."""
    model = Model.load(path)
    batches = samples(Session(path), count)
    for text, workers, clock in (("time", threads, time.perf_counter), ("processor time", 1, time.process_time)):
        forward, calibration = best_times(path, model, batches, workers, clock, rounds)
        print(f"{path.name}, {count} samples, {workers} threads, {text}: forward {forward:.3f} s", end=", ")
        print(f"calibration {calibration:.3f} s, ratio {calibration / forward:.2f}")


def best_times(
    path: Path,
    model: Model,
    batches: list[dict[str, np.ndarray]],
    threads: int,
    clock: Callable[[], float],
    rounds: int,
) -> tuple[float, float]:
    """Seconds of the forward pass and of calibration by a clock: the best of some rounds."""
    plain = Session(path, threads=threads)
    forward = calibration = float("inf")
    for _ in range(rounds):
        start = clock()
        for feeds in batches:
            plain.run(feeds)
        middle = clock()
        collect(model, batches, threads=threads)
        forward, calibration = min(forward, middle - start), min(calibration, clock() - middle)
    return forward, calibration


def peak_memory(path: Path, threads: int, count: int) -> int:
    """Kilobytes that a fresh process takes at most to calibrate on `count` samples, made one at a time."""
    command = [sys.executable, __file__, str(path), "--threads", str(threads), "--only-memory", str(count)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def calibrate_and_report(path: Path, threads: int, count: int) -> None:
    """Calibrate on one sample at a time and print this process's peak memory in kilobytes."""
    one = samples(Session(path), 1)[0]
    collect(Model.load(path), ({name: value + i for name, value in one.items()} for i in range(count)), threads=threads)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path, default=_DEFAULT)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only-memory", type=int)
    options = parser.parse_args()
    if options.only_memory:
        calibrate_and_report(options.model, options.threads, options.only_memory)
        return
    compare(options.model, options.threads, options.samples, options.rounds)
    small, large = (peak_memory(options.model, options.threads, count) for count in (32, 512))
    print(f"peak memory: 32 samples {small / 1024:.0f} MB, 512 samples {large / 1024:.0f} MB, {large / small - 1:+.1%}")


if __name__ == "__main__":
    main()
