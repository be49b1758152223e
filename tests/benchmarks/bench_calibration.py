"""What calibration costs next to the plain forward pass, and next to ONNX Runtime's and NNCF's (where it is installed).

    python tests/benchmarks/bench_calibration.py [MODEL] [--samples N] [--rounds N] [--page PAGE]

A row goes from the float file to a range for every tensor, on samples that are made as they are asked for; the forward
pass runs the same samples and drops the outputs. Every run is a fresh process, all of them in turn, with as many
threads as it takes by itself. Seconds, by the clock and of processor time (ONNX Runtime's threads spin while they
wait), leave imports out and are the best of the rounds; peak memory is the whole process's.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from calibration_tools import WAYS, Samples
from pages import put, table
from rich.console import Console

from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.runtime import Session

_SHARED = Path(os.environ.get("PRUNA_SHARED", Path(__file__).parents[2] / ".." / "shared"))
_DEFAULT = _SHARED / "models" / "mobilenetv2_100_imagenet.onnx"
_FORWARD = next(iter(WAYS))
_FEWER = 4  # times fewer samples, to see what memory grows by
_COLUMNS = ("calibration", "seconds", "of the forward pass", "processor seconds", "peak MB, {} samples", "{} samples")


def run_here(path: Path, way: str, count: int) -> None:
    """Print this process's seconds, processor seconds and peak memory in kilobytes, as JSON."""
    logging.disable(logging.WARNING)
    calibrate, feeds = WAYS[way](path), Samples(random_feeds(Session(path).inputs, seed=0), count)
    wall, processor = time.perf_counter(), time.process_time()
    calibrate(feeds)
    taken = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    print(json.dumps({**taken, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def run_apart(path: Path, way: str, count: int) -> Mapping[str, float] | None:
    """The same of a fresh process; None if the tool is not installed."""
    command = [sys.executable, __file__, str(path), "--way", way, "--samples", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def measure(path: Path, count: int, rounds: int) -> list[list[str]]:
    """A row for each way that can be gone here."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for way in WAYS:
            found = run_apart(path, way, count)
            if found is not None:
                known = best.setdefault(way, dict(found))
                best[way] = {name: min(value, known[name]) for name, value in found.items()}
    rows = []
    for way, found in best.items():
        fewer = run_apart(path, way, count // _FEWER)
        peaks = [f"{one['peak'] / 1024:.0f}" for one in (fewer, found) if one is not None]
        ratio = found["wall"] / best[_FORWARD]["wall"]
        rows.append([way, f"{found['wall']:.2f}", f"{ratio:.2f}x", f"{found['processor']:.2f}", *peaks])
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=_DEFAULT)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="put the table into this page too")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run_here(options.model, options.way, options.samples)
        return
    counts = (options.samples // _FEWER, options.samples)
    columns = [*_COLUMNS[:4], *(text.format(count) for text, count in zip(_COLUMNS[4:], counts, strict=True))]
    text = table(columns, measure(options.model, options.samples, options.rounds))
    Console().print(text, highlight=False, markup=False, soft_wrap=True)
    if options.page:
        put(options.page, "calibration", text)


if __name__ == "__main__":
    main()
