"""Computed shapes that are a stretch of the shape of one tensor, read from it by one node."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.bulk_rewriter import BulkRewriter
from pruna_ir.passes.simplify.purity import STANDARD_DOMAINS
from pruna_ir.passes.simplify.shapes.analysis import ShapeAnalysis
from pruna_ir.passes.simplify.shapes.symbolic import Entry, Expr
from pruna_ir.passes.simplify.shapes.values import OPERATORS, Entries

# From this operator set on, Shape can give a part of the shape.
_PARTS_SINCE = 15
# Tensors with a dimension that are looked through for the dimensions after it.
_MOST_TRIED = 8


class ShapeSlices:
    """Replaces computed shapes of a graph that are part of a tensor's own by `Shape <start, end>` of that tensor."""

    def __init__(self, graph: gs.Graph, analysis: ShapeAnalysis, names: set[str], opset: int) -> None:
        self.graph, self.analysis, self.opset = graph, analysis, opset
        self.rewriter = BulkRewriter(graph, names)
        # Tensors with a dimension: on which axis, and the index of the node that writes them.
        self._places: dict[Expr, list[tuple[gs.Tensor, int, int]]] = {}

    def run(self) -> int:
        """Replace; the number of nodes replaced."""
        if self.opset < _PARTS_SINCE:
            return 0
        for tensor in self.graph.inputs:
            self._note(tensor, -1)
        nodes = list(self.graph.nodes)
        written = {id(tensor) for node in nodes for tensor in node.outputs}
        for index, node in enumerate(nodes):
            if node.op == "Shape" and id(node.inputs[0]) not in written:
                self._note(node.inputs[0], -1)  # of the graph around this one
            for tensor in node.outputs:
                self._note(tensor, index)
        # The last first: what they no longer need is gone before its turn.
        replaced = sum(self._replace(nodes[index], index) for index in reversed(range(len(nodes))))
        self.rewriter.commit()
        return replaced

    def _note(self, tensor: gs.Tensor, index: int) -> None:
        """Remember the dimensions of what the node at an index writes."""
        if tensor.is_empty():
            return
        for axis, dim in enumerate(self.analysis.dims(tensor) or ()):
            if isinstance(dim, Expr):
                places = self._places.setdefault(dim, [])
                if len(places) < _MOST_TRIED:
                    places.append((tensor, axis, index))

    def _replace(self, node: gs.Node, index: int) -> bool:
        if node.op not in OPERATORS or node.domain not in STANDARD_DOMAINS or self.rewriter.is_erased(node):
            return False
        output = node.outputs[0]
        if not output.outputs or output.dtype != np.int64 or not self.analysis.is_computed(output):
            return False
        entries = self.analysis.elements(output)
        if entries is None or entries.ndim > 1 or not any(isinstance(entry, Expr) for entry in entries.flat):
            return False
        place = self._place(list(entries.flat), index)
        # A scalar takes a Squeeze more: that must pay.
        if place is None or (entries.ndim == 0 and self._freed(node) <= 2):
            return False
        read = self._read(place, entries)
        for inserted in read:
            self.rewriter.insert(inserted, before=node)
        inputs = [tensor for tensor in node.inputs if not isinstance(tensor, gs.Constant)]
        self.rewriter.erase(node)
        read[-1].outputs.append(output)
        for tensor in inputs:
            self.rewriter.erase_unread(tensor)
        return True

    def _read(self, place: tuple[gs.Tensor, int], entries: Entries) -> list[gs.Node]:
        """The nodes that read dimensions at a place; the last one has no output yet."""
        source, start = place
        read = gs.Node("Shape", attrs={"start": start, "end": start + entries.size}, inputs=[source])
        if entries.ndim:
            return [read]
        part = self.rewriter.variable(f"{source.name}_size", np.dtype(np.int64), [1])
        read.outputs.append(part)
        self.analysis.visit(read)
        return [read, gs.Node("Squeeze", inputs=[part, self.rewriter.constant(f"{part.name}_axes", np.array([0]))])]

    def _freed(self, node: gs.Node) -> int:
        """How many nodes go if nothing reads the node's output any more."""
        gone, waiting = {id(node)}, [node]
        while waiting and len(gone) <= _MOST_TRIED:
            for tensor in waiting.pop().inputs:
                for writer in tensor.inputs if isinstance(tensor, gs.Variable) else ():
                    readers = [reader for written in writer.outputs for reader in written.outputs]
                    kept = any(self.rewriter.is_output(written) for written in writer.outputs)
                    if not kept and id(writer) not in gone and all(id(reader) in gone for reader in readers):
                        gone.add(id(writer))
                        waiting.append(writer)
        return len(gone)

    def _place(self, wanted: list[Entry], before: int) -> tuple[gs.Tensor, int] | None:
        """A tensor that has the wanted dimensions side by side, and where; the node at `before` can read it."""
        first = next(index for index, entry in enumerate(wanted) if isinstance(entry, Expr))
        key = wanted[first]
        assert isinstance(key, Expr)
        found = []
        for tensor, axis, index in self._places.get(key, ()):
            start, dims = axis - first, self.analysis.dims(tensor)
            if index < before and start >= 0 and dims is not None and dims[start : start + len(wanted)] == wanted:
                if index < 0:
                    return tensor, start
                if tensor.inputs:  # still there
                    others = sum(reader.op != "Shape" for reader in tensor.outputs)
                    found.append((others > 1, index, start, tensor))
        # One that has several readers already, else the last: a reader more would keep a Conv and its Relu apart.
        _, _, start, tensor = max(found, key=lambda place: place[:2], default=(False, 0, 0, None))
        return None if tensor is None else (tensor, start)
