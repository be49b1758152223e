"""An abstract interpretation of a graph: dimensions of tensors, and elements of small ones, as expressions."""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.purity import STANDARD_DOMAINS, has_body
from pruna_ir.passes.simplify.shapes import dims as dimensions
from pruna_ir.passes.simplify.shapes import symbolic, values
from pruna_ir.passes.simplify.shapes.inputs import Dims, Inputs
from pruna_ir.passes.simplify.shapes.symbolic import Entry
from pruna_ir.passes.simplify.shapes.values import MISSING, MOST_ENTRIES, Entries

_NUMBERS = "bif"


class ShapeAnalysis:
    """What is known of tensors, by their identity; grows as nodes are visited in topological order.

    An axis or an element of which nothing is known is a symbol of its own, so that it equals itself wherever it goes.
    Cousot and Cousot 1977; shapes as polynomials of symbols are common in compilers for dynamic shapes (DISC, 2021).
    """

    def __init__(self, graph: gs.Graph) -> None:
        self._dims: dict[int, list[Entry] | None] = {}
        self._elements: dict[int, Entries | None] = {}
        self._computed_tensors: set[int] = set()
        # Tensors are known by identity: those that leave the graph must live as long as the analysis.
        self._alive: list[gs.Tensor] = []
        for tensor in graph.inputs:
            self._remember(tensor, self._completed(tensor, None, given=True), None)

    def dims(self, tensor: gs.Tensor) -> list[Entry] | None:
        """The dimensions of a tensor; None if its rank is not known."""
        if id(tensor) not in self._dims:
            self._remember(tensor, self._completed(tensor, None), None)
        return self._dims[id(tensor)]

    def elements(self, tensor: gs.Tensor) -> Entries | None:
        """The elements of a small tensor of whole numbers, floats or truth values; None for others."""
        if isinstance(tensor, gs.Constant):
            return self._stored(tensor)
        self.dims(tensor)
        found = self._elements.get(id(tensor))
        if found is None:
            found = self._elements[id(tensor)] = self._unknown(tensor)
        return found

    def is_computed(self, tensor: gs.Tensor) -> bool:
        """Whether the elements of a tensor follow from those of others."""
        return id(tensor) in self._computed_tensors

    def visit(self, node: gs.Node) -> None:
        """Work out what a node writes."""
        pure = node.domain in STANDARD_DOMAINS and not has_body(node)
        inputs = Inputs(
            [None if tensor.is_empty() else self.dims(tensor) for tensor in node.inputs],  # type: ignore[misc]
            [not tensor.is_empty() for tensor in node.inputs],
            lambda index: self.elements(node.inputs[index]),
        )
        for index, tensor in enumerate(node.outputs):
            first = index == 0 and pure
            dims = self._completed(tensor, dimensions.infer(node, inputs) if first else None)
            elements = self._computed(node, inputs) if first else None
            self._remember(tensor, dims, elements)
            if elements is not None:
                self._computed_tensors.add(id(tensor))

    def _computed(self, node: gs.Node, inputs: Inputs) -> Entries | None:
        """The elements of what a node writes."""
        if node.op == "Shape":
            return self._shape(node, inputs.dims[0])
        if node.op == "Size":
            return None if inputs.dims[0] is None else values.array(symbolic.product(list(inputs.dims[0])))  # type: ignore[arg-type]
        if node.op not in values.OPERATORS or not _is_small(node.outputs[0]):
            return None
        given = [MISSING if tensor.is_empty() else self.elements(tensor) for tensor in node.inputs]
        return values.compute(node, given)

    @staticmethod
    def _shape(node: gs.Node, dims: Dims | None) -> Entries | None:
        return None if dims is None else np.array(dims[node.attrs.get("start", 0) : node.attrs.get("end")], object)

    def _remember(self, tensor: gs.Tensor, dims: list[Entry] | None, elements: Entries | None) -> None:
        self._dims[id(tensor)] = dims
        if elements is not None:
            self._elements[id(tensor)] = elements
        self._alive.append(tensor)

    @staticmethod
    def _completed(tensor: gs.Tensor, dims: Dims | None, *, given: bool = False) -> list[Entry] | None:
        """Dimensions with what the graph says about them, and symbols for what is not known."""
        stated = tensor.shape
        if dims is None or (stated is not None and len(stated) != len(dims)):
            dims = None if stated is None else [None] * len(stated)
        if dims is None:
            return None
        known = [
            size if isinstance(size, int) else dim for size, dim in zip(stated or [None] * len(dims), dims, strict=True)
        ]
        return [
            symbolic.symbol((tensor.name, axis), nonnegative=True, given=given) if dim is None else dim
            for axis, dim in enumerate(known)
        ]

    def _stored(self, tensor: gs.Constant) -> Entries | None:
        if id(tensor) not in self._elements:
            self._alive.append(tensor)
            small = math.prod(tensor.shape) <= MOST_ENTRIES and not isinstance(tensor.dtype, int)
            plain = small and np.dtype(tensor.dtype) in values.TYPES
            self._elements[id(tensor)] = values.stored(tensor.values) if plain else None
        return self._elements[id(tensor)]

    def _unknown(self, tensor: gs.Tensor) -> Entries | None:
        """A symbol for every element."""
        if not _is_small(tensor):
            return None
        dims = self._dims[id(tensor)]
        sizes = [dim for dim in dims or () if isinstance(dim, int)]
        if dims is None or len(sizes) < len(dims):
            return None
        found: Entries = np.empty(sizes, object)
        for index in np.ndindex(found.shape):
            found[index] = symbolic.symbol(("element", tensor.name, index))
        return found


def _is_small(tensor: gs.Tensor) -> bool:
    """Whether a tensor may hold sizes: by its type, and by what is stated of its shape."""
    if tensor.dtype is None or isinstance(tensor.dtype, int) or np.dtype(tensor.dtype).kind not in _NUMBERS:
        return False
    sizes = [size for size in tensor.shape or () if isinstance(size, int)]
    return len(tensor.shape or ()) <= 2 and math.prod(sizes) <= MOST_ENTRIES
