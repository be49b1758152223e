"""Small ML programs, in memory or as packages on disk."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.evaluate import Program
from pruna_ir.backends.coreml.evaluate.package import Package
from pruna_ir.backends.coreml.toolbox import coremltools

ct = coremltools()

from coremltools.converters.mil import Builder  # noqa: E402
from coremltools.converters.mil.mil import types as mil_types  # noqa: E402

mb, types = Builder, mil_types

VERSIONS = {15: 6, 16: 7, 17: 8, 18: 9}
Inputs = Mapping[str, np.ndarray]
# The same values are rounded to 16 bits, and the passes that would rewrite the program are left out.
_NO_PASSES = ct.PassPipeline(["common::const_elimination", "common::dead_code_elimination"], "as it is")


def program(build: Callable[..., Any], inputs: Inputs, ios: int = 17) -> Any:
    """A program of Core ML Tools, whose inputs are like these arrays."""
    from coremltools.converters.mil.mil import Function
    from coremltools.converters.mil.mil import Program as MilProgram

    made = MilProgram()
    places = {
        name: mb.placeholder(shape=value.shape, dtype=types.numpy_type_to_builtin_type(value.dtype.type))
        for name, value in inputs.items()
    }
    with Function(places, opset_version=getattr(ct.target, f"iOS{ios}")) as function:
        outputs = build(**function.inputs)
        function.set_outputs(list(outputs) if isinstance(outputs, tuple | list) else [outputs])
    made.add_function("main", function)
    return made


def in_memory(build: Callable[..., Any], inputs: Inputs, ios: int = 17) -> Program:
    """The program, as if it had been read from a package."""
    spec = SimpleNamespace(specificationVersion=VERSIONS[ios])
    return Program(Package(Path("memory.mlpackage"), spec, program(build, inputs, ios)))


def on_disk(path: Path, build: Callable[..., Any], inputs: Inputs, ios: int = 17) -> Path:
    """A package of the program as it is."""
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():  # progress bars, and folders left to be collected
        warnings.simplefilter("ignore")
        ct.convert(
            program(build, inputs, ios),
            convert_to="mlprogram",
            minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
            package_dir=str(path),
            pass_pipeline=_NO_PASSES,
        )
    return path


def evaluated(build: Callable[..., Any], inputs: Inputs, ios: int = 17) -> list[Any]:
    """The outputs of the program, in order."""
    return list(in_memory(build, inputs, ios).run(inputs).values())


def inferred(build: Callable[..., Any], inputs: Inputs, ios: int = 17) -> list[Any]:
    """What Core ML Tools computes of the program by itself where its inputs are constants; None where it does not."""
    from coremltools.converters.mil.mil import Function

    found: list[Any] = []
    with Function({}, opset_version=getattr(ct.target, f"iOS{ios}")):
        made = build(**{name: mb.const(val=value) for name, value in inputs.items()})
        for var in made if isinstance(made, tuple | list) else [made]:
            op = var.op
            found.append(
                op.materialized_val_inference() if op.op_type.startswith(("constexpr_", "dequantize")) else var.val
            )
    return found
