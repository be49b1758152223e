"""All operators that a runtime lacks, written out together."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from, weight

from pruna_ir import registry
from pruna_ir.model import Model
from pruna_ir.passes.decomposition.decompose import decompose, why_not
from pruna_ir.pipeline.rules import Rule
from pruna_ir.testing import largest_difference, ops

PLAIN = {"Add", "Cast", "Clip", "Concat", "Div", "Gemm", "MatMul", "Mul", "Reshape", "Round", "Split", "Sub", "Tanh"}


@pytest.mark.parametrize("name", registry.DECOMPOSITION_RULES)
def test_every_one_is_a_rule(name: str) -> None:
    assert issubclass(registry.pass_class(name), Rule)
    assert registry.PASSES[name] == registry.DECOMPOSITION_RULES[name]


def einsum() -> Model:
    return model_from('g (float[2,3] x, float[3,4] y) => (float[2,4] z) { z = Einsum<equation="ij,jk->ik">(x, y) }')


def test_rules_run() -> None:
    model = einsum()
    assert decompose(model, PLAIN, "tflite")
    assert ops(model) == ["MatMul"]


def test_what_is_written_stays() -> None:
    model = einsum()
    assert not decompose(model, {*PLAIN, "Einsum"}, "tflite")
    assert ops(model) == ["Einsum"]


def test_bodies_of_the_standard() -> None:
    model = model_from("g (float[2,3] x) => (float[2,3] y) { y = Softplus(x) }", opset=18)
    before = model.clone()
    assert decompose(model, PLAIN, "tflite")
    assert "Softplus" not in ops(model)
    assert largest_difference(before, model) < 1e-6


def test_rules_for_what_bodies_are_written_in() -> None:
    """The body of DynamicQuantizeLinear ends in a QuantizeLinear whose scale is computed."""
    model = model_from("g (float[2,3] x) => (uint8[2,3] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear(x) }")
    before = model.clone()
    assert decompose(model, PLAIN, "tflite")
    assert not {"DynamicQuantizeLinear", "QuantizeLinear"} & {*ops(model)}
    assert largest_difference(before, model, {"x": weight(2, 3)}) < 1e-6


def test_why_not() -> None:
    unknown = model_from('g (float[n,3] x, float[3,4] y) => (float[n,4] z) { z = Einsum<equation="ij,jk->ik">(x, y) }')
    assert why_not(unknown.graph.nodes[0]) == "the shape of `x` is not known"
    assert not why_not(einsum().graph.nodes[0])
    assert not why_not(gs.Node("Det"))


def test_operators_without_a_body_stay() -> None:
    model = model_from("g (float[2,3] x) => (float[2,3] y) { y = Softplus(x) }", opset=17)
    assert not decompose(model, PLAIN, "tflite")
    assert ops(model) == ["Softplus"]


def test_unknown_operators_stay() -> None:
    model = model_from("g (float[2,2] x) => (float y) { y = Det(x) }")
    assert not decompose(model, PLAIN, "tflite")
    assert ops(model) == ["Det"]
