"""A reference evaluator for Core ML packages: reads any .mlpackage from disk and computes what it says, with numpy.

    from pruna_ir.backends.coreml.evaluate import load

    program = load("model.mlpackage")
    outputs = program.run({"x": x})

It follows the operators' documentation, in the types of the program, and is no picture of Apple's runtime: which of its
kernels and devices runs an operator, and in which order sums are taken there, is not in a package.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.evaluate.package import read_package
from pruna_ir.backends.coreml.evaluate.program import Program

__all__ = ["Program", "evaluate", "load"]


def load(path: str | Path) -> Program:
    """The main function of a package, ready to run; X001 without coremltools, M001 and E002 if it cannot be read."""
    return Program(read_package(Path(path)))


def evaluate(path: str | Path, feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The outputs of a package by name, for arrays by name of input."""
    return load(path).run(feeds)
