"""What a rule sees when indices have been cut: which of each axis of its node stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import Axes
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.pipeline.rewriter import Rewriter


@dataclass(frozen=True)
class Repair:
    """The axes of a node after a cut, and the means to follow it.

    Variables have their old shapes until the whole graph is repaired; constants that carry labels are sliced already.
    `inputs` and `outputs` are the units on the axes by position, `gone` [units] says which units were cut.
    """

    node: gs.Node
    rewriter: Rewriter
    inputs: Mapping[int, Axes]
    outputs: Mapping[int, Axes]
    gone: np.ndarray

    def input(self, index: int, axis: int) -> np.ndarray | None:
        """Which indices of an axis of an input stay, booleans of its old size; None where the axis has no labels."""
        return self._stays(self.inputs.get(index), axis)

    def output(self, axis: int, index: int = 0) -> np.ndarray | None:
        """Which indices of an axis of an output stay, booleans of its old size; None where the axis has no labels."""
        return self._stays(self.outputs.get(index), axis)

    def output_size(self, axis: int, index: int = 0) -> int | None:
        """The new size of an axis of an output; None where it has no labels."""
        mask = self.output(axis, index)
        return None if mask is None else int(mask.sum())

    def set_constant(self, index: int, values: np.ndarray) -> None:
        """Give an input of the node, or one behind its last, another constant; other users of the old one keep it."""
        like = self.node.inputs[index].name if index < len(self.node.inputs) else f"{self.node.outputs[0].name}_sizes"
        constant = self.rewriter.constant(f"{like}_pruned", values)
        self.rewriter.set_input(self.node, index, constant)

    def set_sizes(self, index: int, sizes: Mapping[int, int]) -> None:
        """Write sizes into an input that is a shape, by position; one that is computed is limited to them."""
        given = self.node.inputs[index]
        places, values = list(sizes), list(sizes.values())
        constant = constant_of(given)
        if constant is not None:
            changed = np.array(constant.values)
            changed[places] = values
            self.set_constant(index, changed)
        elif sizes:
            limits = np.full(given.shape, np.iinfo(np.int64).max)
            limits[places] = values
            limited = self.rewriter.variable(f"{given.name}_pruned", given.dtype, given.shape)
            limit = self.rewriter.constant(f"{given.name}_limit", limits)
            node = gs.Node("Min", limited.name, inputs=[given, limit], outputs=[limited])
            self.rewriter.insert(node, before=self.node)
            self.rewriter.set_input(self.node, index, limited)

    def _stays(self, axes: Axes | None, axis: int) -> np.ndarray | None:
        units: Labels = None if axes is None else axes[axis]
        return None if units is None else ~self.gone[units]
