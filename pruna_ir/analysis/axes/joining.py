"""Rules of operators that join and part axes: lists of labels, joined and parted."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.remarks import Reason


def _concat(at: NodeAxes) -> Reason | None:
    operands = [(at.shape(index), at.input(index)) for index in range(len(at.node.inputs))]
    axis = at.node.attrs["axis"] % len(operands[0][0])
    written: list[Labels] = []
    for place in range(len(operands[0][0])):
        parts = [labels[place] for _, labels in operands]
        if place == axis:
            written.append(_joined(at, [shape[place] for shape, _ in operands], parts))
            continue
        for labels in parts[1:]:
            at.equate(parts[0], labels)
        written.append(None if any(labels is None for labels in parts) else parts[0])
    at.write(written)
    return None


def _joined(at: NodeAxes, sizes: list[int | str | None], parts: list[Labels]) -> Labels:
    """The labels of parts one after another. Those of a part without labels stay, if their number is known."""
    if all(labels is None for labels in parts):
        return None
    if not all(isinstance(size, int) for size in sizes):
        for labels in parts:
            at.protect(labels, at.reason("joins it with a part of unknown size"))
        return None
    why = at.reason("joins it with parts that are cut")
    known = [
        at.fixed(size, why) if labels is None else labels
        for size, labels in zip(sizes, parts, strict=True)
        if isinstance(size, int)
    ]
    return np.concatenate(known)


def _split(at: NodeAxes) -> Reason | None:
    labels = list(at.input(0))
    axis = at.node.attrs.get("axis", 0) % len(labels)
    parts: list[Labels] = [None] * len(at.node.outputs)
    if labels[axis] is not None:
        sizes = [(at.output_shape(index) or [None] * len(labels))[axis] for index in range(len(parts))]
        if not all(isinstance(size, int) for size in sizes) or not all(tensor.name for tensor in at.node.outputs):
            return at.reason("parts the axis where that is not known")
        parts = list(np.split(labels[axis], np.cumsum(sizes)[:-1]))
    for index, part in enumerate(parts):
        at.write([*labels[:axis], part, *labels[axis + 1 :]], index)
    return None


def _split_sizes(node: gs.Node, repair: Repair) -> None:
    axis = node.attrs.get("axis", 0) % len(node.inputs[0].shape)
    if repair.input(0, axis) is None:
        return
    sizes = [repair.output_size(axis, index) for index in range(len(node.outputs))]
    known = [tensor.shape[axis] if size is None else size for tensor, size in zip(node.outputs, sizes, strict=True)]
    node.attrs.pop("num_outputs", None)
    repair.set_constant(1, np.array(known, np.int64))


RULES = {"Concat": AxisRule(_concat), "Split": AxisRule(_split, repair=_split_sizes)}
