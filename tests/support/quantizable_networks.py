"""Random small networks of the operators that quantization meets, for property tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from pruna_ir.model import Model

Shape = tuple[int, ...]
IMAGE: Shape = (1, 4, 6, 6)


@dataclass
class _Network:
    """Grows node by node, with the shape of every tensor known. Weights are small, and often shared."""

    draw: st.DrawFn
    random: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=lambda: {"x": IMAGE})
    seen: set[tuple[str, tuple[str, ...], str]] = field(default_factory=set)

    def pick(self, accepts: Callable[[Shape], bool]) -> str | None:
        """A tensor of an accepted shape, most often a late one."""
        found = [name for name, shape in self.shapes.items() if accepts(shape)]
        return self.draw(st.sampled_from(found[-1:] * 3 + found)) if found else None

    def weight(self, *shape: int, fan_in: int = 1) -> str:
        """A constant, often one that other nodes use already."""
        name = f"w{'_'.join(map(str, shape))}_{self.draw(st.integers(0, 2))}"
        if name not in self.weights:
            self.weights[name] = (self.random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
        return name

    def constant(self, values: Any, dtype: type) -> str:
        """A constant of its own."""
        name = f"k{len(self.weights)}"
        self.weights[name] = np.array(values, dtype)
        return name

    def add(self, op: str, inputs: Sequence[str], *shapes: Shape, **attributes: Any) -> None:
        """A node that writes a tensor of each shape, unless there is one like it: those are for `deduplicate`."""
        key = (op, tuple(inputs), str(attributes))
        if key in self.seen:
            return
        self.seen.add(key)
        names = [f"t{len(self.nodes)}_{index}" for index in range(len(shapes))]
        self.nodes.append(onnx.helper.make_node(op, inputs, names, **attributes))
        self.shapes.update(zip(names, shapes, strict=True))

    def grow(self) -> None:
        """Add one node of a kind that some tensor fits."""
        kind, accepts = self.draw(st.sampled_from(_KINDS))
        data = self.pick(accepts)
        if data is not None:
            kind(self, data, self.shapes[data])


def _conv(net: _Network, data: str, shape: Shape) -> None:
    channels, size = shape[1], net.draw(st.sampled_from([1, 3]))
    outputs, group = net.draw(st.sampled_from([(4, 1), (6, 1), (channels, channels)]))
    bias = [net.weight(outputs)] if net.draw(st.booleans()) else []
    weight = net.weight(outputs, channels // group, size, size, fan_in=channels // group * size * size)
    net.add("Conv", [data, weight, *bias], (1, outputs, *shape[2:]), pads=[size // 2] * 4, group=group)


def _gemm(net: _Network, data: str, shape: Shape) -> None:
    transposed = net.draw(st.booleans())
    sizes = (5, shape[1]) if transposed else (shape[1], 5)
    bias: Shape | None = net.draw(st.sampled_from([None, (5,), (1, 5), (1,), (1, 1), ()]))
    more = [] if bias is None else [net.weight(*bias)]
    net.add("Gemm", [data, net.weight(*sizes, fan_in=shape[1]), *more], (shape[0], 5), transB=int(transposed))


def _matmul(net: _Network, data: str, shape: Shape) -> None:
    net.add("MatMul", [data, net.weight(shape[-1], 5, fan_in=shape[-1])], (*shape[:-1], 5))


def _unary(net: _Network, data: str, shape: Shape) -> None:
    op, attributes = net.draw(
        st.sampled_from([("Relu", {}), ("Sigmoid", {}), ("LeakyRelu", {"alpha": 0.1}), ("Tanh", {}), ("Relu", {})])
    )
    net.add(op, [data], shape, **attributes)


def _clip(net: _Network, data: str, shape: Shape) -> None:
    low, high = net.draw(st.sampled_from([(0.0, 6.0), (-1.0, 1.0), (-0.04, 6.0), (None, 1.0), (0.1, 2.0), (0.0, None)]))
    net.add("Clip", [data, *("" if end is None else net.constant(end, np.float32) for end in (low, high))], shape)


def _join(net: _Network, data: str, shape: Shape) -> None:
    op = net.draw(st.sampled_from(["Add", "Add", "Mul", "Concat"]))
    other = net.pick(lambda found: found == shape)
    assert other is not None  # `data` itself has the shape
    if op == "Concat":
        net.add(op, [data, other], (shape[0], 2 * shape[1], *shape[2:]), axis=1)
    else:
        net.add(op, [data, other], shape)


def _affine(net: _Network, data: str, shape: Shape) -> None:
    other: Shape = net.draw(st.sampled_from([(), (1,), shape, shape[1:]]))
    inputs = net.draw(st.permutations([data, net.weight(*other)]))
    net.add(net.draw(st.sampled_from(["Add", "Mul"])), inputs, shape)


def _pool(net: _Network, data: str, shape: Shape) -> None:
    op = net.draw(st.sampled_from(["MaxPool", "AveragePool", "GlobalAveragePool"]))
    if op == "GlobalAveragePool":
        net.add(op, [data], (*shape[:2], 1, 1))
    else:
        net.add(op, [data], (*shape[:2], *(size - 1 for size in shape[2:])), kernel_shape=[2, 2])


def _move(net: _Network, data: str, shape: Shape) -> None:
    op = net.draw(st.sampled_from(["Transpose", "Flatten", "Reshape"]))
    if op == "Transpose":
        net.add(op, [data], (shape[0], shape[1], shape[3], shape[2]), perm=[0, 1, 3, 2])
    elif op == "Flatten":
        net.add(op, [data], (shape[0], int(np.prod(shape[1:]))))
    else:
        wanted = (shape[0], shape[1], 1, shape[2] * shape[3])
        net.add(op, [data, net.constant(wanted, np.int64)], wanted)


def _cut(net: _Network, data: str, shape: Shape) -> None:
    op = net.draw(st.sampled_from(["Split", "Slice", "Pad"]))
    half = (shape[0], shape[1] // 2, *shape[2:])
    if op == "Split":
        sizes = net.constant([shape[1] // 2, shape[1] - shape[1] // 2], np.int64)
        net.add(op, [data, sizes], half, (shape[0], shape[1] - shape[1] // 2, *shape[2:]), axis=1)
    elif op == "Slice":
        net.add(op, [data, *(net.constant([value], np.int64) for value in (0, shape[1] // 2, 1))], half)
    else:
        pads = [0, 0, 1, 1, 0, 0, 0, 0]
        net.add(op, [data, net.constant(pads, np.int64)], (*shape[:2], shape[2] + 1, shape[3] + 1))


def _is_image(shape: Shape) -> bool:
    return len(shape) == 4


_Kind = tuple[Callable[[_Network, str, Shape], None], Callable[[Shape], bool]]
_KINDS: list[_Kind] = [
    (_conv, _is_image),
    (_conv, _is_image),
    (_gemm, lambda shape: len(shape) == 2),
    (_gemm, lambda shape: len(shape) == 2),
    (_matmul, lambda shape: True),
    (_unary, lambda shape: True),
    (_clip, lambda shape: True),
    (_join, lambda shape: shape[1] <= 64),
    (_affine, lambda shape: True),
    (_pool, lambda shape: _is_image(shape) and min(shape[2:]) > 1),
    (_move, _is_image),
    (_cut, lambda shape: _is_image(shape) and shape[1] > 1),
]


@st.composite
def networks(draw: st.DrawFn, most: int = 14) -> Model:
    """Models of up to `most` nodes with one input `x` of IMAGE; what nothing reads is an output, at times more."""
    network = _Network(draw, np.random.default_rng(draw(st.integers(0, 3))))
    for _ in range(most):
        network.grow()
    network.add("Neg", ["x"], IMAGE)  # so that there is always a node
    read = {name for node in network.nodes for name in node.input}
    written = [name for node in network.nodes for name in node.output]
    more = draw(st.lists(st.sampled_from(written), max_size=2))
    outputs = [name for name in written if name not in read or name in more]
    graph = onnx.helper.make_graph(
        network.nodes,
        "random",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, IMAGE)],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, network.shapes[name]) for name in outputs],
        [onnx.numpy_helper.from_array(values, name) for name, values in network.weights.items()],
    )
    opset = onnx.helper.make_opsetid("", draw(st.sampled_from([13, 17, 21])))
    return Model.load(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10))
