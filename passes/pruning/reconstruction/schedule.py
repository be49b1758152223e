"""The order in which a model is run while its layers are solved one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class Schedule:
    """`stages[0]` has the nodes in front of every layer, `stages[k]` layer k and all that can be run with it.

    So what a layer is to be solved for, other summands of its target included, is known as early as can be. `stage` is
    that of each tensor; inputs and constants are there from the start.
    """

    stages: tuple[tuple[onnx.NodeProto, ...], ...]
    stage: dict[str, int]
    last_read: dict[str, int]

    def known(self, tensor: str, before: int) -> bool:
        """Whether a tensor is computed in front of a stage."""
        return self.stage.get(tensor, 0) < before


def schedule(graph: onnx.GraphProto, layers: Sequence[str]) -> Schedule:
    """The schedule that stops at the nodes which write `layers`, given in graph order."""
    number = {key: index for index, key in enumerate(layers, 1)}
    stage: dict[str, int] = {}
    stages: list[list[onnx.NodeProto]] = [[] for _ in range(len(layers) + 1)]
    last_read: dict[str, int] = {}
    for node in graph.node:
        read = list(reads(node))
        own = number.get(node.output[0]) if node.output else None
        at = max((stage.get(name, 0) for name in read), default=0) if own is None else own
        stages[at].append(node)
        stage.update((name, at) for name in node.output if name)
        for name in read:
            last_read[name] = max(last_read.get(name, 0), at)
    return Schedule(tuple(map(tuple, stages)), stage, last_read)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads, the nodes of its sub-graphs included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for body in [attribute.g, *attribute.graphs]:
            for inner in body.node:
                yield from reads(inner)
            yield from (output.name for output in body.output)
