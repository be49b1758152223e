"""The layout plan: for every kernel the layout it works in, so that few bytes have to be transposed.

The plan stands beside the graph, which stays as it is. Kernels that work in one layout only (convolutions) are fixed;
the others first take the layout of what they read. Then, wherever a value is still read in another layout than it is
written in, the kernels that it comes from, or goes to, are tried in the other layout, together with all that hang on
them and alone, and stay there if fewer bytes move.
"""

from __future__ import annotations

import math
from collections import ChainMap, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import stored
from pruna_ir.backends.tflite.flattening import ColumnOrder, column_orders
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layout_rules import RIGID, LayoutRule
from pruna_ir.backends.tflite.layouts import Layout, identity, same_order
from pruna_ir.backends.tflite.table import Entry

Modes = dict[int, Layout]


@dataclass(frozen=True)
class _Read:
    """A place where a value is read."""

    kernel: Kernel
    index: int


class LayoutPlan:
    """Modes of kernels. `borders` are layouts of graph inputs and outputs, by identity (none: that of ONNX)."""

    def __init__(
        self,
        kernels: list[Kernel],
        table: Mapping[str, Entry],
        borders: Mapping[int, Layout],
        outputs: Sequence[gs.Tensor],
    ) -> None:
        self._kernels, self._table, self._borders = kernels, table, borders
        self._known = {id(kernel): kernel for kernel in kernels}
        self._wanted = {id(tensor): self._border(tensor) for tensor in outputs}
        self._writers = {id(tensor): (kernel, k) for kernel in kernels for k, tensor in enumerate(kernel.outputs)}
        self._readers: dict[int, list[_Read]] = {}
        for kernel in kernels:
            for index, tensor in enumerate(kernel.inputs):
                if _moves(tensor):
                    self._readers.setdefault(id(tensor), []).append(_Read(kernel, index))
        self._modes: Modes = {}
        self._start()
        self._improve()
        self._columns = column_orders(kernels, lambda tensor: self._written(tensor, self._modes), outputs)

    def rule(self, kernel: Kernel) -> LayoutRule:
        """The layout rule of a kernel's operator."""
        entry = self._table.get(kernel.op)
        return RIGID if entry is None else entry.layout

    def mode(self, kernel: Kernel) -> Layout:
        """The layout that a kernel works in."""
        return self._modes[id(kernel)]

    def writer(self, tensor: gs.Tensor) -> Kernel | None:
        """The kernel that writes a value; None for what comes in from outside."""
        found = self._writers.get(id(tensor))
        return None if found is None else found[0]

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Whether a value leaves the graph."""
        return id(tensor) in self._wanted

    def columns(self, tensor: gs.Tensor) -> ColumnOrder | None:
        """The order in which the columns of a flattened value are stored, if that is not ONNX's."""
        return self._columns.get(id(tensor))

    def _start(self) -> None:
        """Every kernel takes the layout of the first input that it can read as it lies."""
        for kernel in self._kernels:
            rule = self.rule(kernel)
            mode = rule.fixed(kernel)
            moving = [(i, tensor) for i, tensor in enumerate(kernel.inputs) if _moves(tensor)]
            moving.sort(key=lambda item: -math.prod(item[1].shape))
            for index, tensor in moving if mode is None else []:
                mode = rule.from_input(kernel, index, self._written(tensor, self._modes))
                if mode is not None:
                    break
            self._modes[id(kernel)] = self._default(kernel) if mode is None else mode

    def _default(self, kernel: Kernel) -> Layout:
        """What every rule can do: the layout of ONNX."""
        rule = self.rule(kernel)
        size = len(kernel.outputs[0].shape) if rule.broadcasts or not kernel.inputs else len(kernel.inputs[0].shape)
        return identity(size)

    def _improve(self) -> None:
        waiting = deque(tensor for kernel in self._kernels for tensor in kernel.outputs)
        while waiting:
            tensor = waiting.popleft()
            for kernel, mode in self._other_ways(tensor):
                if self._modes[id(kernel)] != mode and self._switch(kernel, mode):
                    waiting.append(tensor)
                    break

    def _switch(self, kernel: Kernel, mode: Layout) -> bool:
        """Change the mode of a kernel, with all that hang on it or alone, if that saves bytes."""
        return self._take(self._grow(kernel, mode)) or self._take({id(kernel): mode})

    def _other_ways(self, tensor: gs.Tensor) -> list[tuple[Kernel, Layout]]:
        """Modes in which a value that moves now would be written as it is read, or read as it is written."""
        layout = self._written(tensor, self._modes)
        others = [read for read in self._readers.get(id(tensor), []) if not self._takes(read, layout, self._modes)]
        found = []
        wanted_there = {self._read_in(read, self._modes) for read in others}
        if id(tensor) in self._wanted and not same_order(tensor.shape, layout, self._wanted[id(tensor)]):
            wanted_there.add(self._wanted[id(tensor)])
        if id(tensor) in self._writers:
            kernel, k = self._writers[id(tensor)]
            rule = self.rule(kernel)
            if rule.fixed(kernel) is None:
                found += [(kernel, rule.from_output(kernel, k, wanted)) for wanted in sorted(wanted_there)]
        for read in others:
            rule = self.rule(read.kernel)
            if rule.fixed(read.kernel) is None:
                found.append((read.kernel, rule.from_input(read.kernel, read.index, layout)))
        return [(kernel, mode) for kernel, mode in found if mode is not None]

    def _grow(self, seed: Kernel, mode: Layout) -> Modes:
        """The modes of all kernels that hang on `seed` when it takes another one."""
        changed: Modes = {id(seed): mode}
        waiting = deque([seed])
        while waiting:
            kernel = waiting.popleft()
            rule, own = self.rule(kernel), changed[id(kernel)]
            for other, wanted in self._neighbours(kernel, rule, own):
                if id(other) in changed or self.rule(other).fixed(other) is not None or wanted is None:
                    continue
                if wanted != self._modes[id(other)]:
                    changed[id(other)] = wanted
                    waiting.append(other)
        return changed

    def _neighbours(self, kernel: Kernel, rule: LayoutRule, mode: Layout) -> Iterable[tuple[Kernel, Layout | None]]:
        for index, tensor in enumerate(kernel.inputs):
            if id(tensor) in self._writers and _moves(tensor):
                writer, k = self._writers[id(tensor)]
                wanted = rule.input_layout(kernel, index, mode)
                if len(wanted) == len(tensor.shape):
                    yield writer, self.rule(writer).from_output(writer, k, wanted)
        for k, tensor in enumerate(kernel.outputs):
            layout = rule.output_layout(kernel, k, mode)
            for read in self._readers.get(id(tensor), []):
                yield read.kernel, self.rule(read.kernel).from_input(read.kernel, read.index, layout)

    def _take(self, changed: Modes) -> bool:
        """Change modes if that saves bytes."""
        touched: dict[int, gs.Tensor] = {}
        for key in changed:
            kernel = self._known[key]
            touched |= {id(tensor): tensor for tensor in [*kernel.inputs, *kernel.outputs] if _moves(tensor)}
        after = ChainMap(changed, self._modes)
        if self._cost(touched.values(), after) >= self._cost(touched.values(), self._modes):
            return False
        self._modes.update(changed)
        return True

    def _cost(self, tensors: Iterable[gs.Tensor], modes: Mapping[int, Layout]) -> int:
        """The bytes that are moved between layouts."""
        total = 0
        for tensor in tensors:
            layout = self._written(tensor, modes)
            reads = self._readers.get(id(tensor), [])
            wanted = {self._read_in(read, modes) for read in reads if not self._takes(read, layout, modes)}
            border = self._wanted.get(id(tensor), layout)
            if not same_order(tensor.shape, layout, border):
                wanted.add(border)
            total += len(wanted) * math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        return total

    def _written(self, tensor: gs.Tensor, modes: Mapping[int, Layout]) -> Layout:
        if id(tensor) not in self._writers:
            return self._border(tensor)
        kernel, k = self._writers[id(tensor)]
        return self.rule(kernel).output_layout(kernel, k, modes[id(kernel)])

    def _takes(self, read: _Read, layout: Layout, modes: Mapping[int, Layout]) -> bool:
        """Whether a kernel reads a value as it lies."""
        if self.rule(read.kernel).takes(read.kernel, read.index, layout):
            return True
        return same_order(read.kernel.inputs[read.index].shape, layout, self._read_in(read, modes))

    def _read_in(self, read: _Read, modes: Mapping[int, Layout]) -> Layout:
        """The layout in which a value is read; one that is broadcast is read in the part of it that it has."""
        rule, mode = self.rule(read.kernel), modes[id(read.kernel)]
        size = len(read.kernel.inputs[read.index].shape)
        if rule.broadcasts and size < len(mode):
            extra = len(mode) - size
            return tuple(axis - extra for axis in mode if axis >= extra)
        return rule.input_layout(read.kernel, read.index, mode)

    def _border(self, tensor: gs.Tensor) -> Layout:
        return self._borders.get(id(tensor), identity(len(tensor.shape)))


def _moves(tensor: gs.Tensor) -> bool:
    """Whether a tensor is an activation, not a parameter or left out."""
    return not (tensor.is_empty() or isinstance(tensor, gs.Constant) or stored(tensor) is not None)
