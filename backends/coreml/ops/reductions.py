"""Reductions over axes."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.ops.moving import listed
from pruna_ir.backends.coreml.table import lowers

_KINDS = {
    "ReduceL1": "reduce_l1_norm",
    "ReduceL2": "reduce_l2_norm",
    "ReduceLogSum": "reduce_log_sum",
    "ReduceLogSumExp": "reduce_log_sum_exp",
    "ReduceMax": "reduce_max",
    "ReduceMean": "reduce_mean",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
    "ReduceSum": "reduce_sum",
    "ReduceSumSquare": "reduce_sum_square",
}
# What is left of a reduction over no axes.
_OF_NONE = {"ReduceL1": "abs", "ReduceL2": "abs", "ReduceSumSquare": "square", "ReduceLogSum": "log"}
_SEARCHES = {"ArgMax": "reduce_argmax", "ArgMin": "reduce_argmin"}


@lowers(*_KINDS)
def reduce(op: Op) -> None:
    """A reduction of the same name."""
    axes = listed(op, 1, "axes")
    if not axes and op.attr("noop_with_empty_axes", 0):
        kind = _OF_NONE.get(op.op)
        options = {"epsilon": np.float32(0)} if kind == "log" else {}
        op.write(op(kind, x=op.read(), **options) if kind else op("identity", x=op.read()))
        return
    axes = [axis % op.rank() for axis in axes] if axes else list(range(op.rank()))
    op.write(op(_KINDS[op.op], x=op.read(), axes=axes, keep_dims=bool(op.attr("keepdims", 1))))


@lowers(*_SEARCHES)
def search(op: Op) -> None:
    """reduce_argmax, reduce_argmin: the first of equals; the last is the first of what is reversed."""
    axis, last = op.axis(0), bool(op.attr("select_last_index", 0))
    data = op("reverse", x=op.read(), axes=[axis]) if last else op.read()
    found = op(_SEARCHES[op.op], x=data, axis=axis, keep_dims=bool(op.attr("keepdims", 1)))
    op.write(op("sub", x=op.shape()[axis] - 1, y=found) if last else found)
