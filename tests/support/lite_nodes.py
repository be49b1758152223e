"""Single nodes of ONNX, written for LiteRT and run there beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from single_nodes import TOLERANCE, require_close
from single_nodes import Fixed as Fixed
from single_nodes import Shape as Shape
from single_nodes import node as node

from pruna_ir.backends.tflite.legalize import legalize
from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.program import Program
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.backends.tflite.writer import write
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session


def program(model: Model) -> Program:
    """What a model becomes."""
    return lower(legalize(model))


def codes(model: Model) -> list[str]:
    """The operators that a model becomes."""
    return [operator.code for operator in program(model).operators]


def agrees(model: Model, feeds: Mapping[str, np.ndarray], tolerance: float = TOLERANCE) -> list[str]:
    """Check that LiteRT gives what ONNX Runtime does, with XNNPACK and without; the operators that were written."""
    wanted = Session(model, optimize=False).run(dict(feeds))
    written = program(model)
    file = write(written)
    for delegate in (False, True):
        found = LiteSession(file, delegate=delegate).run(dict(feeds), list(wanted))
        for name, values in wanted.items():
            require_close(values, found[name], tolerance, f"{name}, delegate={delegate}")
    return [operator.code for operator in written.operators]
