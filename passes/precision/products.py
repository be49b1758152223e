"""Matrix products with constant weights, in one form whatever operator and layout they were written in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.precision.half_types import is_float
from pruna_ir.remarks import Reason

_STANDARD_DOMAINS = (None, "", "ai.onnx")


@dataclass(frozen=True)
class Product:
    """A node that computes `input 0 @ matrix`, where its `weight` is the matrix or the transpose of it."""

    node: gs.Node
    weight: gs.Constant
    transposed: bool = False

    @property
    def matrix(self) -> np.ndarray:
        """The weights as [inputs, outputs]."""
        return np.asarray(self.weight.values.T if self.transposed else self.weight.values)


@dataclass(frozen=True)
class Lookup:
    """A Gather of rows of a constant table [rows, ...]."""

    node: gs.Node
    weight: gs.Constant


Use = Product | Lookup


def use_of(node: gs.Node) -> Use | Reason | None:
    """The use of a constant weight that a node is, why it is none that integers can serve, or None for any
    other node: products of two computed tensors are none."""
    make = _USES.get(node.op) if node.domain in _STANDARD_DOMAINS else None
    return None if make is None else make(node)


def alone_in_float(uses: Iterable[Use], graph: gs.Graph) -> tuple[list[Use], list[tuple[gs.Node, Reason]]]:
    """The uses of weights that nobody needs in float, and the others with the reason: stored twice they take more."""
    uses = list(uses)
    counts = Counter(id(use.weight) for use in uses)
    outputs = {id(tensor) for tensor in graph.outputs}
    kept, refused = [], []
    for use in uses:
        weight = use.weight
        if id(weight) in outputs or len(weight.outputs) != counts[id(weight)]:
            refused.append((use.node, Reason("its weight `{}` is needed in float as well", weight.name)))
        else:
            kept.append(use)
    return kept, refused


def _matmul(node: gs.Node) -> Product | Reason | None:
    first, second = node.inputs
    if not isinstance(second, gs.Constant):
        return Reason("its constant `{}` is the first factor", first.name) if isinstance(first, gs.Constant) else None
    return _unfit(second, rank=2) or Product(node, second)


def _gemm(node: gs.Node) -> Product | Reason | None:
    weight = node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return None
    if node.attrs.get("transA", 0):
        return Reason("its first factor is transposed")
    return _unfit(weight, rank=2) or Product(node, weight, bool(node.attrs.get("transB", 0)))


def _gather(node: gs.Node) -> Lookup | Reason | None:
    table = node.inputs[0]
    if not isinstance(table, gs.Constant) or not is_float(table):
        return None  # most Gathers take from computed tensors or shapes
    if node.attrs.get("axis", 0) != 0 or len(table.shape) < 2:
        return Reason("it does not take rows of a table")
    return _unfit(table) or Lookup(node, table)


# The operators that are products.
PRODUCTS = ("MatMul", "Gemm")
_USES = {"MatMul": _matmul, "Gemm": _gemm, "Gather": _gather}


def _unfit(weight: gs.Constant, rank: int | None = None) -> Reason | None:
    if not is_float(weight):
        return Reason("its weight `{}` is {}, not float32", weight.name, weight.dtype)
    if rank is not None and len(weight.shape) != rank:
        return Reason("its weight `{}` has {} dimensions, not {}", weight.name, len(weight.shape), rank)
    if 0 in weight.shape or not np.isfinite(weight.values).all():
        return Reason("its weight `{}` is empty or not finite", weight.name)
    return None
