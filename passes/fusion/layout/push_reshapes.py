"""Reshapes of leading axes around nodes that do not look at those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.layouts import Layout, Regrouped
from pruna_ir.passes.fusion.layout.push import Push
from pruna_ir.passes.fusion.static_shapes import RESHAPES, static_shape


@dataclass(frozen=True)
class PushReshapes(Push):
    """Let nodes between Reshapes work on the other leading axes where fewer Reshapes remain.

        before   Reshape(Softmax(Reshape(x, [4420,2]), axis 1), [1,4420,2])
        after    Softmax(x, axis 2)

    Connected nodes change their leading axes together: elementwise operators, and those that work on the trailing axes
    (Softmax, normalizations, reductions, products of matrices, Transposes of these axes, ...). A Gemm becomes a MatMul
    and an Add where its input is no matrix any more. Where another node reads or writes one of their tensors, a Reshape
    is put.

    Does not fire if as many nodes would come as go, if a size is not known, if more than 256 nodes are connected, or if
    a large constant that others read would be stored twice.
    """

    name: ClassVar[str] = "push-reshapes"
    roots: ClassVar[tuple[str, ...]] = (*RESHAPES, "Transpose")
    elements: ClassVar[bool] = False

    def layouts(self, root: gs.Node) -> tuple[Layout, Layout] | None:
        before, after = static_shape(root.inputs[0]), static_shape(root.outputs[0])
        if before is None or after is None or before == after:
            return None
        layout = Regrouped.between(before, after)
        return (layout, Regrouped.between(after, before)) if layout.leaves(root) else None
