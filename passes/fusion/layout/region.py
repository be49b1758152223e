"""Nodes that could all work on another layout of their operands, and what converts at the border of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import bypass, erase_unread
from pruna_ir.passes.fusion.layout.layouts import Layout
from pruna_ir.passes.fusion.layout.moves import Move, move
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import producer
from pruna_ir.remarks import Reason

# A walk stops after this many nodes, lest a whole network be walked from each of its conversions.
_MOST_NODES = 256
# Two conversions that could meet are this many nodes apart at most.
_NEAR = 32
# A constant that others read too is copied up to this size.
_MOST_COPIED_BYTES = 1024


@dataclass
class Region:
    """Connected nodes that can work on another layout; all keys are identities.

    Conversions at its border that become needless: `leaves` write what it reads (by the tensor), `exits` read what it
    writes (by the node). Tensors that must be converted if the layout changes: `entering` and `leaving`.
    """

    layout: Layout
    nodes: dict[int, tuple[gs.Node, Move]] = field(default_factory=dict)
    leaves: dict[int, tuple[gs.Tensor, gs.Node]] = field(default_factory=dict)
    exits: dict[int, gs.Node] = field(default_factory=dict)
    entering: dict[int, gs.Tensor] = field(default_factory=dict)
    leaving: dict[int, gs.Tensor] = field(default_factory=dict)
    too_large: bool = False

    def promising(self) -> bool:
        """Whether two conversions, or one and a node that swallows it, are at the border."""
        ends = sum(not found.hands_on for _, found in self.nodes.values())
        others = sum(
            writer is not None and self.layout.joins(writer) for writer in map(producer, self.entering.values())
        )
        return len(self.leaves) + len(self.exits) + ends + others > 1

    def cannot_change(self, rewriter: Rewriter, *, elements: bool) -> Reason | None:
        """Why the region should keep its layout: no node would go, or (if `elements`) more elements be moved."""
        if self.too_large:
            return Reason("more than {} nodes stand between the conversions", _MOST_NODES)
        gone = [node.inputs[0] for node in self.exits.values()]
        leaves = (tensor for tensor, leaf in self.leaves.values() if rewriter.owns(leaf))
        gone += [tensor for tensor in leaves if self._read_inside_only(tensor, rewriter)]
        new = [tensor for tensor in self.entering.values() if not self._joins_writer(tensor, rewriter)]
        new += [tensor for tensor in self.leaving.values() if not self._joins_reader(tensor, rewriter)]
        added = len(new) + sum(found.added for _, found in self.nodes.values())
        if added >= len(gone):
            because = f": `{new[0].name}` keeps its layout" if new else ""
            return Reason("{} conversions would go and {} nodes come{}", len(gone), added, because)
        if elements and sum(map(_elements, new)) > sum(map(_elements, gone)):
            return Reason("`{}` is larger than what is transposed now", new[0].name)
        return self._copied()

    def change(self, rewriter: Rewriter) -> None:
        """Let all nodes work on the new layout."""
        inside = {**self._converted_inputs(rewriter), **self._split_outputs(rewriter)}
        constants: dict[tuple[int, bytes], gs.Constant] = {}
        for node, found in self.nodes.values():
            for index in found.data:
                tensor = inside.get(id(node.inputs[index]))
                if tensor is not None:
                    rewriter.set_input(node, index, tensor)
            for index, values in found.constants.items():
                old = node.inputs[index] if index < len(node.inputs) else None
                name = old.name if old is not None else f"{node.outputs[0].name}_{index}"
                key = (id(old) if old is not None else id(node), np.ascontiguousarray(values).tobytes())
                if key not in constants:
                    constants[key] = rewriter.constant(name, values)
                rewriter.set_input(node, index, constants[key])
            node.attrs.update(found.attrs)
        # What takes over the name of an output of the graph is read under that name from then on.
        for exit_ in sorted(self.exits.values(), key=lambda node: rewriter.is_output(node.outputs[0])):
            bypass(exit_, inside.get(id(exit_.inputs[0]), exit_.inputs[0]), rewriter)
        for writer in [*(leaf for _, leaf in self.leaves.values()), *map(producer, self.entering.values())]:
            if writer is not None and not rewriter.is_erased(writer):
                rewriter.touch(writer)
                erase_unread(writer, rewriter)
        for node, found in self.nodes.values():
            rewriter.touch(node)
            if found.finish is not None:
                found.finish(node, rewriter)

    def _converted_inputs(self, rewriter: Rewriter) -> dict[int, gs.Tensor]:
        """What the nodes read in the new layout instead of what enters the region."""
        inside: dict[int, gs.Tensor] = {key: leaf.inputs[0] for key, (_, leaf) in self.leaves.items()}
        for key, tensor in self.entering.items():
            writer = producer(tensor)
            joined = writer if self._joins_writer(tensor, rewriter) else None
            node = self.layout.into(tensor, joined, rewriter)
            inside[key] = rewriter.variable(tensor.name, tensor.dtype, self.layout.shape(tensor.shape))
            node.outputs.append(inside[key])
            rewriter.insert_after(node, writer if writer is not None and rewriter.owns(writer) else None)
        return inside

    def _split_outputs(self, rewriter: Rewriter) -> dict[int, gs.Tensor]:
        """Give the outputs of the nodes their new shape; those that leave stay, converted from a new tensor."""
        inside: dict[int, gs.Tensor] = {}
        for node, found in self.nodes.values():
            for index, tensor in enumerate(node.outputs if found.hands_on else ()):
                if tensor.is_empty():
                    continue
                shape = self.layout.shape(tensor.shape)
                if id(tensor) not in self.leaving:
                    tensor.shape = shape
                elif self._joins_reader(tensor, rewriter):
                    self._replace_reader(tensor, rewriter)
                    tensor.shape = shape
                else:
                    inside[id(tensor)] = rewriter.variable(tensor.name, tensor.dtype, shape)
                    rewriter.take_over(node, inside[id(tensor)], index)
                    back = self.layout.back(inside[id(tensor)], tensor, None, rewriter)
                    back.outputs.append(tensor)
                    rewriter.insert_after(back, node)
        return inside

    def _replace_reader(self, tensor: gs.Tensor, rewriter: Rewriter) -> None:
        """Let the one node that reads a tensor outside of the region do its work from the new layout."""
        reader = self.outside(tensor)[0]
        output = reader.outputs[0]
        node = self.layout.back(tensor, output, reader, rewriter)
        rewriter.insert(node, before=reader)
        rewriter.erase(reader)
        node.outputs.append(output)
        rewriter.touch(node)

    def outside(self, tensor: gs.Tensor) -> list[gs.Node]:
        """Who reads a tensor in its old layout whatever the region does."""
        return [reader for reader in tensor.outputs if id(reader) not in self.exits and not self._moves(reader, tensor)]

    def _moves(self, reader: gs.Node, tensor: gs.Tensor) -> bool:
        """Whether all that a node does with a tensor is in the region."""
        places = {index for index, operand in enumerate(reader.inputs) if operand is tensor}
        return id(reader) in self.nodes and places <= set(self.nodes[id(reader)][1].data)

    def _read_inside_only(self, tensor: gs.Tensor, rewriter: Rewriter) -> bool:
        return not rewriter.is_output(tensor) and not self.outside(tensor)

    def _joins_writer(self, tensor: gs.Tensor, rewriter: Rewriter) -> bool:
        """Whether what writes the tensor converts already, for the region alone: two conversions are one."""
        writer = producer(tensor)
        joins = writer is not None and id(writer) not in self.exits and rewriter.owns(writer)
        return joins and self.layout.joins(writer) and self._read_inside_only(tensor, rewriter)

    def _joins_reader(self, tensor: gs.Tensor, rewriter: Rewriter) -> bool:
        """Whether one node alone reads the tensor outside of the region, and converts it already."""
        outside = self.outside(tensor)
        if rewriter.is_output(tensor) or len(outside) != 1 or not rewriter.owns(outside[0]):
            return False
        written = id(outside[0].outputs[0])
        return self.layout.joins(outside[0]) and written not in self.entering and written not in self.leaves

    def _copied(self) -> Reason | None:
        """Why the constants must stay: one that is large would be stored twice."""
        for node, found in self.nodes.values():
            for index in found.constants:
                constant = node.inputs[index] if index < len(node.inputs) else None
                if not isinstance(constant, gs.Constant) or constant.values.nbytes <= _MOST_COPIED_BYTES:
                    continue
                if any(id(reader) not in self.nodes for reader in constant.outputs):
                    return Reason("`{}` has other users, and would be stored twice", constant.name)
        return None


def near_another(start: gs.Node, layout: Layout) -> bool:
    """Whether two conversions are near a node that could work on the new layout: a look that costs little."""
    return _Walk(layout, None, _NEAR).grow(start, until=Region.promising).promising()


def grow(start: gs.Node, layout: Layout, rewriter: Rewriter) -> Region:
    """The largest region around a node; without nodes if that one cannot work on the new layout itself.

    What is found to be in a region that is too large is not walked through again.
    """
    large = rewriter.known.setdefault(layout, set())
    walk = _Walk(layout, rewriter, _MOST_NODES, large)
    region = walk.grow(start, until=lambda found: found.too_large)
    if region.too_large:
        large.update(region.nodes)
    return region


class _Walk:
    """Grows a region from node to node; without a rewriter, sub-graphs and outputs of the graph are not looked at."""

    def __init__(self, layout: Layout, rewriter: Rewriter | None, most: int, large: Collection[int] = ()) -> None:
        self._region, self._rewriter, self._most, self._large = Region(layout), rewriter, most, large
        self._waiting, self._refused = deque[gs.Node](), set[int]()

    def grow(self, start: gs.Node, until: Callable[[Region], bool]) -> Region:
        region = self._region
        self._takes(start)
        while self._waiting and len(region.nodes) <= self._most and not until(region):
            node = self._waiting.popleft()
            found = region.nodes[id(node)][1]
            for index in found.data:
                self._look_up(node.inputs[index])
            for tensor in node.outputs if found.hands_on else ():
                if not tensor.is_empty():
                    self._look_down(tensor)
        region.too_large = region.too_large or len(region.nodes) > self._most
        return region

    def _takes(self, node: gs.Node | None) -> bool:
        """Whether a node belongs to the region; if it is new, its neighbours will be looked at."""
        if node is None or id(node) in self._refused:
            return False
        if id(node) not in self._region.nodes:
            owned = self._rewriter is None or self._rewriter.owns(node)
            found = move(node, self._region.layout) if owned else None
            if found is None:
                self._refused.add(id(node))
                return False
            self._region.nodes[id(node)] = node, found
            self._region.too_large = self._region.too_large or id(node) in self._large
            self._waiting.append(node)
        return True

    def _look_up(self, tensor: gs.Tensor) -> None:
        """Say where what a node of the region reads comes from."""
        region, writer = self._region, producer(tensor)
        if writer is not None and region.layout.enters(writer):
            region.leaves[id(tensor)] = tensor, writer
        elif writer is None or not self._takes(writer) or not region.nodes[id(writer)][1].hands_on:
            region.entering[id(tensor)] = tensor

    def _look_down(self, tensor: gs.Tensor) -> None:
        """Say where what a node of the region writes goes."""
        region, rewriter = self._region, self._rewriter
        named = False  # only one output of the graph can be what the node writes
        for reader in list(tensor.outputs):
            owned = rewriter is None or rewriter.owns(reader)
            output = rewriter is not None and rewriter.is_output(reader.outputs[0])
            if owned and region.layout.leaves(reader) and not (output and named):
                region.exits[id(reader)] = reader
                named = named or output
            else:
                self._takes(reader)
        if region.outside(tensor) or (rewriter is not None and rewriter.is_output(tensor)):
            region.leaving[id(tensor)] = tensor


def _elements(tensor: gs.Tensor) -> int:
    """Number of elements, as far as it is known."""
    return math.prod(size for size in tensor.shape or () if isinstance(size, int))
