"""Models written as Core ML packages, read back from disk, and evaluated beside ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from single_nodes import TOLERANCE, require_close

from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.session import EvaluatorSession
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session


def written(model: Model, folder: str | Path, **options: Any) -> EvaluatorSession:
    """The package that a model becomes, in 32-bit floats if the options do not say other."""
    backend = CoremlBackend(**{"compute": "fp32", **options})
    path = Path(folder) / "model.mlpackage"
    backend.emit(backend.legalize(model), path)
    return EvaluatorSession(path)


def kinds(session: EvaluatorSession) -> list[str]:
    """The operators of a package that are no constants."""
    operators = session.program.function.operations
    return [op.op_type for op in operators if not op.op_type.startswith("const")]


def agrees(model: Model, feeds: Mapping[str, np.ndarray], tolerance: float = TOLERANCE, **options: Any) -> list[str]:
    """Check that the evaluator gives what ONNX Runtime does; the operators that were written."""
    wanted = Session(model, optimize=False).run(dict(feeds))
    with tempfile.TemporaryDirectory() as folder:
        session = written(model, folder, **options)
        found = session.run(feeds)
        for name, values in wanted.items():
            assert found[name].dtype == values.dtype, name
            require_close(values, found[name], tolerance, name)
        return kinds(session)
