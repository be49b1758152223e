"""Removing units from a model: constants are sliced, shapes and attributes follow."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes import Axes, AxisAnalysis, Removed, Repair, key_of
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.analysis.axes.rules import rule_of
from pruna_ir.model import Model
from pruna_ir.pipeline.rewriter import Rewriter


def remove(model: Model, analysis: AxisAnalysis, removed: Removed) -> None:
    """Remove units from a model, in place: positions in `Group.units` by the name of the group.

    Every use of a constant is sliced by itself: other users of a shared one keep theirs, those that keep the same
    indices share the slice. Sizes follow exactly, nothing is inferred. Raises ValueError for units of a protected
    group, for all units of a group and for what would leave an axis empty, KeyError for a name that is no group; the
    model is unchanged then.
    """
    gone = analysis.gone(removed)
    if not gone.any():
        return
    surgery = _Surgery(model, analysis, gone)
    # Constant nodes go with their last reader.
    nodes = [node for node in model.graph.nodes if node.op != "Constant" and any(out.name for out in node.outputs)]
    for node in nodes:
        surgery.slice_constants(node)
    for node in nodes:
        surgery.repair(node)
    surgery.resize_variables(nodes)
    surgery.rewriter.commit()


class _Surgery:
    def __init__(self, model: Model, analysis: AxisAnalysis, gone: np.ndarray) -> None:
        self.rewriter = Rewriter(model.graph)
        self._analysis, self._gone = analysis, gone
        # Slices by the identity of the constant and by what stays of it; the constants are held so that it lasts.
        self._slices: dict[tuple[int, tuple[bytes, ...]], tuple[gs.Constant, gs.Constant]] = {}

    def slice_constants(self, node: gs.Node) -> None:
        """Give a node its slices of the constants that it reads."""
        for index, tensor in enumerate(node.inputs):
            constant, axes = constant_of(tensor), self._analysis.inputs.get((key_of(node), index), ())
            if constant is not None and self._touches(axes):
                self.rewriter.set_input(node, index, self._slice(constant, tensor.name, axes))
                self.rewriter.erase_unread(tensor)

    def repair(self, node: gs.Node) -> None:
        """Let the rule of a node follow the cut, if it touches the node."""
        rule, key = rule_of(node), key_of(node)
        if rule.repair is None:
            return
        inputs = {index: self._analysis.inputs.get((key, index), ()) for index in range(len(node.inputs))}
        outputs = {index: self._analysis.tensors.get(tensor.name, ()) for index, tensor in enumerate(node.outputs)}
        if any(self._touches(axes) for axes in (*inputs.values(), *outputs.values())):
            rule.repair(node, Repair(node, self.rewriter, inputs, outputs, self._gone))

    def resize_variables(self, nodes: list[gs.Node]) -> None:
        """Give variables their new shapes."""
        for tensor in (tensor for node in nodes for tensor in node.outputs):
            axes = self._analysis.tensors.get(tensor.name, ())
            if tensor.shape is not None and self._touches(axes):
                sizes = zip(tensor.shape, axes, strict=True)
                tensor.shape = [size if units is None else int(self._stays(units).sum()) for size, units in sizes]

    def _slice(self, constant: gs.Constant, name: str, axes: Axes) -> gs.Constant:
        masks = [None if units is None else self._stays(units) for units in axes]
        key = id(constant), tuple(b"" if mask is None else mask.tobytes() for mask in masks)
        if key not in self._slices:
            values = np.asarray(constant.values)
            for axis, mask in enumerate(masks):
                if mask is not None and not mask.all():
                    values = np.compress(mask, values, axis)
            self._slices[key] = constant, self.rewriter.constant(f"{name}_pruned", values)
        return self._slices[key][1]

    def _stays(self, units: np.ndarray) -> np.ndarray:
        return np.asarray(~self._gone[units])

    def _touches(self, axes: Axes) -> bool:
        return any(units is not None and bool(self._gone[units].any()) for units in axes)
