"""What ONNX Runtime makes of a model: the graph that it runs, with its own operators."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

# They move channels behind positions, or into blocks: the same numbers under other names.
_LAYOUTS = ("NhwcTransformer", "NchwcTransformer")


def optimized(model: Model | onnx.ModelProto) -> onnx.ModelProto:
    """The model as ONNX Runtime optimizes it on this machine, in ONNX's layout; raises M009.

    What is fused keeps the names of its outputs. It runs here, with optimizations off.
    """
    with tempfile.TemporaryDirectory(prefix="pruna-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "optimized.onnx"
        Session(model, without=_LAYOUTS, keep_optimized=path)
        return onnx.load(path)
