"""The reference evaluator beside Core ML itself, by the expected values of coremltools' tests of MIL operators.

They come with coremltools, and Apple runs them on Core ML. `MIL_CASES=20 pytest -m slow` runs up to twenty parameter
sets of each test; some tests make their expected values with torch, and are skipped without it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parents[1] / "support"
FOLDERS = ("iOS14", "iOS15", "iOS16", "iOS17")


def run(*files: str, cases: str = "") -> tuple[int, int, str]:
    """How many pass and fail, and the end of what is printed."""
    spec = importlib.util.find_spec("coremltools")
    if spec is None or spec.origin is None:
        pytest.skip("coremltools is not installed")
    folder = Path(spec.origin).parent / "converters" / "mil" / "mil" / "ops" / "tests"
    paths = [str(folder / name) for name in files if (folder / name).exists()]
    if not paths:
        pytest.skip("this coremltools comes without its tests")
    # Their warnings, and markers, are not ours to mend.
    options = ["-c", os.devnull, "-W", "ignore", "-p", "mil_cases", "-p", "no:cacheprovider", "-q", "--tb=line", "-rN"]
    options.append("--continue-on-collection-errors")  # a file that needs torch
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), **({"MIL_CASES": cases} if cases else {})}
    command = [sys.executable, "-m", "pytest", *options, *paths]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=SUPPORT)
    counts = {name: int(number) for number, name in re.findall(r"(\d+) (passed|failed)", done.stdout)}
    return counts.get("passed", 0), counts.get("failed", 0), done.stdout[-3000:]


def test_some() -> None:
    passed, failed, text = run("iOS14/test_linear.py", "iOS14/test_pool.py", cases="1")
    assert passed >= 5 and not failed, text


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_everything(folder: str) -> None:
    passed, failed, text = run(folder)
    assert passed >= 3 and not failed, text
