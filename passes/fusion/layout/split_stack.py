"""Reshape -> Transpose -> one Gather per index of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.permutations import is_identity, permutation
from pruna_ir.passes.fusion.no_operations import values
from pruna_ir.passes.fusion.static_shapes import RESHAPES
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, op_key, producer
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class SplitStack(Rule):
    """Split queries, keys and values where they lie instead of stacking them along an axis of their own first.

        before   q, k, v = Gather(t, 0 | 1 | 2)     t = Transpose(Reshape(x, [B,T,3,H,D]), [2,0,3,1,4])
        after    q, k, v = Split(Transpose(Reshape(x, [B,T,3*H,D]), [0,2,1,3]), axis 1)

    The stacked axis is joined with the one behind it. A Reshape or Transpose that then does nothing is left out. A
    Split into parts of size 1 along the axis is treated like the Gathers.

    Does not fire if a tensor on the way is an output of the graph or has other users, if not every index is read once
    by a constant, if the new shape cannot be written as a constant, or if the stacked axis is the last one.
    """

    name: ClassVar[str] = "split-stack"
    roots: ClassVar[tuple[str, ...]] = ("Gather", "Split")

    def match(self, root: gs.Node) -> Match | None:
        stacked = root.inputs[0]
        if op_key(root) == "Gather" and stacked.outputs and stacked.outputs[0] is not root:
            return None  # the first of them is the root
        chain = _chain(stacked)
        if chain is None:
            return None
        pieces = _gathered(stacked) if op_key(root) == "Gather" else _split(root)
        return None if pieces is None else {"root": root, "chain": chain, "pieces": pieces}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        root, chain = match["root"], match["chain"]
        for node in chain:
            for tensor in node.outputs:
                readers = 1 if node is not chain[-1] else len(tensor.outputs)
                if rewriter.is_output(tensor):
                    return Reason("`{}` is an output of the graph", tensor.name)
                if len(tensor.outputs) != readers:
                    return Reason("`{}` has {} users", tensor.name, len(tensor.outputs))
                if not rewriter.owns(node) or not all(map(rewriter.owns, tensor.outputs)):
                    return Reason("`{}` enters a sub-graph", tensor.name)
        writers = [node for tensor in match["pieces"] for node in tensor.inputs]
        inner = [tensor for node in writers if node.op == "Squeeze" for tensor in node.inputs[:1]]
        reason = next(filter(None, map(rewriter.not_internal, inner)), None)
        if reason is not None:
            return reason
        axis = root.attrs.get("axis", 0) % len(root.inputs[0].shape)
        keep_unit = op_key(root) == "Split" and match["pieces"][0].inputs[0] is root
        plan = _plan(chain, axis, keep_unit=keep_unit)
        if isinstance(plan, Reason):
            return plan
        match["plan"] = plan
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        chain, pieces, plan = match["chain"], match["pieces"], match["plan"]
        data = chain[0].inputs[0]
        made: list[gs.Node] = []
        if not _same(data.shape, plan):
            target = rewriter.constant(f"{data.name}_shape", np.array(plan.target, np.int64))
            made.append(gs.Node("Reshape", inputs=[data, target]))
            data = _output(made[-1], plan.shape, rewriter)
        if not is_identity(plan.order):
            made.append(gs.Node("Transpose", attrs={"perm": plan.order}, inputs=[data]))
            data = _output(made[-1], [plan.shape[axis] for axis in plan.order], rewriter)
        parts = rewriter.constant(f"{data.name}_parts", np.full(len(pieces), plan.size, np.int64))
        split = gs.Node("Split", name=match["root"].name, attrs={"axis": plan.axis}, inputs=[data, parts])
        writers = {id(node): node for tensor in pieces for node in tensor.inputs}
        for node in [*writers.values(), match["root"]]:
            if not rewriter.is_erased(node):
                rewriter.erase(node)
        split.outputs.extend(pieces)
        for node in [split, *reversed(made)]:
            rewriter.insert_after(node, chain[-1])
        rewriter.erase_unread(chain[-1].outputs[0])


def _same(shape: Sequence[int | str | None], plan: _Plan) -> bool:
    """Whether a Reshape to the planned shape would do nothing."""
    if len(shape) != len(plan.target):
        return False
    open_sizes = sum(not isinstance(size, int) for size in shape)
    pairs = zip(shape, plan.target, strict=True)
    return all(
        wanted in (0, size) or (wanted == -1 and open_sizes == 1 and not isinstance(size, int))
        for size, wanted in pairs
    )


def _output(node: gs.Node, shape: list[int | str | None], rewriter: Rewriter) -> gs.Variable:
    """Give a node an output named and typed after its first input."""
    tensor = rewriter.variable(node.inputs[0].name, node.inputs[0].dtype, shape)
    node.outputs.append(tensor)
    return tensor


def _chain(tensor: gs.Tensor) -> list[gs.Node] | None:
    """The nodes that stack: a Reshape, maybe a Transpose, and maybe then a Squeeze; all ranks known."""
    chain: list[gs.Node] = []
    for ops in (("Squeeze",), ("Transpose",), RESHAPES):
        node = producer(tensor, *ops)
        if node is None and ops is not RESHAPES:
            continue
        if node is None or node.inputs[0].shape is None or node.outputs[0].shape is None:
            return None
        chain.insert(0, node)
        tensor = node.inputs[0]
    return chain


def _gathered(stacked: gs.Tensor) -> list[gs.Tensor] | None:
    """What one Gather per index reads of a tensor along one axis, in the order of the indices."""
    readers, found = list(stacked.outputs), dict[int, gs.Tensor]()
    if any(op_key(reader) != "Gather" or reader.inputs[0] is not stacked for reader in readers):
        return None
    axes = {reader.attrs.get("axis", 0) % len(stacked.shape) for reader in readers}
    if len(axes) != 1:
        return None
    size = stacked.shape[axes.pop()]
    if not isinstance(size, int):
        return None
    for reader in readers:
        index = values(reader, 1)
        if index is None or index.ndim != 0:
            return None
        found[int(index) % size] = reader.outputs[0]
    return [found[index] for index in range(size)] if len(found) == len(readers) == size > 1 else None


def _split(split: gs.Node) -> list[gs.Tensor] | None:
    """What a Split into parts of size 1 writes, or what one Squeeze for each of them makes of it."""
    axis = split.attrs.get("axis", 0)
    if len(split.outputs) != split.inputs[0].shape[axis] or len(split.outputs) < 2:
        return None
    readers = [tensor.outputs[0] if len(tensor.outputs) == 1 else None for tensor in split.outputs]
    squeezed = [reader.outputs[0] for reader in readers if reader is not None and _removes(reader, axis)]
    return squeezed if len(squeezed) == len(readers) else list(split.outputs)


def _removes(node: gs.Node, axis: int) -> bool:
    """Whether a node is a Squeeze of one axis and no other."""
    axes, shape = values(node, 1), node.inputs[0].shape
    return (
        op_key(node) == "Squeeze"
        and axes is not None
        and [int(one) % len(shape) for one in axes] == [axis % len(shape)]
    )


@dataclass(frozen=True)
class _Plan:
    """The shape that the Reshape gives, and how it is written, the order of the Transpose, and the Split's axis."""

    shape: list[int | str | None]
    target: list[int]
    order: list[int]
    axis: int
    size: int


def _plan(chain: list[gs.Node], axis: int, *, keep_unit: bool) -> _Plan | Reason:
    """How to split without stacking: every axis of the stacked tensor is one of what the Reshape writes."""
    stacked = chain[-1].outputs[0]
    shape = list(chain[0].outputs[0].shape)
    order = list(range(len(shape)))
    for node in chain[1:]:
        if op_key(node) == "Transpose":
            order = permutation(node) or order
        else:
            axes = values(node, 1)
            gone = {int(one) % len(order) for one in axes} if axes is not None else set[int]()
            order = [one for place, one in enumerate(order) if place not in gone]
    if len(order) != len(stacked.shape):
        return Reason("`{}` removes axes that are not named", stacked.name)
    stack = order[axis]
    if stack + 1 not in order:
        return Reason("the axis that `{}` is stacked along is not before another one", stacked.name)
    count, size = shape[stack : stack + 2]
    if not isinstance(count, int) or not isinstance(size, int):
        return Reason("the axis behind the one that `{}` is stacked along is not known as a number", stacked.name)
    shape[stack], shape[stack + 1] = 1, count * size
    if not keep_unit:
        order.remove(stack)
    kept = sorted(order)
    target = _target(chain[0], shape, kept)
    if target is None:
        return Reason("the shape of `{}` cannot be written as a constant", chain[0].outputs[0].name)
    renumbered = [kept.index(one) for one in order]
    return _Plan([shape[one] for one in kept], target, renumbered, order.index(stack + 1), size)


def _target(reshape: gs.Node, shape: list[int | str | None], kept: list[int]) -> list[int] | None:
    """What to reshape to: sizes that are no numbers are left open, or copied, as the Reshape does now."""
    written = values(reshape, 1) if reshape.op == "Reshape" else None
    target = []
    for place, axis in enumerate(kept):
        size = shape[axis]
        if not isinstance(size, int):
            size = None if written is None or reshape.attrs.get("allowzero", 0) else int(written[axis])
            if size is None or (size == 0 and place != axis):
                return None
        target.append(size)
    return target if target.count(-1) < 2 else None
