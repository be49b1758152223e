"""What is derived equals what would have been captured."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pruna_ir.calibration import Record
from pruna_ir.calibration.derive import Derivation, derivations

INFINITE = np.inf


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, INFINITE), (0.0, 6.0), (-1.0, 1.0), (-INFINITE, INFINITE), (-INFINITE, 0.25), (50.0, 60.0), (-60.0, -50.0)],
)
def test_a_clipped_record_is_the_record_of_the_clipped(generator: np.random.Generator, low: float, high: float) -> None:
    values = generator.standard_normal(1000, np.float32) * np.float32(4)
    derived = Derivation("x", low, high).apply(Record.of(values))
    captured = Record.of(np.clip(values, np.float32(low), np.float32(high)))
    assert (derived.minimum, derived.maximum) == (captured.minimum, captured.maximum)
    assert derived.count == captured.count
    np.testing.assert_array_equal(derived.histogram, captured.histogram)


def test_nothing_finite_stays_nothing() -> None:
    record = Record.of(np.array([np.nan, np.inf], np.float32))
    assert Derivation("x", 0.0).apply(record) == record


def test_which_nodes_derive() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[2, 3] x, float low) => (float[6] out)
    <float zero = {0}, float six = {6}, int64[1] shape = {-1}>
    {
        relu = Relu (x)
        clip = Clip (x, zero, six)
        below = Clip (x, , six)
        open = Clip (x, low)
        limit = Constant <value = float {3}> ()
        constant = Clip (x, zero, limit)
        moved = Transpose (relu)
        doubled = Add (moved, moved)
        out = Reshape (doubled, shape)
    }
    """
    graph = onnx.parser.parse_model(text).graph
    everything = {name for node in graph.node for name in node.output} | {"x"}
    assert derivations(graph, everything) == {
        "relu": Derivation("x", 0.0, INFINITE),
        "clip": Derivation("x", 0.0, 6.0),
        "below": Derivation("x", -INFINITE, 6.0),
        "constant": Derivation("x", 0.0, 3.0),
        "moved": Derivation("relu"),
        "out": Derivation("doubled"),
    }
    assert derivations(graph, everything - {"x"}).keys() == {"moved", "out"}
    assert derivations(graph, ["relu"]) == {}


def test_clip_with_attributes() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 9]>
    net (float[2] x) => (float[2] y) { y = Clip <min = -1.0, max = 2.0> (x) }
    """
    graph = onnx.parser.parse_model(text).graph
    assert derivations(graph, {"x", "y"}) == {"y": Derivation("x", -1.0, 2.0)}
