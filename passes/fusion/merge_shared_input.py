"""Products of one tensor with several weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.convolution import group, kernel, padding, per_axis
from pruna_ir.passes.fusion.parameters import as_float64, not_foldable, unshared
from pruna_ir.passes.fusion.scaled_conv import has_bias
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, op_key, producer
from pruna_ir.remarks import Reason

# Multiplications for each value of a result from which on copying it in a Split is not seen (below 2 %). Measured with
# ONNX Runtime on x86, one thread, time of the separate products over time of the merged one: three products of 64
# columns and 64 rows 0.93, of 192 0.98, of 384 (MiniLM, 16 to 128 tokens) 0.98 to 1.02, of 768 (ViT) 1.00.
_LEAST_PRODUCTS = 192


@dataclass
class _Product:
    """A MatMul, Gemm or Conv with a constant weight, and the Add of a constant bias behind it, if there is one."""

    node: gs.Node
    add: gs.Node | None = None
    bias: gs.Constant | None = None

    @property
    def nodes(self) -> list[gs.Node]:
        return [self.node] if self.add is None else [self.node, self.add]

    @property
    def output(self) -> gs.Tensor:
        return self.nodes[-1].outputs[0]


@dataclass
class _Group:
    """Products of one tensor that can be one, the axis along which their results lie, and who puts these together."""

    products: list[_Product]
    axis: int
    concat: gs.Node | None = None
    sizes: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class MergeSharedInput(Rule):
    """Multiply a tensor once by all weights beside each other: queries, keys and values of an attention layer.

        before   Add(MatMul(x, Q), a)    Add(MatMul(x, K), b)    Add(MatMul(x, V), c)
        after    Split(Add(MatMul(x, [Q K V]), [a b c]))

    Gemms likewise; Convs where one Concat puts the results together again in their order, which needs no Split.

    Does not fire if no node would go, if a sum has fewer than 192 products (a Split would be seen), if a weight is no
    floating-point constant or has other users, or if the products differ in type, attributes or the form of the bias.
    """

    name: ClassVar[str] = "merge-shared-input"
    roots: ClassVar[tuple[str, ...]] = ("MatMul", "Gemm", "Conv")

    def match(self, root: gs.Node) -> Match | None:
        data = root.inputs[0]
        readers = {id(reader): reader for reader in data.outputs}.values()
        alike = [one for one in readers if op_key(one) == root.op and one.inputs[0] is data and _constant_weight(one)]
        if len(alike) < 2 or not any(one is root for one in alike):
            return None
        found = _concatenated(alike) if root.op == "Conv" else _Group([_with_add(one) for one in alike], -1)
        return None if found is None else {"group": found}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        found: _Group = match["group"]
        if found.concat is None:
            found.products = [product for product in found.products if rewriter.owns(product.node)]
        for product in found.products:
            reason = _cannot_merge(product, found, rewriter)
            if reason is not None:
                return reason
        return _pays(found) if found.concat is None else None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        found: _Group = match["group"]
        first = found.products[0].node
        outputs = [product.output for product in found.products]
        writer = producer(first.inputs[0])
        merged = _merged(found, rewriter)
        for product in found.products:
            for node in reversed(product.nodes):
                rewriter.erase(node)
        whole = merged[-1].outputs[0]
        if found.concat is None:
            parts = rewriter.constant(f"{whole.name}_parts", np.array(found.sizes, np.int64))
            merged.append(gs.Node("Split", attrs={"axis": found.axis}, inputs=[whole, parts], outputs=outputs))
        else:
            output = found.concat.outputs[0]
            rewriter.erase(found.concat)
            rewriter.take_over(merged[-1], output)
        for node in reversed(merged):
            rewriter.insert_after(node, writer if writer is not None and rewriter.owns(writer) else None)


def _constant_weight(node: gs.Node) -> bool:
    return isinstance(node.inputs[1], gs.Constant) and (node.op == "Conv" or len(node.inputs[1].shape) == 2)


def _with_add(node: gs.Node) -> _Product:
    """A MatMul or Gemm with its bias, which is one value per column."""
    if node.op == "Gemm":
        return _Product(node, bias=node.inputs[2] if has_bias(node) else None)
    output = node.outputs[0]
    add = output.outputs[0] if len(output.outputs) == 1 else None
    if add is None or op_key(add) != "Add":
        return _Product(node)
    other = next(tensor for tensor in reversed(add.inputs) if tensor is not output)
    fits = isinstance(other, gs.Constant) and tuple(other.shape) == (node.inputs[1].shape[1],)
    return _Product(node, add, other) if fits else _Product(node)


def _concatenated(convs: list[gs.Node]) -> _Group | None:
    """Convs of which one Concat of channels reads all results, and nothing else, in its order."""
    concat = convs[0].outputs[0].outputs[0] if convs[0].outputs[0].outputs else None
    if concat is None or op_key(concat) != "Concat" or concat.attrs["axis"] not in (1, -1 - len(kernel(convs[0]))):
        return None
    writers = {id(conv.outputs[0]): conv for conv in convs}
    order = [writers.get(id(tensor)) for tensor in concat.inputs]
    if len({id(conv) for conv in order}) < len(order):
        return None
    products = [_Product(conv, bias=conv.inputs[2] if has_bias(conv) else None) for conv in order if conv is not None]
    return _Group(products, 1, concat) if len(products) == len(order) > 1 else None


def _cannot_merge(product: _Product, found: _Group, rewriter: Rewriter) -> Reason | None:
    """Why one of the products must stay."""
    node, first, weight = product.node, found.products[0].node, product.node.inputs[1]
    inner = product.nodes if found.concat is not None else product.nodes[:-1]
    reason = next(filter(None, (rewriter.not_internal(one.outputs[0]) for one in inner)), None)
    if reason is None:
        reason = not_foldable([weight, *([] if product.bias is None else [product.bias])])
    if reason is not None:
        return reason
    if not all(rewriter.owns(one) for one in product.nodes):
        return Reason("`{}` is in a sub-graph", node_name(node))
    reason = unshared([weight])
    if reason is not None:
        return reason
    if product.bias is not None and len(product.bias.shape) != 1:
        return Reason("the bias `{}` of shape {} is not one value per column", product.bias.name, product.bias.shape)
    if weight.dtype != first.inputs[1].dtype or _form(node) != _form(first):
        return Reason("`{}` and `{}` differ in more than their weights", node_name(first), node_name(node))
    return None


def _form(node: gs.Node) -> list[object]:
    """All that products must have in common but the number of results."""
    if node.op == "Conv":
        rank = len(kernel(node))
        steps = [per_axis(node, name, rank) for name in ("strides", "dilations")]
        pads = padding(node)
        grouped = id(node) if group(node) > 1 else 1  # groups divide the channels of each for itself
        return [kernel(node), *steps, str(pads), grouped, node.inputs[1].shape[1]]
    return [node.attrs.get(*one) for one in (("transA", 0), ("transB", 0), ("alpha", 1.0), ("beta", 1.0))]


def _pays(found: _Group) -> Reason | None:
    """Why a Split would cost more than it saves."""
    node = found.products[0].node
    columns = 0 if node.attrs.get("transB", 0) else 1
    depth = int(node.inputs[1].shape[1 - columns])
    if depth < _LEAST_PRODUCTS:
        return Reason("a Split costs more than it saves where each value is a sum of {} products", depth)
    found.sizes = [int(product.node.inputs[1].shape[columns]) for product in found.products]
    if node.op == "MatMul" and not all(product.add for product in found.products):
        found.products = [_Product(product.node) for product in found.products]  # the Adds stay behind the Split
    before = sum(len(product.nodes) for product in found.products)
    after = 2 + any(product.add is not None for product in found.products)
    return Reason("{} nodes would become {}", before, after) if after >= before else None


def _merged(found: _Group, rewriter: Rewriter) -> list[gs.Node]:
    """One product with all weights beside each other, and an Add if each has one; the last one has an output."""
    first = found.products[0]
    node = first.node
    axis = 1 if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)) else 0
    weights = [product.node.inputs[1] for product in found.products]
    weight = rewriter.constant(weights[0].name, np.concatenate([one.values for one in weights], axis))
    inputs = [node.inputs[0], weight]
    sizes = [one.shape[axis] for one in weights]
    bias = _bias(found.products, sizes, weights[0].dtype)
    if bias is not None and first.add is None:
        inputs.append(rewriter.constant(f"{weight.name}_bias", bias))
    merged = gs.Node(node.op, name=node.name, attrs=dict(node.attrs), inputs=inputs)
    merged.outputs.append(_wide(node.outputs[0], found.axis, sum(sizes), rewriter))
    if first.add is None or bias is None:
        return [merged]
    stored = rewriter.constant(f"{weight.name}_bias", bias)
    add = gs.Node("Add", name=first.add.name, inputs=[merged.outputs[0], stored])
    add.outputs.append(_wide(first.output, found.axis, sum(sizes), rewriter))
    return [merged, add]


def _bias(products: Sequence[_Product], sizes: list[int], dtype: np.dtype) -> np.ndarray | None:
    """The biases one behind the other, zeros for those that have none; None if all have none."""
    if all(product.bias is None for product in products):
        return None
    parts = (
        np.zeros(size) if product.bias is None else np.broadcast_to(as_float64(product.bias), (size,))
        for product, size in zip(products, sizes, strict=True)
    )
    return np.concatenate(list(parts)).astype(dtype)


def _wide(like: gs.Tensor, axis: int, size: int, rewriter: Rewriter) -> gs.Variable:
    """A tensor as one of the results, but with all columns."""
    shape = None if like.shape is None else list(like.shape)
    if shape is not None:
        shape[axis] = size
    return rewriter.variable(like.name, like.dtype, shape)
