"""Following the channels that a node writes through the graph."""

from __future__ import annotations

from collections import deque

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.model.invariants import node_name
from pruna_ir.passes.fusion.parameters import not_foldable
from pruna_ir.passes.quantization.equalization.ends import read, written
from pruna_ir.passes.quantization.equalization.links import Barrier, Labels, Link, Reader
from pruna_ir.passes.quantization.equalization.passing import passed
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import op_key
from pruna_ir.remarks import Reason


def trace(node: gs.Node, rewriter: Rewriter) -> Link | Reason | None:
    """The link that starts at `node`; None if nothing is known of its operator, a reason if it cannot be scaled."""
    start = written(node)
    if start is None or isinstance(start, Reason):
        return start
    link = Link(node, node.outputs[0], start.channels, parameters=list(start.parameters))
    _Walk(link, rewriter).run(start.labels)
    reason = _unfit(link)
    return link if reason is None else reason


def _unfit(link: Link) -> Reason | None:
    """Why a link cannot be scaled at all."""
    if not link.readers:
        return link.barriers[0].reason if link.barriers else Reason("no weights read `{}`", link.tensor.name)
    reason = not_foldable(parameter.constant for parameter in link.parameters)
    if reason is not None:
        return reason
    for parameter in link.parameters:
        constant = parameter.constant
        if constant.dtype not in (np.float32, np.float64):
            return Reason("`{}` is {}, which would round the scaled values", constant.name, np.dtype(constant.dtype))
        if len(constant.outputs) > 1 and len(constant.shape) > 1:
            return Reason("`{}` has {} users", constant.name, len(constant.outputs))
    return None


class _Walk:
    def __init__(self, link: Link, rewriter: Rewriter) -> None:
        self.link, self.rewriter = link, rewriter
        self.seen: dict[int, Barrier] = {}

    def run(self, labels: Labels) -> None:
        waiting: deque[tuple[gs.Tensor, Labels]] = deque([(self.link.tensor, labels)])
        while waiting:
            tensor, labels = waiting.popleft()
            self.link.carriers.append((tensor, labels))
            if self.rewriter.is_output(tensor):
                reason = Reason("`{}` is an output of the graph", tensor.name)
                self.link.barriers.append(Barrier(tensor, labels, reason))
            for node, position in _uses(tensor):
                waiting.extend(self._follow(node, position, tensor, labels))

    def _follow(
        self, node: gs.Node, position: int, tensor: gs.Tensor, labels: Labels
    ) -> list[tuple[gs.Tensor, Labels]]:
        """The tensors in which the channels go on behind a reader; the link takes note of what the reader is."""
        link = self.link
        obstacle = self._obstacle(node, tensor)
        if obstacle is not None:
            link.barriers.append(Barrier(tensor, labels, obstacle))
            return []
        onward = read(node, position, labels) or passed(node, position, labels)
        if isinstance(onward, Reader):
            link.readers.append(onward)
            link.parameters.append(onward.weight)
            return []
        if onward is None:
            onward = Reason("`{}` ({}) does not commute with a scale", node_name(node), op_key(node))
        if isinstance(onward, Reason):
            link.barriers.append(Barrier(tensor, labels, onward, node, position))
            return []
        self.seen[id(node)] = Barrier(tensor, labels, Reason("`{}` reads the channels twice", node_name(node)))
        link.parameters.extend(onward.parameters)
        return onward.outputs

    def _obstacle(self, node: gs.Node, tensor: gs.Tensor) -> Reason | None:
        """Why the channels cannot go through this reader, whatever its operator."""
        if not self.rewriter.owns(node):
            return Reason("`{}` is read inside of a sub-graph", tensor.name)
        earlier = self.seen.get(id(node))
        if earlier is None:
            return None
        self.link.barriers.append(earlier)
        return earlier.reason


def _uses(tensor: gs.Tensor) -> list[tuple[gs.Node, int]]:
    readers = {id(node): node for node in tensor.outputs}.values()
    return [(node, position) for node in readers for position, read in enumerate(node.inputs) if read is tensor]
