"""Random computations of shapes: the same numbers on every size of the input, whatever could be folded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.simplify.fold_shapes import FoldShapes
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, largest_difference, run_pass

# Sizes of x[n,4,h,w], each a case of its own: all different, equal ones, ones.
SHAPES = [(2, 4, 3, 5), (4, 4, 4, 4), (1, 4, 1, 1), (3, 4, 1, 3)]


@dataclass
class _Graph:
    """Grows line by line; `numbers` are scalars that are computed so far."""

    draw: st.DrawFn
    lines: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)

    def add(self, text: str) -> str:
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return name

    def constant(self, *values: int, scalar: bool = False) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = np.array(values[0] if scalar else values, np.int64)
        return name

    def shape(self) -> str:
        """The shape of x, or of something of its shape."""
        source = self.draw(st.sampled_from(["x", "r", "m"]))
        return self.add(f"Shape({source})")

    def dimension(self, axis: int) -> str:
        """One dimension of x, as exporters take it."""
        kind = self.draw(st.sampled_from(["gather", "slice", "part"]))
        if kind == "gather":
            return self.add(f"Gather({self.shape()}, {self.constant(axis, scalar=True)})")
        if kind == "slice":
            part = self.add(f"Slice({self.shape()}, {self.constant(axis)}, {self.constant(axis + 1)})")
        else:
            part = self.add(f"Shape <start = {axis}, end = {axis + 1}> (x)")
        return self.add(f"Squeeze({part}, {self.constant(0)})")

    def number(self) -> str:
        """A scalar: a dimension, a constant, or computed from others."""
        kind = self.draw(st.sampled_from(["dimension", "constant", "arithmetic", "arithmetic", "choice", "float"]))
        if kind == "dimension" or not self.numbers:
            found = self.dimension(self.draw(st.integers(0, 3)))
        elif kind == "constant":
            found = self.constant(self.draw(st.integers(-2, 5)), scalar=True)
        elif kind == "arithmetic":
            op = self.draw(st.sampled_from(["Add", "Sub", "Mul", "Max", "Min", "Div", "Mod"]))
            second = self.pick()
            if op in ("Div", "Mod"):
                second = self.add(f"Max({second}, {self.constant(1, scalar=True)})")
            found = self.add(f"{op}({self.pick()}, {second})")
        elif kind == "choice":
            op = self.draw(st.sampled_from(["Equal", "Less", "GreaterOrEqual"]))
            found = self.add(f"Where({self.add(f'{op}({self.pick()}, {self.pick()})')}, {self.pick()}, {self.pick()})")
        else:
            half = self.add(f"Mul({self.add(f'Cast <to = 1> ({self.pick()})')}, half)")
            found = self.add(f"Cast <to = 7> ({self.add(f'Floor({half})')})")
        self.numbers.append(found)
        return found

    def pick(self) -> str:
        return self.draw(st.sampled_from(self.numbers))

    def vector(self, numbers: list[str]) -> str:
        """Scalars in a row."""
        if self.draw(st.booleans()):
            parts = [self.add(f"Unsqueeze({number}, {self.constant(0)})") for number in numbers]
        else:
            parts = [self.add(f"Reshape({number}, {self.constant(-1)})") for number in numbers]
        return self.add(f"Concat <axis = 0> ({', '.join(parts)})")

    def target(self) -> str:
        """A shape into which x fits: some neighbouring axes joined, perhaps one size left open."""
        cuts = sorted(self.draw(st.sets(st.integers(1, 3), max_size=3)))
        groups = [list(range(start, end)) for start, end in zip([0, *cuts], [*cuts, 4], strict=True)]
        left_open = self.draw(st.sampled_from([None, *range(len(groups))]))
        sizes = [
            self.constant(-1, scalar=True) if place == left_open else self.product(group)
            for place, group in enumerate(groups)
        ]
        return self.vector(sizes)

    def product(self, axes: list[int]) -> str:
        total = self.dimension(axes[0])
        for axis in axes[1:]:
            total = self.add(f"Mul({total}, {self.dimension(axis)})")
        return total


@st.composite
def graphs(draw: st.DrawFn) -> Model:
    """x[n,4,h,w] -> a vector of random numbers, x reshaped, a tensor expanded and x cut, all by computed shapes."""
    graph = _Graph(draw)
    for _ in range(draw(st.integers(1, 8))):
        graph.number()
    chosen = draw(st.lists(st.sampled_from(graph.numbers), min_size=1, max_size=4))
    numbers = graph.add(f"Cast <to = 1> ({graph.vector(chosen)})")
    reshaped = graph.add(f"Reshape({draw(st.sampled_from(['x', 'r']))}, {graph.target()})")
    expanded = graph.add(f"Expand({graph.add('ReduceMean <axes = [0, 2]> (x)')}, {graph.shape()})")
    axis = draw(st.integers(0, 3))
    end = graph.add(f"Reshape({graph.dimension(axis)}, {graph.constant(-1)})")
    cut = graph.add(f"Slice(x, {graph.constant(0)}, {end}, {graph.constant(axis)})")
    ends = [
        f"o{place} = {op}({name})"
        for place, (op, name) in enumerate(
            [
                ("Neg", numbers),
                ("Flatten", graph.add(f"Unsqueeze({reshaped}, {graph.constant(0)})")),
                ("Neg", expanded),
                ("Neg", cut),
            ]
        )
    ]
    outputs = "float[a] o0, float[b,c] o1, float[n,4,h,w] o2, float[n,4,h,w] o3"
    body = " ".join(["r = Relu(x) m = Mul(r, x)", *graph.lines, *ends])
    return model_from(
        f"g (float[n,4,h,w] x) => ({outputs}) {{ {body} }}",
        half=np.float32(0.5),
        **graph.constants,
    )


@settings(max_examples=25)
@given(graphs())
def test_numbers_stay(model: Model) -> None:
    after, _ = check_pass(FoldShapes(), model, feeds={"x": weight(*SHAPES[0])})
    for shape in SHAPES[1:]:
        assert largest_difference(model, after, {"x": weight(*shape)}) == 0


@settings(max_examples=8)
@given(graphs())
def test_with_the_passes_around_it(model: Model) -> None:
    after = model.clone()
    manager = PassManager.parse("fold-constants,fold-shapes,fold-constants,deduplicate,dead-code")
    manager.run(after)
    for shape in SHAPES:
        assert largest_difference(model, after, {"x": weight(*shape)}) == 0
    assert not run_pass(FoldShapes(), after).changed
