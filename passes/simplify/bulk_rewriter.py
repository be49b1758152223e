"""Erasing thousands of nodes that read the same few tensors."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rewriter import Rewriter

# Up to so many readers a tensor's list of them is kept exact.
_FEW = 16


class BulkRewriter(Rewriter):
    """A Rewriter that takes erased nodes out of long lists of readers not one by one, which takes a quadratic time.

    Such a list is swept when half of what it holds is gone, so short ones are always right: how many readers a tensor
    has may be overestimated, but not whether it has none, one, or several.
    """

    def __init__(self, graph: gs.Graph, names: set[str] | None = None) -> None:
        super().__init__(graph, names)
        # By the identity of tensors: how many erased nodes their lists of readers hold.
        self._stale: dict[int, tuple[gs.Tensor, int]] = {}

    def erase(self, node: gs.Node) -> None:
        crowded = [tensor for tensor in node.inputs if len(tensor.outputs) > _FEW or id(tensor) in self._stale]
        if crowded:
            kept = [tensor for tensor in node.inputs if not any(tensor is other for other in crowded)]
            list.clear(node.inputs)
            list.extend(node.inputs, kept)
        super().erase(node)
        for tensor in crowded:
            count = self._stale.get(id(tensor), (tensor, 0))[1] + 1
            self._stale[id(tensor)] = tensor, count
            if 2 * count > len(tensor.outputs):
                self._sweep(tensor)

    def commit(self) -> None:
        for tensor, _ in [*self._stale.values()]:
            self._sweep(tensor)
        super().commit()

    def _sweep(self, tensor: gs.Tensor) -> None:
        kept = [reader for reader in tensor.outputs if not self.is_erased(reader)]
        list.clear(tensor.outputs)
        list.extend(tensor.outputs, kept)
        self._stale.pop(id(tensor), None)
