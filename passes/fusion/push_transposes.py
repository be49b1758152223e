"""Transpose -> elementwise nodes -> the Transpose back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.bypass import bypass, erase_unread
from pruna_ir.passes.fusion.permutations import composed, is_identity, permutation
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, op_key, producer
from pruna_ir.remarks import Reason

# Elementwise operators of one tensor; further inputs (the limits of Clip) are scalars.
_UNARY = frozenset(
    {
        "Abs", "Cast", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
        "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin",
        "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip
# Elementwise operators that broadcast all of their inputs.
_BROADCASTING = frozenset(
    {
        "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod",
        "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
    }
)  # fmt: skip
# A walk stops after this many nodes, lest a chain of a thousand be walked from every Transpose behind it.
_MOST_NODES = 32
# A constant that others read too is copied up to this size.
_MOST_COPIED_BYTES = 1024


@dataclass
class _Region:
    """Elementwise nodes between Transposes, by identity, and what they read that is not computed in there."""

    nodes: dict[int, gs.Node] = field(default_factory=dict)
    leaves: dict[int, gs.Node] = field(default_factory=dict)
    obstacle: Reason | None = None


@dataclass(frozen=True)
class PushTransposes(Rule):
    """Remove a Transpose that undoes those before some elementwise nodes, which then work on the other layout.

        before   Transpose(Mul(Sigmoid(t), t), q)     t = Transpose(x, p), where q undoes p
        after    Mul(Sigmoid(x), x)

    Constants that are broadcast are transposed with them. The Transposes before the nodes stay for others who read
    them.

    Does not fire if one operand is neither transposed the same way nor a constant, if a tensor between the Transposes
    is an output of the graph or read by others, or if a large constant that others read would be stored twice.
    """

    name: ClassVar[str] = "push-transposes"
    roots: ClassVar[tuple[str, ...]] = ("Transpose",)

    def match(self, root: gs.Node) -> Match | None:
        order, last = permutation(root), producer(root.inputs[0], *_UNARY, *_BROADCASTING)
        if order is None or last is None:
            return None
        region = _collect(last, order)
        return {"root": root, "region": region, "order": order} if region.leaves else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        region: _Region = match["region"]
        root = match["root"]
        if region.obstacle is not None:
            return region.obstacle
        for node in region.nodes.values():
            reason = _needed(node, {*region.nodes, id(root)}, rewriter)
            if reason is not None:
                return reason
            for tensor in _operands(node):
                reason = _shared(tensor, region) if isinstance(tensor, gs.Constant) else None
                if reason is not None:
                    return reason
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        root, region, order = match["root"], match["region"], match["order"]
        moved: dict[int, gs.Constant] = {}
        for node in region.nodes.values():
            for index, tensor in enumerate(_operands(node)):
                if isinstance(tensor, gs.Constant):
                    if np.prod(tensor.shape) != 1:
                        if id(tensor) not in moved:
                            moved[id(tensor)] = rewriter.constant(tensor.name, _transposed(tensor.values, order))
                        rewriter.set_input(node, index, moved[id(tensor)])
                elif id(tensor) in region.leaves:
                    rewriter.set_input(node, index, region.leaves[id(tensor)].inputs[0])
            for output in node.outputs:
                output.shape = None if output.shape is None else [output.shape[axis] for axis in order]
        bypass(root, root.inputs[0], rewriter)
        for leaf in region.leaves.values():
            if not rewriter.is_erased(leaf):
                erase_unread(leaf, rewriter)


def _operands(node: gs.Node) -> list[gs.Tensor]:
    """The inputs of an elementwise node that have its layout."""
    return list(node.inputs[:1] if node.op in _UNARY else node.inputs)


def _collect(last: gs.Node, order: list[int]) -> _Region:
    """The elementwise nodes that lead to `last`, as far as the Transposes that `order` undoes."""
    region, waiting = _Region(), [last]
    while waiting:
        node = waiting.pop()
        if id(node) in region.nodes:
            continue
        region.nodes[id(node)] = node
        if len(region.nodes) > _MOST_NODES:
            region.obstacle = Reason("more than {} nodes stand between the Transposes", _MOST_NODES)
            return region
        for tensor in _operands(node):
            writer = producer(tensor)
            before = permutation(writer) if writer is not None and op_key(writer) == "Transpose" else None
            if isinstance(tensor, gs.Constant):
                continue
            if before is not None and len(before) == len(order) and is_identity(composed(before, order)):
                region.leaves[id(tensor)] = writer
            elif writer is not None and op_key(writer) in _UNARY | _BROADCASTING and _has_rank(tensor, len(order)):
                waiting.append(writer)
            elif region.obstacle is None:
                region.obstacle = Reason("`{}` is not transposed by an order that {} undoes", tensor.name, order)
    return region


def _has_rank(tensor: gs.Tensor, rank: int) -> bool:
    """Whether a tensor has as many dimensions as the Transpose, and is not computed from constants alone."""
    return tensor.shape is not None and len(tensor.shape) == rank


def _needed(node: gs.Node, inside: set[int], rewriter: Rewriter) -> Reason | None:
    """Why the layout of a node must stay."""
    output = node.outputs[0]
    if not rewriter.owns(node):
        return Reason("`{}` is computed outside of the sub-graph that reads it", output.name)
    if rewriter.is_output(output):
        return Reason("`{}` is an output of the graph", output.name)
    other = next((reader for reader in output.outputs if id(reader) not in inside), None)
    return Reason("`{}` is read by `{}` too", output.name, node_name(other)) if other is not None else None


def _shared(constant: gs.Constant, region: _Region) -> Reason | None:
    """Why a constant cannot change its layout."""
    shared = any(id(reader) not in region.nodes for reader in constant.outputs)
    if shared and constant.values.nbytes > _MOST_COPIED_BYTES:
        return Reason("`{}` has other users, and would be stored twice", constant.name)
    return None


def _transposed(values: np.ndarray, order: list[int]) -> np.ndarray:
    """A constant that is broadcast to the rank of the Transpose, in the new layout."""
    return np.asarray(values).reshape((1,) * (len(order) - np.ndim(values)) + np.shape(values)).transpose(order)
