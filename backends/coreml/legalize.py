"""From any graph to one that the table can write: passes that leave an executable ONNX graph."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.backends.coreml.table import table
from pruna_ir.backends.fixed_shapes import bind_batch, close_outputs
from pruna_ir.diagnostics import error
from pruna_ir.model import Model
from pruna_ir.passes.decomposition.decompose import decompose
from pruna_ir.passes.decomposition.write_out_grid_sample import WriteOutGridSample
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.pipeline.rules import Match

# What `resample` interpolates by.
_SAMPLED = ("linear", "bilinear", "nearest")
_CLEAN = "restore-qdq,simplify,fuse-conv-bn,fuse-convtranspose-bn,fuse-gemm-bn"


def legalize(model: Model, batch: int = 1, open_sizes: Collection[str] = ()) -> Model:
    """A copy that the table can write, as far as it can be.

    `batch` is put for every open first dimension of an input, but for those named in `open_sizes`. Raises E005 for
    other dimensions of inputs that are open.
    """
    legal = model.clone()
    bind_batch(legal, batch, keep=open_sizes)
    _require_sizes(legal, open_sizes)
    PassManager.parse(_CLEAN).run(legal, target="coreml")
    odd = PassManager([WriteOutOtherGridSample()]).run(legal, target="coreml")
    if decompose(legal, table(), "coreml") or odd.changed:
        PassManager.parse(_CLEAN).run(legal, target="coreml")
    if not open_sizes:
        close_outputs(legal)
    return legal


@dataclass(frozen=True)
class WriteOutOtherGridSample(WriteOutGridSample):
    """Write out the GridSample of volumes, and of images with cubic interpolation, which `resample` has not."""

    name: ClassVar[str] = "write-out-other-grid-sample"

    def match(self, root: gs.Node) -> Match | None:
        axes = root.inputs[0].shape
        native = axes is not None and len(axes) == 4 and root.attrs.get("mode", "linear") in _SAMPLED
        return None if native else super().match(root)


def _require_sizes(model: Model, open_sizes: Collection[str]) -> None:
    for spec in model.inputs():
        left = [size for size in spec.shape if not isinstance(size, int) and size not in open_sizes]
        if left:
            name = left[0] if isinstance(left[0], str) else "?"
            hint = f"allow some: coreml<shapes=[{name}:1..8]>, " if name != "?" else ""
            message = f"a size of the input `{spec}` is open"
            raise error("E005", message, place=spec.name, help=f"{hint}or fix the shape in the model")
