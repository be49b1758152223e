"""Names for new nodes."""

from __future__ import annotations

import itertools

import onnx_graphsurgeon as gs


class NodeNames:
    """The names of a graph's nodes, each once: ONNX Runtime refuses two nodes of one name.

    A model that other tools have quantized in part has the names that a quantizer would think of.
    """

    def __init__(self, graph: gs.Graph) -> None:
        self._taken = {node.name for node in graph.nodes}

    def fresh(self, like: str) -> str:
        """A name that no node has yet, made from `like`."""
        numbered = itertools.chain([like], (f"{like}_{number}" for number in itertools.count(1)))
        name = next(candidate for candidate in numbered if candidate not in self._taken)
        self._taken.add(name)
        return name
