"""Nodes that read a computed shape and need less of it: a table from operator to the input that can be a constant.

Each function gives the constant that the node can read instead, or None. What it may use: a size that the data has on
the same axis need not be said, and one size may be left to be worked out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.shapes import symbolic
from pruna_ir.passes.simplify.shapes.analysis import ShapeAnalysis
from pruna_ir.passes.simplify.shapes.symbolic import Entry, Expr
from pruna_ir.passes.simplify.shapes.values import known
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import Reason

# Copies the size of the data, or is worked out, in the target of a Reshape.
_COPY, _REST = 0, -1
_END = np.iinfo(np.int64).max
# Sizes that float32 holds exactly: ONNX Runtime divides them as such.
_EXACT = 2**24


def simplify_user(node: gs.Node, analysis: ShapeAnalysis, rewriter: Rewriter) -> bool:
    """Let a node read a constant in place of a computed shape, if that does the same; whether it was done."""
    rewrite = _REWRITES.get(node.op)
    return rewrite is not None and rewrite(node, analysis, rewriter)


def refusal(node: gs.Node, analysis: ShapeAnalysis) -> Reason | None:
    """Why a node goes on reading a computed shape; None if it reads none."""
    index = _SHAPES.get(node.op)
    if index is None or not _computed(node, index):
        return None
    entries = analysis.elements(node.inputs[index])
    if entries is None:
        return Reason("how many sizes `{}` holds is not known", node.inputs[index].name)
    unknown = sum(isinstance(entry, Expr) for entry in entries.flat)
    return Reason("{} of the {} sizes in `{}` are not known", unknown, entries.size, node.inputs[index].name)


def _computed(node: gs.Node, index: int) -> bool:
    """Whether an input is there and not a constant."""
    return (
        index < len(node.inputs)
        and not node.inputs[index].is_empty()
        and not isinstance(node.inputs[index], gs.Constant)
    )


def _replace(node: gs.Node, index: int, values: np.ndarray, rewriter: Rewriter) -> None:
    old = node.inputs[index]
    rewriter.set_input(node, index, rewriter.constant(f"{node.outputs[0].name}_{_INPUTS[node.op]}", values))
    rewriter.erase_unread(old)


def _reshape(node: gs.Node, analysis: ShapeAnalysis, rewriter: Rewriter) -> bool:
    target = analysis.elements(node.inputs[1]) if _computed(node, 1) else None
    before, after = analysis.dims(node.inputs[0]), analysis.dims(node.outputs[0])
    if target is None or target.ndim != 1 or before is None:
        return False
    numbers = reshape_target(list(target), before, after, bool(node.attrs.get("allowzero", 0)))
    if numbers is None:
        return False
    node.attrs.pop("allowzero", None)  # no zero in the target stands for itself
    _replace(node, 1, np.array(numbers, np.int64), rewriter)
    return True


def reshape_target(
    target: Sequence[Entry], before: Sequence[Entry], after: Sequence[Entry] | None, zeros_count: bool
) -> list[int] | None:
    """The target of a Reshape in numbers, or None.

    `before` and `after` are the dimensions of its data and of its output. With `zeros_count` a zero in the target
    stands for itself.
    """
    if zeros_count and any(isinstance(entry, int) and entry == 0 for entry in target):
        return None
    numbers = [_number(entry, axis, before) for axis, entry in enumerate(target)]
    if numbers.count(_REST) > 1 and after is not None and len(after) == len(target):
        numbers = [
            _number(after[axis], axis, before) if number == _REST and not isinstance(target[axis], Expr) else number
            for axis, number in enumerate(numbers)
        ]
    if numbers.count(_REST) > 1:
        return None
    left_open = _REST in numbers and isinstance(target[numbers.index(_REST)], Expr)
    copied = [before[axis] for axis, number in enumerate(numbers) if number == _COPY]
    # An empty tensor has nothing from which to work out a size.
    return numbers if not left_open or all(map(_is_filled, copied)) else None


def _number(entry: Entry, axis: int, before: Sequence[Entry]) -> int:
    if not isinstance(entry, Expr):
        return int(entry)
    return _COPY if axis < len(before) and before[axis] == entry else _REST


def _is_filled(dim: Entry) -> bool:
    """Whether a dimension is taken not to be zero: a number, or what the inputs of the graph have."""
    return all(item.given for item in dim.symbols) if isinstance(dim, Expr) else dim != 0


def _expand(node: gs.Node, analysis: ShapeAnalysis, rewriter: Rewriter) -> bool:
    target = analysis.elements(node.inputs[1]) if _computed(node, 1) else None
    before = analysis.dims(node.inputs[0])
    if target is None or target.ndim != 1 or before is None:
        return False
    dims: list[Entry] = [1] * (target.size - len(before)) + before[max(len(before) - target.size, 0) :]
    numbers = [
        1 if isinstance(entry, Expr) and entry == dim else entry for entry, dim in zip(target, dims, strict=True)
    ]
    if known(np.array(numbers, object)) is None:
        return False
    _replace(node, 1, np.array(numbers, np.int64), rewriter)
    return True


def _slice(node: gs.Node, analysis: ShapeAnalysis, rewriter: Rewriter) -> bool:
    ends = analysis.elements(node.inputs[2]) if _computed(node, 2) else None
    before, starts = analysis.dims(node.inputs[0]), analysis.elements(node.inputs[1])
    options = [analysis.elements(node.inputs[index]) for index in (3, 4) if _is_given(node, index)]
    if ends is None or before is None or starts is None or any(known(part) is None for part in options):
        return False
    axes = known(analysis.elements(node.inputs[3])) if _is_given(node, 3) else list(range(ends.size))
    steps = known(analysis.elements(node.inputs[4])) if _is_given(node, 4) else [1] * ends.size
    assert axes is not None and steps is not None
    numbers = [
        _END
        if step > 0 and isinstance(end, Expr) and symbolic.lowest(symbolic.subtract(end, before[axis])) >= 0
        else end
        for end, axis, step in zip(ends, axes, steps, strict=True)
    ]
    if known(np.array(numbers, object)) is None:
        return False
    _replace(node, 2, np.array(numbers, node.inputs[2].dtype if max(numbers) < _END else np.int64), rewriter)
    return True


def _is_given(node: gs.Node, index: int) -> bool:
    return index < len(node.inputs) and not node.inputs[index].is_empty()


def _resize(node: gs.Node, analysis: ShapeAnalysis, rewriter: Rewriter) -> bool:
    """Sizes that are multiples of the data's own become scales."""
    sizes = analysis.elements(node.inputs[3]) if _computed(node, 3) else None
    before = analysis.dims(node.inputs[0])
    crops = node.attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    if sizes is None or before is None or crops or {"axes", "keep_aspect_ratio_policy"} & node.attrs.keys():
        return False
    scales = [symbolic.divide_exactly(size, dim) for size, dim in zip(sizes, before, strict=True)]
    if not all(isinstance(scale, int) and 0 < scale < _EXACT for scale in scales):
        return False
    old = node.inputs[3]
    rewriter.set_input(node, 2, rewriter.constant(f"{node.outputs[0].name}_scales", np.array(scales, np.float32)))
    rewriter.set_input(node, 3, gs.Variable.empty())
    del node.inputs[3]
    rewriter.erase_unread(old)
    return True


# Which input holds the shape.
_SHAPES: Mapping[str, int] = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Resize": 3, "Slice": 2}
_INPUTS: Mapping[str, str] = {"Expand": "shape", "Reshape": "shape", "Slice": "ends"}
_REWRITES: Mapping[str, Callable[[gs.Node, ShapeAnalysis, Rewriter], bool]] = {
    "Expand": _expand,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
}
