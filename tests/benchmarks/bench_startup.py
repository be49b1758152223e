"""How long a user waits before anything happens: `python tests/benchmarks/bench_startup.py`.

Best of several fresh processes each, timed in turn, next to a bare interpreter and the help of onnxsim's command.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 7
COMMANDS = {
    "bare interpreter": ["-c", "pass"],
    "import pruna_ir": ["-c", "import pruna_ir"],
    "pruna-opt --help": ["-m", "pruna_ir.tools.pruna_opt", "--help"],
    "pruna-opt, unknown option": ["-m", "pruna_ir.tools.pruna_opt", "--frobnicate"],
    "pruna-opt --list-passes": ["-m", "pruna_ir.tools.pruna_opt", "--list-passes"],
    "onnxsim --help": ["-m", "onnxsim", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Wall seconds of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False)
    return time.perf_counter() - start


def main() -> None:
    """Run the benchmark."""
    best = dict.fromkeys(COMMANDS, float("inf"))
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            best[name] = min(best[name], seconds(arguments))
    for name, value in best.items():
        print(f"{name:<26} {value:.3f} s, {value / best['bare interpreter']:.1f}x the bare interpreter")


if __name__ == "__main__":
    main()
