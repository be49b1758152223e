"""Small random networks of the operators that the exact passes know, for property tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from pruna_ir.model import Model

SHAPE = (1, 4, 5, 5)
FEATURES = 4 * 5 * 5


_KINDS = ("conv", "conv", "norm", "norm", "affine", "affine", "plain", "join", "dense")


@dataclass
class _Network:
    """Grows node by node. Tensors are images of SHAPE or, once flattened, rows; weights are drawn from a small pool.

    Nothing negates a tensor: where two paths cancel out, only rounding errors would be left to compare.
    """

    draw: st.DrawFn
    random: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    images: list[str] = field(default_factory=lambda: ["x"])
    rows: list[str] = field(default_factory=list)

    def pick(self, names: list[str]) -> str:
        return self.draw(st.sampled_from(names))

    def weight(self, *shape: int, positive: bool = False) -> str:
        """A constant, often one that other nodes use already."""
        name = f"{'p' if positive else 'w'}{'_'.join(map(str, shape))}_{self.draw(st.integers(0, 2))}"
        if name not in self.weights:
            values = self.random.random(shape) + 0.5 if positive else self.random.standard_normal(shape) * 0.5
            self.weights[name] = values.astype(np.float32)
        return name

    def add(self, op: str, *inputs: str, rows: bool = False, **attributes: Any) -> None:
        name = f"t{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, inputs, [name], **attributes))
        (self.rows if rows else self.images).append(name)

    def grow(self) -> None:
        """Add one node."""
        image = self.pick([*self.images[-1:] * 4, *self.images])  # most often a chain
        kind = self.draw(st.sampled_from(_KINDS))
        if kind == "conv":
            bias = [self.weight(4)] if self.draw(st.booleans()) else []
            self.add("Conv", image, self.weight(4, 4, 3, 3), *bias, pads=[1, 1, 1, 1])
        elif kind == "norm":
            statistics = [self.weight(4), self.weight(4), self.weight(4), self.weight(4, positive=True)]
            self.add("BatchNormalization", image, *statistics)
        elif kind == "affine":
            shape = self.draw(st.sampled_from([(), (1,), (4, 1, 1), (1, 4, 1, 1), (5,), SHAPE]))
            operands = [image, self.weight(*shape, positive=True)]
            self.add(self.draw(st.sampled_from(["Mul", "Add", "Sub", "Div"])), *operands)
        elif kind == "plain":
            self.add(self.draw(st.sampled_from(["Relu", "Identity", "Dropout"])), image)
        elif kind == "join":
            self.add("Add", image, self.pick(self.images))
        elif not self.rows or self.draw(st.booleans()):
            self.add("Flatten", image, rows=True)
            self.add("MatMul", self.rows.pop(), self.weight(FEATURES, 6), rows=True)
        else:
            self.add("Add", *self.draw(st.permutations([self.pick(self.rows), self.weight(6)])), rows=True)


@st.composite
def networks(draw: st.DrawFn, most: int = 14) -> Model:
    """Models of up to `most` steps with one input `x` of SHAPE; the last tensors are outputs, at times another one."""
    network = _Network(draw, np.random.default_rng(draw(st.integers(0, 3))))
    for _ in range(draw(st.integers(1, most))):
        network.grow()
    written = [name for node in network.nodes for name in node.output if name in (*network.images, *network.rows)]
    more = draw(st.lists(st.sampled_from(written), max_size=1)) if draw(st.booleans()) else []
    outputs = list(dict.fromkeys([network.images[-1], *network.rows[-1:], *more]))
    outputs = [name for name in outputs if name != "x"]
    graph = onnx.helper.make_graph(
        network.nodes,
        "random",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE)],
        [_output(name, name in network.images) for name in outputs],
        [onnx.numpy_helper.from_array(values, name) for name, values in network.weights.items()],
    )
    return Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))


def _output(name: str, is_image: bool) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SHAPE if is_image else (1, 6))
