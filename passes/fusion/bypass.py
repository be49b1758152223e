"""Removing a node whose output is a tensor that is there already."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import Reason


def cannot_bypass(target: gs.Tensor, source: gs.Tensor, rewriter: Rewriter) -> Reason | None:
    """Why the readers of `target` cannot read `source`: only a graph output, whose name must stay, can forbid it."""
    if not rewriter.is_output(target):
        return None
    if rewriter.is_output(source):
        return Reason("`{}` and `{}` are both outputs of the graph", source.name, target.name)
    if isinstance(source, gs.Constant):
        return Reason("the output `{}` is the constant `{}`", target.name, source.name)
    if not source.inputs:
        return Reason("the output `{}` is the input `{}`", target.name, source.name)
    if not rewriter.owns(source.inputs[0]):
        return Reason("the output `{}` is `{}`, which the outer graph computes", target.name, source.name)
    return None


def bypass(node: gs.Node, source: gs.Tensor, rewriter: Rewriter) -> None:
    """Let `source` stand for the first output of `node`, which goes; `cannot_bypass` must have allowed it."""
    target = node.outputs[0]
    rewriter.erase(node)
    if rewriter.is_output(target):
        writer = source.inputs[0]
        index = next(index for index, tensor in enumerate(writer.outputs) if tensor is source)
        rewriter.take_over(writer, target, index)
        rewriter.redirect(source, target)
        return
    if isinstance(source, gs.Variable):  # keep what only the removed tensor's type said
        source.dtype = source.dtype if source.dtype is not None else target.dtype
        source.shape = source.shape if source.shape is not None else target.shape
    rewriter.redirect(target, source)


def erase_unread(node: gs.Node, rewriter: Rewriter) -> None:
    """Remove a node of this graph that nothing reads any more."""
    used = any(tensor.outputs or rewriter.is_output(tensor) for tensor in node.outputs)
    if rewriter.owns(node) and not used:
        rewriter.erase(node)
