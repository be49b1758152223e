"""How kernels are grouped for the guards."""

from __future__ import annotations

import numpy as np
import onnx
from small_graphs import build, conv, small_net, weights

from pruna_ir.passes.quantization.plan import make_plan
from pruna_ir.passes.quantization.regions import split
from pruna_ir.targets.ort_cpu import X86_VNNI

node = onnx.helper.make_node


def test_one_region_a_spatial_size() -> None:
    regions = split(make_plan(small_net().graph, X86_VNNI))
    assert [(region.name, region.kernels) for region in regions] == [
        ("8x8 input of `c1`", ("c1",)),
        ("8x8 from `c2`", ("c2", "a")),
        ("1x1 from `p`", ("p",)),
        ("flat from `f`", ("f", "y")),
    ]


def test_unconnected_kernels_of_one_size_are_apart_but_those_at_the_end() -> None:
    model = build(
        [
            conv("c", "x", "w"),
            conv("c2", "c", "w2"),
            node("MaxPool", ["c2"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Tanh", ["m"], ["t"]),
            node("Resize", ["t", "", "scales"], ["r"], mode="linear"),
            conv("d", "r", "w2"),
            conv("d2", "d", "w2"),
            conv("e", "d2", "w2"),
        ],
        {"x": [1, 3, 8, 8]},
        ["e"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1), "scales": np.array([1, 1, 2, 2], np.float32)},
    )
    regions = split(make_plan(model.graph, X86_VNNI))
    assert [region.kernels for region in regions] == [("c",), ("c2", "e"), ("d", "d2")]


def test_kernels_that_read_the_models_input_are_apart() -> None:
    model = build(
        [
            conv("a", "x", "w"),
            conv("b", "x", "w"),
            node("Add", ["a", "b"], ["s"]),
            conv("c", "s", "w2"),
            conv("y", "c", "w2"),
        ],
        {"x": [1, 3, 8, 8]},
        ["y"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    regions = split(make_plan(model.graph, X86_VNNI))
    assert [(region.name, region.kernels) for region in regions] == [
        ("8x8 input of `a`", ("a",)),
        ("8x8 input of `b`", ("b",)),
        ("8x8 from `s`", ("s", "c")),
        ("8x8 outputs `y`", ("y",)),
    ]


def test_kernels_that_only_float_ops_read_are_apart() -> None:
    model = build(
        [conv("c", "x", "w"), conv("head1", "c", "w2"), conv("head2", "c", "w2"), node("Exp", ["head1"], ["h1"])],
        {"x": [1, 3, 8, 8]},
        ["h1", "head2"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    regions = split(make_plan(model.graph, X86_VNNI))
    assert [region.name for region in regions] == ["8x8 input of `c`", "8x8 outputs `head1`"]
    assert regions[1].kernels == ("head1", "head2")


def test_repeated_blocks_are_of_one_kind() -> None:
    model = build(
        [
            node("Tanh", ["x"], ["s"]),
            conv("a", "s", "w"),
            node("Tanh", ["a"], ["t"]),
            conv("b", "t", "w"),
            node("Tanh", ["b"], ["u"]),
            node("MatMul", ["u", "m"], ["c"]),
        ],
        {"x": [1, 4, 8, 8]},
        ["c"],
        {"w": weights(0, 4, 4, 1, 1), "m": weights(1, 8, 8)},
    )
    plan = make_plan(model.graph, X86_VNNI)
    for kernel in plan.kernels:  # as if none were at the end: those make one region
        plan._read.add(id(kernel.output))
    first, second, other = split(plan)
    assert first.kind == second.kind != other.kind
