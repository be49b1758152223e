"""From any graph to one that the table can write: passes that leave an executable ONNX graph."""

from __future__ import annotations

from collections.abc import Collection

from pruna_ir.backends.coreml.table import table
from pruna_ir.backends.fixed_shapes import bind_batch, close_outputs
from pruna_ir.diagnostics import error
from pruna_ir.model import Model
from pruna_ir.passes.decomposition.decompose import decompose
from pruna_ir.pipeline.manager import PassManager

_CLEAN = "simplify,fuse-conv-bn,fuse-convtranspose-bn,fuse-gemm-bn"


def legalize(model: Model, batch: int = 1, open_sizes: Collection[str] = ()) -> Model:
    """A copy that the table can write, as far as it can be.

    `batch` is put for every open first dimension of an input, but for those named in `open_sizes`. Raises E005 for
    other dimensions of inputs that are open.
    """
    legal = model.clone()
    bind_batch(legal, batch, keep=open_sizes)
    _require_sizes(legal, open_sizes)
    PassManager.parse(_CLEAN).run(legal, target="coreml")
    if decompose(legal, table(), "coreml"):
        PassManager.parse(_CLEAN).run(legal, target="coreml")
    if not open_sizes:
        close_outputs(legal)
    return legal


def _require_sizes(model: Model, open_sizes: Collection[str]) -> None:
    for spec in model.inputs():
        left = [size for size in spec.shape if not isinstance(size, int) and size not in open_sizes]
        if left:
            name = left[0] if isinstance(left[0], str) else "?"
            hint = f"allow some: coreml<shapes=[{name}:1..8]>, " if name != "?" else ""
            message = f"a size of the input `{spec}` is open"
            raise error("E005", message, place=spec.name, help=f"{hint}or fix the shape in the model")
