"""Which layouts an operator works in: a rule relates the layouts of what it reads and writes.

A kernel's *mode* is the layout of its main input (for elementwise operators that of all inputs of full rank, and of the
result). Rules that fix the mode start and end regions; the others hand layouts on in both directions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layouts import Layout, channels_last, identity, inverse
from pruna_ir.backends.tflite.reshaping import relabel


def rank(tensor: gs.Tensor) -> int:
    """The number of dimensions."""
    return len(tensor.shape)


class LayoutRule(ABC):
    """How layouts of inputs and outputs hang together."""

    # Layouts of inputs are wanted exactly: a tensor with fewer axes is not broadcast.
    broadcasts = False

    def fixed(self, kernel: Kernel) -> Layout | None:
        """The only mode, if there is only one."""
        return None

    @abstractmethod
    def input_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        """The layout in which an input is read."""

    @abstractmethod
    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        """The layout in which an output is written."""

    def takes(self, kernel: Kernel, index: int, layout: Layout) -> bool:
        """Whether an input can be read in this layout too, whatever the mode."""
        return False

    def from_input(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        """The mode in which an input is read as it lies, if there is one."""
        return None

    def from_output(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        """The mode in which an output is written in this layout, if there is one."""
        return None


@dataclass(frozen=True)
class Fixed(LayoutRule):
    """Works in one layout only: the inputs `spatial`, and all outputs, are channels-last; the rest is as in ONNX."""

    spatial: tuple[int, ...] = ()

    def fixed(self, kernel: Kernel) -> Layout | None:
        return self.input_layout(kernel, 0, ()) if kernel.inputs else ()

    def input_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        size = rank(kernel.inputs[index])
        return channels_last(size) if index in self.spatial else identity(size)

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        size = rank(kernel.outputs[index])
        return channels_last(size) if self.spatial else identity(size)


@dataclass(frozen=True)
class Follows(LayoutRule):
    """Works in any layout, the same for all: elementwise, and what has axes that can be renamed.

    Inputs with fewer axes than the result are broadcast. `only` are the inputs that this is about (none: all); others
    are parameters, read as ONNX has them.
    """

    only: tuple[int, ...] = ()
    broadcasts = True

    def _moves(self, index: int) -> bool:
        return not self.only or index in self.only

    def input_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        size = rank(kernel.inputs[index])
        return mode if self._moves(index) and size == len(mode) else identity(size)

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        return mode

    def fixed(self, kernel: Kernel) -> Layout | None:
        return identity(rank(kernel.outputs[0])) if rank(kernel.outputs[0]) < 2 else None

    def from_input(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        return layout if self._moves(index) and len(layout) == rank(kernel.outputs[0]) else None

    def from_output(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        return layout


@dataclass(frozen=True)
class Reduces(LayoutRule):
    """Works in any layout; the result lacks the axes that are reduced, unless they are kept with size one."""

    def input_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        return mode if index == 0 else identity(rank(kernel.inputs[index]))

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        if rank(kernel.outputs[index]) == len(mode):
            return mode
        gone = reduced_axes(kernel.node, len(mode))
        left = [axis for axis in mode if axis not in gone]
        return tuple(sorted(left).index(axis) for axis in left)

    def from_input(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        return layout if index == 0 else None

    def from_output(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        return layout if len(layout) == rank(kernel.inputs[0]) else None


@dataclass(frozen=True)
class Transposes(LayoutRule):
    """A Transpose only renames axes: what is stored stays as it is, whatever the layout."""

    def _order(self, kernel: Kernel) -> Layout:
        size = rank(kernel.inputs[0])
        return tuple(kernel.node.attrs.get("perm", range(size - 1, -1, -1)))

    def input_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        return mode

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        positions = inverse(self._order(kernel))
        return tuple(positions[axis] for axis in mode)

    def from_input(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        return layout

    def from_output(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        order = self._order(kernel)
        return tuple(order[axis] for axis in layout)


@dataclass(frozen=True)
class Reshapes(LayoutRule):
    """A change of shape works in every layout in which it only joins or splits axes that are stored side by side."""

    def input_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        return mode if index == 0 else identity(rank(kernel.inputs[index]))

    def output_layout(self, kernel: Kernel, index: int, mode: Layout) -> Layout:
        found = relabel(kernel.inputs[0].shape, kernel.outputs[0].shape, mode)
        assert found is not None
        return found

    def from_input(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        if index or relabel(kernel.inputs[0].shape, kernel.outputs[0].shape, layout) is None:
            return None
        return layout

    def from_output(self, kernel: Kernel, index: int, layout: Layout) -> Layout | None:
        mode = relabel(kernel.outputs[0].shape, kernel.inputs[0].shape, layout)
        if mode is None or relabel(kernel.inputs[0].shape, kernel.outputs[0].shape, mode) != layout:
            return None
        return mode


def reduced_axes(node: gs.Node, size: int) -> set[int]:
    """The axes that a reduction goes over, from its attribute or its constant input; none given: all."""
    given = node.attrs.get("axes")
    if given is None and len(node.inputs) > 1 and isinstance(node.inputs[1], gs.Constant):
        given = node.inputs[1].values.reshape(-1).tolist()
    if given is None and "axis" in node.attrs:
        given = [node.attrs["axis"]]
    if not given:
        return set() if node.attrs.get("noop_with_empty_axes", 0) else set(range(size))
    return {int(axis) % size for axis in given}


RIGID = Fixed()
SPATIAL = Fixed(spatial=(0,))
FOLLOWS = Follows()
DATA_FOLLOWS = Follows(only=(0,))
REDUCES = Reduces()
TRANSPOSES = Transposes()
RESHAPES = Reshapes()
