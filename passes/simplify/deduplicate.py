"""Storing and computing the same thing once."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from pruna_ir.model.collection import collection_paused
from pruna_ir.model.scoping import graphs_of
from pruna_ir.passes.simplify.purity import QUANTIZATION_OPS, is_pure
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import redirect, remove_nodes

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# Constants that differ do so early: a hash of their first bytes spares reading the rest of most weights.
_PROBE_BYTES = 4096
# Operators of two operands that may stand in either order; not Max and Min, where NaN may tell them apart.
_COMMUTATIVE = frozenset(
    {"Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Mean", "Mul", "Or", "Sum", "Xor"}
)
# Attributes that have their default where every element has this value: their schemas cannot say it.
_FILLED: Mapping[str, int] = {"dilations": 1, "pads": 0, "strides": 1}


@dataclass(frozen=True)
class Deduplicate(Pass):
    """Share equal constants, and compute equal nodes once.

        before   x -> Sigmoid -> a     x -> Sigmoid -> b     Mul(a, b) -> y
        after    x -> Sigmoid -> a     Mul(a, a) -> y

    Constants are equal when their type, shape and bytes are; nodes when operator, attributes and inputs are. It makes
    no difference whether an attribute that has its default is written, nor in which order a sum or a product of two
    reads. Common subexpressions of any depth merge in one walk, by value numbering (Alpern, Wegman, Zadeck 1988). The
    names of graph outputs stay.

    Does not fire on random operators, on control flow, on foreign domains, on DequantizeLinear and its kin, which
    runtimes fuse with their readers, nor where both nodes write outputs of the graph. Each sub-graph is deduplicated
    on its own.
    """

    name: ClassVar[str] = "deduplicate"
    effect: ClassVar[Effect] = Effect.EXACT

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        with collection_paused():  # the keys of thousands of nodes are no garbage
            for graph in graphs_of(model.graph):
                shared = _share_constants(graph)
                if shared:
                    result.count("constants shared", shared)
                merged = _ValueNumbering(graph, model.opset).run()
                if merged:
                    result.count("nodes merged", merged)
        return result


def _share_constants(graph: gs.Graph) -> int:
    """Redirect the readers of every constant to the first equal one; the number of constants that went."""
    outputs = {id(tensor) for tensor in graph.outputs}
    constants = {
        id(tensor): tensor
        for node in graph.nodes
        for tensor in node.inputs
        if isinstance(tensor, gs.Constant) and not isinstance(tensor._values, SparseValues)
    }
    shared = 0
    for group in _equal(constants.values()):
        kept = next((tensor for tensor in group if id(tensor) in outputs), group[0])
        for tensor in group:
            if tensor is not kept and id(tensor) not in outputs:
                redirect(tensor, kept)
                shared += 1
    return shared


def _equal(constants: Iterable[gs.Constant]) -> list[list[gs.Constant]]:
    """Groups of two or more equal constants, told apart by what costs least first."""
    groups = [list(constants)]
    for key in (_type_key, _probe_key, _content_key):
        split: dict[tuple[int, Hashable], list[gs.Constant]] = {}
        for index, group in enumerate(groups):
            for tensor in group:
                split.setdefault((index, key(tensor)), []).append(tensor)
        groups = [group for group in split.values() if len(group) > 1]
    return groups


def _type_key(tensor: gs.Constant) -> Hashable:
    return str(tensor.dtype), str(tensor.export_dtype), tuple(tensor.shape)


def _probe_key(tensor: gs.Constant) -> Hashable:
    return _bytes(tensor)[:_PROBE_BYTES].tobytes()


def _content_key(tensor: gs.Constant) -> Hashable:
    return hashlib.blake2b(_bytes(tensor).data, digest_size=16).digest()


def _bytes(tensor: gs.Constant) -> np.ndarray:
    """The values' bytes, flat; without a copy where the file has them in one piece."""
    values = tensor._values
    if isinstance(values, LazyValues) and values.tensor.HasField("raw_data"):
        return np.frombuffer(values.tensor.raw_data, np.uint8)
    array = tensor.values
    if array.dtype == object:
        return np.frombuffer(repr(array.tolist()).encode(), np.uint8)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


@dataclass
class _ValueNumbering:
    """One walk over a graph that gives equal tensors equal numbers, and merges the nodes that write them."""

    graph: gs.Graph
    opset: int
    numbers: dict[int, int] = field(default_factory=dict)
    first: dict[Hashable, gs.Node] = field(default_factory=dict)
    # Tensors are numbered by identity, so those that fall out of the graph must live as long as the numbers.
    retired: list[gs.Tensor] = field(default_factory=list)

    def run(self) -> int:
        """Merge; the number of nodes that went."""
        outputs = {id(tensor) for tensor in self.graph.outputs}
        merged = []
        for node in self.graph.nodes:
            if not is_pure(node) or node.op in QUANTIZATION_OPS:
                continue
            twin = self.first.setdefault(self._key(node), node)
            if twin is not node and self._merge(node, twin, outputs):
                merged.append(node)
        remove_nodes(self.graph, merged)
        return len(merged)

    def _key(self, node: gs.Node) -> Hashable:
        inputs = [-1 if tensor.is_empty() else self._number(tensor) for tensor in node.inputs]
        while inputs and inputs[-1] == -1:
            inputs.pop()
        if node.op in _COMMUTATIVE and len(inputs) == 2:
            inputs.sort()
        attributes = tuple(sorted(self._attributes(node)))
        written = tuple(not tensor.is_empty() for tensor in node.outputs)
        return node.op, tuple(inputs), attributes, written

    def _attributes(self, node: gs.Node) -> Iterator[tuple[str, str]]:
        """The attributes of a node that do not have their defaults."""
        defaults = _defaults(node.op, self.opset) if node.attrs else {}
        for name, value in node.attrs.items():
            key = _attribute_key(value)
            if key != defaults.get(name) and not (name in _FILLED and all(one == _FILLED[name] for one in value)):
                yield name, key

    def _number(self, tensor: gs.Tensor) -> int:
        return self.numbers.setdefault(id(tensor), len(self.numbers))

    def _merge(self, node: gs.Node, twin: gs.Node, outputs: set[int]) -> bool:
        """Let the readers of `node` read `twin`, which stands before it."""
        pairs = list(zip(node.outputs, twin.outputs, strict=True))
        if any(id(mine) in outputs and id(other) in outputs for mine, other in pairs):
            return False
        for index, (mine, other) in enumerate(pairs):
            if mine.is_empty():
                continue
            self.numbers[id(mine)] = self._number(other)
            self.retired += [mine, other]
            if id(mine) in outputs:
                list.clear(mine.inputs)
                list.__setitem__(node.outputs, index, gs.Variable.empty())
                twin.outputs[index] = mine
                redirect(other, mine)
            else:
                redirect(mine, other)
        return True


@cache
def _defaults(op: str, opset: int) -> dict[str, str]:
    """The defaults of an operator's attributes."""
    if not onnx.defs.has(op, opset):
        return {}
    stated = {name: item.default_value for name, item in onnx.defs.get_schema(op, opset).attributes.items()}
    values = {name: onnx.helper.get_attribute_value(item) for name, item in stated.items() if item.type}
    return {
        name: _attribute_key(value.decode() if isinstance(value, bytes) else value) for name, value in values.items()
    }


def _attribute_key(value: object) -> str:
    if isinstance(value, gs.Constant):
        return f"{_type_key(value)}{_content_key(value)!r}"
    return f"{type(value).__name__}{value!r}"
