"""Where tensors of a network lie, and which depend on the values that it is fed, and not only on their shapes."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import writer_of

# What they write depends on the shape of what they read.
_SHAPES = frozenset({"Shape", "Size"})


class RunTime:
    """Answers for the tensors of one graph; they are remembered."""

    def __init__(self, graph: gs.Graph) -> None:
        self._outputs = {id(tensor) for tensor in graph.outputs}
        self._sources: dict[int, str | None] = {id(tensor): str(tensor.name) for tensor in graph.inputs}
        for node in graph.nodes:
            found = None if node.op in _SHAPES else next(filter(None, map(self.source, node.inputs)), None)
            self._sources.update((id(tensor), found) for tensor in node.outputs)

    def between(self, tensor: gs.Tensor) -> bool:
        """Whether a tensor lies between two nodes, and is not an output of the graph as well."""
        return writer_of(tensor) is not None and id(tensor) not in self._outputs

    def source(self, tensor: gs.Tensor) -> str | None:
        """An input of the graph whose values the tensor depends on; None if there is none."""
        if isinstance(tensor, gs.Constant) or writer_of(tensor) is None:
            return self._sources.get(id(tensor))
        return self._sources[id(tensor)]
