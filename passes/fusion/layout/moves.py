"""How a node works on another layout of its operands: a table from operator to what becomes of its axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.elementwise import BROADCASTING, UNARY
from pruna_ir.passes.fusion.layout.layouts import Layout
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import op_key


@dataclass
class Move:
    """What to change of a node that works on the new layout."""

    # Numbers of the inputs that have the layout.
    data: list[int]
    attrs: dict[str, Any] = field(default_factory=dict)
    # Constants to read instead, by number of the input.
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    # Whether the outputs have the layout; else they are the same tensors in both.
    hands_on: bool = True
    # What is left to do once the operands are there, and how many nodes that adds.
    finish: Callable[[gs.Node, Rewriter], None] | None = None
    added: int = 0


def move(node: gs.Node, layout: Layout) -> Move | None:
    """How a node would work on the new layout; None if it cannot, or not by what is known of its operands."""
    handler = _TABLE.get(op_key(node))
    found = handler(node, layout) if handler is not None else None
    if found is None or not all(_in_layout(node.inputs[index], layout) for index in found.data):
        return None
    outputs = [tensor for tensor in node.outputs if not tensor.is_empty()]
    return found if not found.hands_on or all(layout.holds(tensor) for tensor in outputs) else None


def _in_layout(tensor: gs.Tensor, layout: Layout) -> bool:
    return isinstance(tensor, gs.Variable) and layout.holds(tensor)


def _given(node: gs.Node, index: int) -> gs.Tensor | None:
    """An input, None if it is omitted."""
    return node.inputs[index] if index < len(node.inputs) and not node.inputs[index].is_empty() else None


def _numbers(node: gs.Node, index: int) -> list[Any] | None:
    """The values of a constant input; None if it is computed or omitted."""
    tensor = _given(node, index)
    return np.asarray(tensor.values).tolist() if isinstance(tensor, gs.Constant) else None


def _moved(axes: Iterable[int], layout: Layout) -> list[int] | None:
    """Axes in the new layout, None if one does not stay an axis."""
    found = [layout.axis(axis % layout.rank) for axis in axes]
    return None if None in found else [axis for axis in found if axis is not None]


def _unary(node: gs.Node, _: Layout) -> Move | None:
    return Move([0])


def _broadcasting(node: gs.Node, layout: Layout) -> Move | None:
    found = Move([])
    for index, tensor in enumerate(node.inputs):
        if not isinstance(tensor, gs.Constant):
            if tensor.shape is not None and len(tensor.shape) == 0:
                continue
            found.data.append(index)
            continue
        given = np.asarray(tensor.values)
        values = layout.constant(given, full=False)
        if values is None:
            return None
        if (values.shape, values.strides) != (given.shape, given.strides):
            found.constants[index] = values
    return found if found.data else None


def _along(default: int | None) -> Callable[[gs.Node, Layout], Move | None]:
    """An operator with an attribute `axis` that keeps the number of axes; every input has the layout."""

    def handler(node: gs.Node, layout: Layout) -> Move | None:
        axes = _moved([node.attrs.get("axis", default)], layout)
        return None if axes is None else Move([0], {"axis": axes[0]})

    return handler


def _concat(node: gs.Node, layout: Layout) -> Move | None:
    axes, found = _moved([node.attrs["axis"]], layout), Move([])
    if axes is None:
        return None
    for index, tensor in enumerate(node.inputs):
        if isinstance(tensor, gs.Constant):
            values = layout.constant(np.asarray(tensor.values), full=True)
            if values is None:
                return None
            found.constants[index] = values
        else:
            found.data.append(index)
    found.attrs["axis"] = axes[0]
    return found


def _reduce(node: gs.Node, layout: Layout) -> Move | None:
    named = _given(node, 1)
    old = _numbers(node, 1) if named is not None else node.attrs.get("axes")
    axes = _moved(old, layout) if old else None
    if old is None or axes is None:
        return None
    found = Move([0], hands_on=bool(node.attrs.get("keepdims", 1)))
    if named is not None:
        found.constants[1] = np.array(axes, np.int64)
    else:
        found.attrs["axes"] = axes
    return found if found.hands_on or _same_rest(old, layout) else None


def _arg(node: gs.Node, layout: Layout) -> Move | None:
    old = [node.attrs.get("axis", 0)]
    axes = _moved(old, layout)
    if axes is None:
        return None
    found = Move([0], {"axis": axes[0]}, hands_on=bool(node.attrs.get("keepdims", 1)))
    return found if found.hands_on or _same_rest(old, layout) else None


def _same_rest(axes: Iterable[int], layout: Layout) -> bool:
    """Whether the axes that stay when some go are the same, in the same order, in both layouts."""
    gone = {axis % layout.rank for axis in axes}
    rest = _moved((axis for axis in range(layout.rank) if axis not in gone), layout)
    return rest is not None and rest == sorted(rest) and layout.rank == layout.new_rank


def _squeeze(node: gs.Node, layout: Layout) -> Move | None:
    old = _numbers(node, 1)
    axes = _moved(old, layout) if old else None
    if old is None or axes is None or not _same_rest(old, layout):
        return None
    return Move([0], constants={1: np.array(axes, np.int64)}, hands_on=False)


def _gather(node: gs.Node, layout: Layout) -> Move | None:
    old, indices = [node.attrs.get("axis", 0)], _given(node, 1)
    axes = _moved(old, layout)
    if axes is None or indices is None or indices.shape is None or len(indices.shape) > 1:
        return None
    found = Move([0], {"axis": axes[0]}, hands_on=len(indices.shape) == 1)
    return found if found.hands_on or _same_rest(old, layout) else None


def _slice(node: gs.Node, layout: Layout) -> Move | None:
    starts, named = node.inputs[1], _given(node, 3)
    if named is not None:
        old = _numbers(node, 3)
    else:
        old = None if starts.shape is None or len(node.inputs) > 3 else list(range(starts.shape[0]))
    axes = _moved(old, layout) if old else None
    return None if axes is None else Move([0], constants={3: np.array(axes, np.int64)})


def _pad(node: gs.Node, layout: Layout) -> Move | None:
    if _given(node, 3) is not None:
        axes = _numbers(node, 3)
        moved = _moved(axes, layout) if axes else None
        return None if moved is None else Move([0], constants={3: np.array(moved, np.int64)})
    counts = _numbers(node, 1)
    if counts is None:
        return None
    before = _per_axis(counts[: layout.rank], 0, layout)
    after = _per_axis(counts[layout.rank :], 0, layout)
    if before is None or after is None:
        return None
    return Move([0], constants={1: np.array([*before, *after], np.int64)})


def _per_axis(values: list[Any], neutral: Any, layout: Layout) -> list[Any] | None:
    """One value per axis in the new layout; only what is neutral may belong to an axis that goes."""
    moved = [neutral] * layout.new_rank
    for old, value in enumerate(values):
        axis = layout.axis(old)
        if axis is not None:
            moved[axis] = value
        elif value != neutral:
            return None
    return moved


def _resize(node: gs.Node, layout: Layout) -> Move | None:
    """ONNX Runtime resizes no more than the axes behind the first two in most modes."""
    plain = "axes" not in node.attrs and node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize"
    scales = _numbers(node, 2)
    moved = _per_axis(scales, 1.0, layout) if plain and scales and layout.rank == layout.new_rank else None
    if moved is None or moved[:2] != [1.0, 1.0]:
        return None
    return Move([0], constants={2: np.array(moved, np.float32)})


def _quantizer(node: gs.Node, layout: Layout) -> Move | None:
    """QuantizeLinear or DequantizeLinear: with one scale, or one per index of an axis."""
    scale = node.inputs[1]
    if scale.shape is None or len(scale.shape) > 1:
        return None
    if len(scale.shape) == 0:
        return Move([0])
    axes = _moved([node.attrs.get("axis", 1)], layout)
    return None if axes is None else Move([0], {"axis": axes[0]})


def _last_axis_stays(count: int, layout: Layout) -> bool:
    """Whether the last `count` axes stay the last, in this order, and others before them."""
    if layout.rank < count or layout.new_rank < max(count, 2):
        return False
    moved = [layout.axis(layout.rank - place) for place in range(1, count + 1)]
    return moved == [layout.new_rank - place for place in range(1, count + 1)]


def _normalization(node: gs.Node, layout: Layout) -> Move | None:
    """LayerNormalization or RMSNormalization over the last axes."""
    axis = int(node.attrs.get("axis", -1))
    count = -axis if axis < 0 else layout.rank - axis
    parameters = [tensor for tensor in node.inputs[1:] if not tensor.is_empty()]
    if any(tensor.shape is None or len(tensor.shape) > count for tensor in parameters):
        return None
    if any(not tensor.is_empty() for tensor in node.outputs[1:]) or not _last_axis_stays(count, layout):
        return None
    return Move([0], {"axis": -count})


def _matmul(node: gs.Node, layout: Layout) -> Move | None:
    """A product of matrices, the axes before the last two being those of a batch."""
    matrices = [isinstance(tensor, gs.Constant) and len(tensor.shape) == 2 for tensor in node.inputs]
    data = [index for index in (0, 1) if not matrices[index]]
    if not data or any(isinstance(node.inputs[index], gs.Constant) for index in data):
        return None
    count = 1 if data == [0] else 2
    return Move(data) if _last_axis_stays(count, layout) else None


def _gemm(node: gs.Node, layout: Layout) -> Move | None:
    """A Gemm with a constant weight, which is a MatMul and an Add on anything but a matrix."""
    plain = not node.attrs.get("transA", 0) and {node.attrs.get(name, 1.0) for name in ("alpha", "beta")} == {1.0}
    weight, bias = node.inputs[1], _given(node, 2)
    row = isinstance(bias, gs.Constant) and (len(bias.shape) < 2 or bias.shape[0] == 1)
    if not plain or not isinstance(weight, gs.Constant) or not (bias is None or row):
        return None
    if not _last_axis_stays(1, layout):
        return None
    if layout.new_rank == 2:
        return Move([0])
    constants = {1: np.ascontiguousarray(np.asarray(weight.values).T)} if node.attrs.get("transB", 0) else {}
    return Move([0], constants=constants, finish=_as_matmul, added=0 if bias is None else 1)


def _as_matmul(gemm: gs.Node, rewriter: Rewriter) -> None:
    """Replace a Gemm, whose weight is not transposed any more, by a MatMul and an Add."""
    bias, output = _given(gemm, 2), gemm.outputs[0]
    matmul = gs.Node("MatMul", name=gemm.name, inputs=gemm.inputs[:2])
    rewriter.insert(matmul, before=gemm)
    last = matmul
    if bias is not None:
        product = rewriter.variable(f"{node_name(gemm)}_product", output.dtype, output.shape)
        matmul.outputs.append(product)
        last = rewriter.insert(gs.Node("Add", inputs=[product, bias]), before=gemm)
    rewriter.erase(gemm)
    last.outputs.append(output)
    rewriter.touch(last)


def _transpose(node: gs.Node, layout: Layout) -> Move | None:
    order = layout.order(node.attrs["perm"]) if "perm" in node.attrs else None
    return None if order is None else Move([0], {"perm": order})


_REDUCE = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

_TABLE: dict[str, Callable[[gs.Node, Layout], Move | None]] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BROADCASTING, _broadcasting),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax", "LpNormalization"), _along(-1)),
    "Split": _along(0),
    "Concat": _concat,
    **dict.fromkeys((f"Reduce{name}" for name in _REDUCE), _reduce),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantizer),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalization),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Transpose": _transpose,
}
