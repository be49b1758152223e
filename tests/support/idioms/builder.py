"""Grows the graph around an idiom: random inputs, constants, surroundings, and what may stand in a rule's way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx.helper import make_graph, make_node, make_tensor_value_info, np_dtype_to_tensor_dtype

from pruna_ir.runtime.session import Session

T = TypeVar("T")

# Sizes of the graph's inputs: all known, but for the batch, none.
SHAPES = ("static", "static", "batch", "batch", "open")
# One thing at most stands in the way, so that rules fire most of the time: a tensor of the idiom is an output of the
# graph, is read by another node or inside of an If; a constant is an input, or is read by another node.
TROUBLES = ("", "", "", "output", "reader", "body", "input", "shared")
_BEFORE = ("Sigmoid", "Tanh", "Mul", "Identity")
# Behind an idiom nothing that squeezes values together: errors are relative to the range of what comes out.
_BEHIND = ("Mul", "Neg", "Identity")


@dataclass
class Builder:
    """A graph that grows node by node; tensors are names. Every choice is drawn, so that failures shrink.

    Idioms call `source` for what they read, `op` and `constant` for what they are made of, and `between` for each
    tensor inside of them.
    """

    draw: st.DrawFn
    opset: int
    dtype: np.dtype
    random: np.random.Generator
    sizes: str
    trouble: str
    constant_nodes: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    feeds: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def pick(self, *choices: T) -> T:
        """One of several things."""
        return self.draw(st.sampled_from(choices))

    def chance(self, times: int = 2) -> bool:
        """True once in so many times."""
        return self.draw(st.integers(1, times)) == times

    def size(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included."""
        return self.draw(st.integers(low, high))

    def values(self, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        """An array of random numbers of the graph's type, which fill the interval: errors are relative to ranges."""
        count = math.prod(shape)
        spread = np.linspace(low, high, count) if count > 1 else self.random.uniform(low, high, count)
        return self.random.permutation(spread).reshape(shape).astype(self.dtype)

    def weights(self, *shape: int) -> np.ndarray:
        """An array of random numbers between 1/4 and 1 and their negatives: none is next to nothing."""
        sizes = self.random.uniform(0.25, 1.0, shape)
        return np.asarray(sizes * self.random.choice([-1.0, 1.0], shape)).astype(self.dtype)

    def order(self, *items: T) -> list[T]:
        """The items in any order: the operands of what is commutative."""
        return list(self.draw(st.permutations(items)))

    def source(self, *shape: int, low: float = -1.0, high: float = 1.0, bare: bool = False) -> str:
        """An input of the graph, at times one that is there already, with or without a node behind it."""
        values = self.values(*shape, low=low, high=high)
        fits = [
            name
            for name, known in self.feeds.items()
            if (known.shape, known.dtype) == (values.shape, values.dtype) and low <= known.min() <= known.max() <= high
        ]
        name = self.pick(*fits) if fits and self.chance(3) else self.input(values, self.sizes)
        return name if bare else self._surround(name, _BEFORE)

    def input(self, values: np.ndarray, sizes: str = "static") -> str:
        """An input of the graph that will be fed these values; `sizes` says which are known."""
        name = f"in{len(self.inputs)}"
        dims: list[int | str] = list(values.shape)
        if dims and sizes == "batch":
            dims[0] = f"n{dims[0]}"
        elif sizes == "open":
            dims = [f"{name}_{axis}" for axis in range(len(dims))]
        self.inputs.append(make_tensor_value_info(name, np_dtype_to_tensor_dtype(values.dtype), dims))
        self.feeds[name] = values
        return name

    def constant(self, values: Any) -> str:
        """A constant of an idiom: an initializer or a Constant node; at times an input, or read by others too."""
        array = np.asarray(values)
        if self._trips("input"):
            return self.input(array)
        name = self._store(array)
        if self._trips("shared"):
            self.outputs.append(self.op("Flatten", name, axis=0))
        return name

    def _store(self, array: np.ndarray) -> str:
        name = f"k{len(self.stored)}_{len(self.nodes)}"
        alike = [other for other, known in self.stored.items() if _alike(known, array)]
        if alike and self.chance(4):
            return self.pick(*alike)
        if self.constant_nodes and self.chance(2):
            return self.op("Constant", value=onnx.numpy_helper.from_array(array))
        self.stored[name] = array
        return name

    def number(self, value: float, dtype: Any = None, shapes: Sequence[tuple[int, ...]] = ((), (1,), (1, 1))) -> str:
        """A constant with one element, of the graph's type unless another is given."""
        return self.constant(np.full(self.pick(*shapes), value, dtype or self.dtype))

    def indices(self, *values: int) -> str:
        """A vector of 64-bit integers, as shapes and axes are; it never is an input."""
        return self._store(np.array(values, np.int64))

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        return self.ops(op, *inputs, outputs=1, **attributes)[0]

    def ops(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """A node with several outputs."""
        names = [f"t{len(self.nodes)}" if outputs == 1 else f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(make_node(op, inputs, names, **attributes))
        return names

    def between(self, name: str) -> str:
        """A tensor inside of an idiom: at times others need it too."""
        if name in self.feeds:
            return name
        if self._trips("output"):
            self.outputs.append(name)
        elif self._trips("reader"):
            self.outputs.append(self.op("Identity", self.op("Abs", name)))
        elif self._trips("body"):
            self.outputs.append(self._read_in_body(name))
        return name

    def axes_op(self, op: str, name: str, axes: Sequence[int], since: int = 18, **attributes: Any) -> str:
        """A node whose axes are an attribute before opset `since`, and an input from there on."""
        if self.opset < since:
            return self.op(op, name, axes=list(axes), **attributes)
        return self.op(op, name, self.indices(*axes), **attributes)

    def _trips(self, trouble: str) -> bool:
        """Whether this is the place of the trouble, which comes once."""
        if self.trouble != trouble or not self.chance(2):
            return False
        self.trouble = ""
        return True

    def _read_in_body(self, name: str) -> str:
        flag, number = self.input(np.array(True)), len(self.nodes)
        bodies = {
            branch: make_graph(
                [make_node(op, [name], [f"{branch}{number}"])],
                branch,
                [],
                [onnx.ValueInfoProto(name=f"{branch}{number}")],
            )
            for branch, op in (("then_branch", "Abs"), ("else_branch", "Neg"))
        }
        return self.op("If", flag, **bodies)

    def _surround(self, name: str, ops: Sequence[str]) -> str:
        """At times a node that keeps shape and type."""
        if self.chance(2):
            return name
        op = self.pick(*ops)
        operands = self.order(name, self._store(np.array(0.75, self.dtype))) if op == "Mul" else [name]
        return self.op(op, *operands)

    def finish(self, *ends: str) -> onnx.ModelProto:
        """The model, with what the idiom gives as outputs, as such or behind another node."""
        self.outputs = list(dict.fromkeys([*(self._surround(end, _BEHIND) for end in ends), *self.outputs]))
        untyped = [onnx.ValueInfoProto(name=name) for name in self.outputs]
        proto = self._model(self.nodes, self.stored, untyped)
        return self._inside_if(proto) if self.chance(6) else proto

    def _model(
        self, nodes: Sequence[onnx.NodeProto], weights: dict[str, np.ndarray], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        graph = make_graph(nodes, "generated", self.inputs, outputs, _stored(weights))
        imports = [onnx.helper.make_opsetid("", self.opset)]
        proto = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        if not all(value.type.tensor_type.HasField("shape") for value in proto.graph.output):
            self._type_by_running(proto)
        return proto

    def _type_by_running(self, proto: onnx.ModelProto) -> None:
        """Give the outputs the types and ranks that they turn out to have: ONNX cannot infer all."""
        for value, array in zip(
            proto.graph.output, Session(proto, optimize=False).run(self.feeds).values(), strict=True
        ):
            value.CopyFrom(
                make_tensor_value_info(value.name, np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
            )

    def _inside_if(self, flat: onnx.ModelProto) -> onnx.ModelProto:
        """The graph as the branch of an If that is taken; its constants stand inside or outside."""
        inside = self.stored if self.chance(2) else {}
        ends = flat.graph.output
        then = make_graph(self.nodes, "then", [], [onnx.ValueInfoProto(name=end.name) for end in ends], _stored(inside))
        zeros = [make_node("Constant", [], [f"else_{end.name}"], value=_zeros(end)) for end in ends]
        other = make_graph(zeros, "else", [], [onnx.ValueInfoProto(name=f"else_{end.name}") for end in ends])
        flag, names = self.input(np.array(True)), [f"if_{end.name}" for end in ends]
        node = make_node("If", [flag], names, then_branch=then, else_branch=other)
        types = [onnx.helper.make_value_info(name, end.type) for name, end in zip(names, ends, strict=True)]
        return self._model([node], {} if inside else self.stored, types)


def _alike(known: np.ndarray, array: np.ndarray) -> bool:
    """Whether a constant may stand for another: numbers only for themselves, weights for others of their sign."""
    if known.dtype != array.dtype or known.shape != array.shape:
        return False
    if array.size < 2 or array.dtype.kind != "f":
        return np.array_equal(known, array)
    return bool(np.isfinite(known).all() and (known > 0).all() == (array > 0).all())


def _stored(arrays: dict[str, np.ndarray]) -> list[onnx.TensorProto]:
    return [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]


def _zeros(value: onnx.ValueInfoProto) -> onnx.TensorProto:
    tensor = value.type.tensor_type
    shape = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in tensor.shape.dim]
    return onnx.numpy_helper.from_array(np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)))
