"""What computes in 32 bits where the rest computes in 16: measured on samples, or by rules about operators."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_nodes import written
from onnx_text import model_from, positive, weight

import pruna_ir as pi
from pruna_ir.backends.coreml.exactness import exact_nodes
from pruna_ir.backends.coreml.rounding import RoundedModel
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

# Energies down to 1e-9, and a head behind their logarithms.
ENERGIES = """g (float[1,16] x) => (float[1,4] scores) {
    squares = Mul (x, x)
    energies = MatMul (squares, bank)
    floored = Add (energies, floor)
    logs = Log (floored)
    hidden = MatMul (logs, w)
    active = Relu (hidden)
    scores = MatMul (active, head)
}"""
FRONT = {"squares", "energies", "floored", "logs"}
QUIET = [{"x": (weight(1, 16, seed=seed) * 10.0 ** -(seed + 2)).astype(np.float32)} for seed in range(5)]


CONSTANTS: dict[str, Any] = {
    "bank": positive(16, 8),
    "floor": np.float32(1e-9),
    "w": weight(8, 32),
    "head": weight(32, 4),
}


def energies() -> Model:
    return model_from(ENERGIES, **CONSTANTS)


def plain() -> Model:
    text = "g (float[1,16] x) => (float[1,4] y) { h = MatMul (x, w)  r = Relu (h)  y = MatMul (r, v) }"
    return model_from(text, w=weight(16, 32), v=weight(32, 4))


def test_logarithms_of_small_numbers() -> None:
    exact = exact_nodes(energies(), QUIET)
    assert {"floored", "logs"} <= exact.names <= FRONT
    assert "16 bits" in str(exact.remarks[0]) and "Log" in str(exact.remarks[0])


def test_16_bits_where_they_suffice() -> None:
    assert not exact_nodes(plain(), QUIET[:1]).names
    loud = [{"x": positive(1, 16, seed=seed)} for seed in range(3)]
    assert not exact_nodes(energies(), loud).names


def test_the_package_is_as_it_was_planned(tmp_path: Path) -> None:
    from coremltools.converters.mil.mil.types import builtin_to_string

    session = written(energies(), tmp_path, compute="fp16", samples=tuple(QUIET))
    types = {
        op.outputs[0].name.partition("_cast")[0]: builtin_to_string(op.outputs[0].dtype)
        for op in session.program.function.operations
        if op.op_type in ("add", "log", "matmul", "relu", "mul", "linear")
    }
    assert types["logs"] == types["floored"] == "fp32"
    assert types["hidden"] == types["active"] == "fp16"
    reference = Session(energies(), optimize=False)
    for feeds in QUIET:
        wanted = reference.run(feeds)["scores"]
        assert np.abs(session.run(feeds)["scores"] - wanted).max() < 2e-2 * np.ptp(wanted)


def test_rounding_everything_is_too_much() -> None:
    """The same package without samples or rules is far off: what keeps it right is the choice."""
    names = [str(node.outputs[0].name) for node in energies().graph.nodes]
    rounded = RoundedModel(energies(), [names], QUIET)
    assert rounded.largest([0]) > 2e-2 and rounded.largest([]) < 1e-6


def test_samples_of_the_data_are_measured(tmp_path: Path) -> None:
    samples = np.concatenate([feeds["x"] for feeds in QUIET])
    artifact = pi.emit(energies(), "coreml", tmp_path / "model.mlpackage", data=samples)
    assert any("in 32 bits (" in str(remark) and "logs" not in remark.node for remark in artifact.remarks)


def test_values_near_the_largest() -> None:
    """40000 is finite in 16 bits, and twice as much is not."""
    model = model_from("g (float[1,4] x) => (float[1,4] y) { a = Mul (x, large)  y = Tanh (a) }", large=np.float32(4e4))
    exact = exact_nodes(model, [{"x": np.array([[0.1, -0.5, 0.9, 1.0]], np.float32)}])
    assert exact.names == {"a", "y"}
    assert "too near the largest float16" in str(exact.remarks[0])


def test_rules_without_samples() -> None:
    exact = exact_nodes(energies(), [])
    assert exact.names == FRONT
    assert "no samples" in str(exact.remarks[0])
    text = "g (float[1,4] x) => (float[1,4] y) { e = Exp (x)  s = Mul (e, c)  y = Add (s, c) }"
    exponential = model_from(text, c=np.float32(2))
    assert exact_nodes(exponential, []).names == {"e", "s"}
    assert not exact_nodes(plain(), []).names


def test_a_large_cone_is_left() -> None:
    """A logarithm of what a whole network computes does not keep it in 32 bits."""
    layers = " ".join(f"h{index} = Tanh (h{index - 1})" for index in range(1, 20))
    model = model_from(f"g (float[1,4] x) => (float[1,4] y) {{ h0 = Exp (x) {layers}  y = Log (h19) }}")
    assert exact_nodes(model, []).names == {"h0", "h1", "y"}


def test_quantized_values_may_go_either_way() -> None:
    model = plain()
    samples = np.concatenate([weight(1, 16, seed=seed) for seed in range(8)])
    PassManager.parse("quantize<guard=false>").run(model, data=samples, target="coreml")
    assert "QuantizeLinear" in {node.op for node in model.graph.nodes}
    assert not exact_nodes(model, [{"x": samples[:1]}]).names


@pytest.mark.parametrize("on", [[0], [1], [0, 1]])
def test_rounding_one_group(on: list[int]) -> None:
    """Reading, weights, and writing are rounded; a tensor between two groups for each that is on."""
    x, w, b = (weight(1, 8, seed=seed) for seed in range(3))
    model = model_from("g (float[1,8] x) => (float[1,8] y) { p = Mul (x, w)  y = Add (p, b) }", w=w, b=b)

    def half(value: np.ndarray) -> np.ndarray:
        return value.astype(np.float16).astype(np.float32)

    p = half(half(x) * half(w)) if 0 in on else x * w
    y = half(half(p) + half(b)) if 1 in on else p + b
    rounded = RoundedModel(model, [["p"], ["y"]], [{"x": x}])
    wanted = x * w + b
    assert rounded.largest(on) == pytest.approx(float(np.abs(y - wanted).max() / np.ptp(wanted)), rel=1e-3)
    assert 0 < rounded.noise(on) <= rounded.largest(on)


def test_counted_by_operator() -> None:
    exact = exact_nodes(energies(), [])
    assert str(exact.remarks[0].reason).startswith("4 nodes compute in 32 bits (Add, Log, MatMul, Mul)")
    assert Counter(remark.kind for remark in exact.remarks) == {"missed": 1}


def test_more_samples_at_a_time(tmp_path: Path) -> None:
    """A sample is repeated to the batch that the package takes."""
    model = model_from(ENERGIES.replace("[1,", "[n,"), **CONSTANTS)
    artifact = pi.emit(model, "coreml<batch=3>", tmp_path / "model.mlpackage", data=np.concatenate([*map(_x, QUIET)]))
    assert any("in 32 bits (" in str(remark) for remark in artifact.remarks)


def test_names_that_are_taken() -> None:
    text = "g (float[1,4] gates_0, float[1,4] gates__0) => (float[1,4] a) { a = Add (gates_0, gates__0) }"
    assert not exact_nodes(model_from(text), [{"gates_0": weight(1, 4), "gates__0": weight(1, 4)}]).names


def _x(feeds: dict[str, np.ndarray]) -> np.ndarray:
    return feeds["x"]
