"""Computing now what does not depend on the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import SparseValues

from pruna_ir.model.invariants import node_name
from pruna_ir.model.scoping import graphs_of
from pruna_ir.passes.simplify.evaluate import Failures, evaluate
from pruna_ir.passes.simplify.purity import QUANTIZATION_OPS, STANDARD_DOMAINS, is_pure
from pruna_ir.passes.simplify.shapes.refine import refine_shapes
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import redirect, remove_nodes
from pruna_ir.remarks import Reason, Remark, RemarkKind

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context

# The counts after which inference may know more shapes.
_TELL_SHAPES = frozenset({"shapes folded", "nodes folded"})

# A constant up to this size takes no more room than the Constant node that held it.
_TINY = 64

_CONSTANT_FORMS: Mapping[str, Callable[[Any], np.ndarray]] = {
    "value_float": lambda value: np.array(value, np.float32),
    "value_floats": lambda value: np.array(value, np.float32),
    "value_int": lambda value: np.array(value, np.int64),
    "value_ints": lambda value: np.array(value, np.int64),
}


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace nodes that depend on constants and static shapes only by the constants that they compute.

        before   x[1,3,8,8] -> Shape -> Gather(index 1) -> Mul(2) -> n     Reshape(x, n) -> y
        after    Reshape(x, [6]) -> y

    ONNX Runtime computes all of them at once, with its optimizations off. Constant nodes become initializers. The
    Shape of a tensor counts as constant when the dimensions that it reads are numbers. CastLike becomes a Cast where
    the type is known.

    Does not fire on random operators, on QuantizeLinear and its kin (folding them would undo a quantization), on
    foreign domains, on outputs of the graph, on strings, where the result would need more than `max-growth` bytes above
    the constants that it frees (Expand and Tile of small constants), nor where sub-graphs read it, each of which would
    store a copy. Nodes with sub-graphs are barriers; inside of a sub-graph its own nodes are folded.
    """

    name: ClassVar[str] = "fold-constants"
    effect: ClassVar[Effect] = Effect.EXACT

    max_growth: int = option(1024, "bytes that folding one node may add to the file", low=0)

    def run(self, model: Model, context: Context) -> PassResult:
        result = PassResult()
        while True:
            done = self._round(model)
            result.remarks = done.remarks  # the last round knows most
            for what, times in done.counts.items():
                result.count(what, times)
            # What is constant now may be the shape that a Reshape gives, and then of all behind it.
            if not done.counts.keys() & _TELL_SHAPES or not _has_open_shapes(model) or not refine_shapes(model):
                return result

    def _round(self, model: Model) -> PassResult:
        """Fold what is constant by what is known of the shapes."""
        done = PassResult()
        for graph in graphs_of(model.graph):
            folder = _Folder(graph, self.max_growth, done)
            folder.inline_constants()
            folder.resolve_casts()
            folder.fold_shapes()
            folder.fold_nodes(model)
        return done


class _Folder:
    """Folds the nodes of one graph, not of the graphs inside of it."""

    def __init__(self, graph: gs.Graph, max_growth: int, result: PassResult) -> None:
        self.graph, self.max_growth, self.result = graph, max_growth, result
        self.outputs = {id(tensor) for tensor in graph.outputs}
        self.own = {id(node) for node in graph.nodes}

    def inline_constants(self) -> None:
        """Turn Constant nodes into constants."""
        folded = []
        for node in self.graph.nodes:
            if node.op != "Constant" or node.domain not in STANDARD_DOMAINS or id(node.outputs[0]) in self.outputs:
                continue
            constant = _constant(node)
            if constant is None:
                continue
            reason = self._copied(node.outputs[0], constant._values.nbytes)
            if reason is not None:
                self._miss(node, reason)
                continue
            redirect(node.outputs[0], constant)
            folded.append(node)
        self._remove(folded, "Constant nodes inlined")

    def resolve_casts(self) -> None:
        """Turn CastLike into Cast where the type is known: what it reads besides need not be computed for it."""
        for node in self.graph.nodes:
            if node.op != "CastLike" or node.domain not in STANDARD_DOMAINS or not _is_numeric(node.inputs[1].dtype):
                continue
            dtype = node.inputs[1].dtype
            if dtype is not None and not node.attrs.keys() - {"saturate", "round_mode"}:
                node.op, node.attrs = (
                    "Cast",
                    {**node.attrs, "to": onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))},
                )
                del node.inputs[1]
                self.result.count("CastLike resolved")

    def fold_shapes(self) -> None:
        """Fold Shape and Size of tensors whose dimensions are known, though their values are not."""
        folded = []
        for node in self.graph.nodes:
            if node.op not in ("Shape", "Size") or id(node.outputs[0]) in self.outputs:
                continue
            value = _static_shape(node) if node.domain in STANDARD_DOMAINS else None
            if value is not None:
                redirect(node.outputs[0], gs.Constant(node.outputs[0].name, value))
                folded.append(node)
        self._remove(folded, "shapes folded")

    def fold_nodes(self, model: Model) -> None:
        """Compute the nodes that depend on constants only."""
        candidates = self._candidates()
        if not candidates:
            return
        values, failures = evaluate(candidates, model)
        folded = []
        for node in candidates:
            if not all(isinstance(tensor, gs.Constant) for tensor in node.inputs if not tensor.is_empty()):
                continue  # something before it was not folded after all
            reason = self._refusal(node, values, failures)
            if reason is not None:
                self._miss(node, reason)
                continue
            for tensor in node.outputs:
                if not tensor.is_empty():
                    redirect(tensor, gs.Constant(tensor.name, values[tensor.name]))
            folded.append(node)
        self._remove(folded, "nodes folded")

    def _candidates(self) -> list[gs.Node]:
        """Nodes that can be computed, in order: those whose inputs are constants or written by such nodes."""
        known: set[int] = set()
        found = []
        for node in self.graph.nodes:
            if node.op in QUANTIZATION_OPS or node.op == "Constant" or not is_pure(node):
                continue
            inputs = [tensor for tensor in node.inputs if not tensor.is_empty()]
            if not all(isinstance(tensor, gs.Constant) or id(tensor) in known for tensor in inputs):
                continue
            reason = self._unfit(node)
            if reason is None:
                reason = self._growth(node, {tensor.name: _bytes(tensor) for tensor in node.outputs})
            if reason is not None:
                self._miss(node, reason)
                continue
            known.update(id(tensor) for tensor in node.outputs)
            found.append(node)
        return found

    def _unfit(self, node: gs.Node) -> Reason | None:
        """Why the results cannot be constants."""
        for tensor in node.outputs:
            if id(tensor) in self.outputs:
                return Reason("`{}` is an output of the graph", tensor.name)
        for tensor in [*node.inputs, *node.outputs]:
            if not tensor.is_empty() and not _is_numeric(tensor.dtype):
                return Reason("`{}` holds {}, which cannot be computed here", tensor.name, tensor.dtype)
        return None

    def _refusal(self, node: gs.Node, values: dict[str, np.ndarray], failures: Failures) -> Reason | None:
        """Why a node must stay, now that its values are known."""
        if id(node) in failures:
            return Reason("ONNX Runtime cannot compute it: {}", failures[id(node)])
        sizes = {tensor.name: values[tensor.name].nbytes for tensor in node.outputs if not tensor.is_empty()}
        for tensor in node.outputs:
            reason = self._copied(tensor, sizes.get(tensor.name, 0))
            if reason is not None:
                return reason
        return self._growth(node, sizes)

    def _copied(self, tensor: gs.Tensor, size: int) -> Reason | None:
        """A reason if sub-graphs read the tensor: each of them would store the constant for itself."""
        if size <= _TINY or all(id(reader) in self.own for reader in tensor.outputs):
            return None
        return Reason("a sub-graph reads `{}` and would store a copy of {:,} bytes", tensor.name, size)

    def _growth(self, node: gs.Node, sizes: dict[str, int]) -> Reason | None:
        """A reason if the node's results need too much room. Sizes that are not known yet count as nothing."""
        added = sum(sizes.get(tensor.name, 0) for tensor in node.outputs if not tensor.is_empty())
        inputs = {id(tensor): tensor for tensor in node.inputs if not tensor.is_empty()}.values()
        # An input that is not computed yet counts as freed: it will be a constant that only this node reads.
        freed = sum(_bytes(tensor) for tensor in inputs if all(reader is node for reader in tensor.outputs))
        if added - freed <= self.max_growth:
            return None
        return Reason("the result would add {:,} bytes (`max-growth` is {:,})", added - freed, self.max_growth)

    def _miss(self, node: gs.Node, reason: Reason) -> None:
        self.result.remarks.append(Remark(RemarkKind.MISSED, FoldConstants.name, node_name(node), reason))

    def _remove(self, nodes: list[gs.Node], what: str) -> None:
        if nodes:
            remove_nodes(self.graph, nodes)
            self.result.count(what, len(nodes))


def _constant(node: gs.Node) -> gs.Constant | None:
    """The tensor that a Constant node holds, under its output's name; None for strings and sparse tensors."""
    name = node.outputs[0].name
    for form, value in node.attrs.items():
        if form == "value" and isinstance(value, gs.Constant) and not isinstance(value._values, SparseValues):
            return gs.Constant(name, value._values)
        if form in _CONSTANT_FORMS:
            return gs.Constant(name, _CONSTANT_FORMS[form](value))
    return None


def _has_open_shapes(model: Model) -> bool:
    """Whether there is a tensor of which not all dimensions are numbers."""
    graphs = graphs_of(model.graph)
    written = (tensor for graph in graphs for node in graph.nodes for tensor in node.outputs if not tensor.is_empty())
    return any(tensor.shape is None or not all(isinstance(dim, int) for dim in tensor.shape) for tensor in written)


def _static_shape(node: gs.Node) -> np.ndarray | None:
    """What Shape or Size gives, if the dimensions that it reads are numbers."""
    shape = node.inputs[0].shape
    if shape is None:
        return None
    dims = list(shape)[node.attrs.get("start", 0) : node.attrs.get("end")] if node.op == "Shape" else list(shape)
    if any(not isinstance(dim, int) or dim < 0 for dim in dims):
        return None
    return np.array(dims if node.op == "Shape" else np.prod(dims, dtype=np.int64), np.int64)


def _is_numeric(dtype: Any) -> bool:
    """Whether NumPy has the type: others (bfloat16, 8-bit floats) are numbers of ONNX's in graphsurgeon."""
    return dtype is None or (not isinstance(dtype, int) and np.dtype(dtype).kind in "biufc")


def _bytes(tensor: gs.Tensor) -> int:
    """Bytes of a tensor's values; 0 where type or shape are not known."""
    if tensor.dtype is None or tensor.shape is None or any(not isinstance(dim, int) for dim in tensor.shape):
        return 0
    return int(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize)
