"""Kernels: the nodes of a graph as the runtime sees them, with what became part of them taken away from around them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs


@dataclass(eq=False)
class Kernel:
    """A node that becomes one operator or a few.

    `inputs` are what it reads: where it runs in integers (`integer`) those are the integers behind a DequantizeLinear,
    not its result. `outputs` are what it writes once an activation function and a QuantizeLinear behind it have become
    part of it. `activation` is the name of that function in the schema.
    """

    node: gs.Node
    inputs: list[gs.Tensor]
    outputs: list[gs.Tensor]
    activation: str = "NONE"
    integer: bool = False

    @property
    def op(self) -> str:
        """The operator; those of other domains than ONNX's carry their domain's name."""
        domain = self.node.domain
        return str(self.node.op) if domain in (None, "", "ai.onnx") else f"{domain}.{self.node.op}"
