"""Other integer types for a quantized model, with the same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx_text import model_from
from small_graphs import samples, small_net

from pruna_ir import registry
from pruna_ir.analysis.qdq import pairs, params_of, stored
from pruna_ir.calibration.scheme import Scheme
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.quantization.retarget_qdq import RetargetQdq
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass, run_pass

UNSIGNED, SIGNED = registry.target("ort-x86-vnni"), registry.target("ort-arm")


def quantized(target: str) -> Model:
    model = small_net()
    PassManager.parse(f"quantize<target={target};guard=false>").run(model, data=samples())
    return model


def kinds(model: Model) -> set[str]:
    found = [params_of(pair.quantize) for pair in pairs(model.graph)]
    return {params.zero_point.dtype.name for params in found if params is not None}


@pytest.mark.parametrize(("source", "target"), [("ort-x86-vnni", "ort-arm"), ("ort-arm", "ort-x86-vnni")])
def test_there_and_back(source: str, target: str) -> None:
    model = quantized(source)
    after, result = check_pass(RetargetQdq(target=target), model, feeds={"x": samples()})
    assert result.counts["conversions"] == 2 * len(list(pairs(model.graph)))
    assert kinds(after) == {registry.target(target).activations.dtype.name} != kinds(model)
    expected = Session(model, optimize=False).run({"x": samples()})["y"]
    np.testing.assert_array_equal(Session(after, optimize=False).run({"x": samples()})["y"], expected)
    back, _ = check_pass(RetargetQdq(target=source), after)
    np.testing.assert_array_equal(Session(back, optimize=False).run({"x": samples()})["y"], expected)
    assert kinds(back) == kinds(model)


def test_the_same_target_changes_nothing() -> None:
    assert not check_pass(RetargetQdq(), quantized("ort-x86-vnni"), target=UNSIGNED)[1].changed
    assert not check_pass(RetargetQdq(), small_net())[1].changed


def test_biases_become_float_where_the_target_has_them() -> None:
    model = quantized("ort-arm")
    target = replace(SIGNED, bias_dtype="float32")
    after, result = check_pass(RetargetQdq(), model, target=target, feeds={"x": samples()})
    assert result.counts == {"biases in float": 2}
    biases = [node.inputs[2] for node in after.graph.nodes if node.op in ("Conv", "Gemm") and len(node.inputs) > 2]
    assert [stored(bias) for bias in biases] == [None, None]


STORED = """g (float[1,2,2,2] x) => (float[1,2,2,2] y)
<float s = {0.5}, int8 z = {0}, uint8[2,2,1,1] w = {VALUES}, float[2] ws = {0.5, 2}, uint8[2] wz = {ZERO, ZERO}> {
    q = QuantizeLinear(x, s, z)
    d = DequantizeLinear(q, s, z)
    v = DequantizeLinear <axis = 0> (w, ws, wz)
    c = Conv (d, v)
    p = QuantizeLinear(c, s, z)
    y = DequantizeLinear(p, s, z)
}"""


def with_weights(values: str, zero: int) -> Model:
    return model_from(STORED.replace("VALUES", values).replace("ZERO", str(zero)))


def refusal(model: Model, **target: object) -> str:
    before = model.fingerprint()
    with pytest.raises(PrunaError) as failure:
        run_pass(RetargetQdq(), model, target=replace(SIGNED, **target))
    assert failure.value.diagnostic.code == "Q001" and model.fingerprint() == before
    return str(failure.value)


def test_unsigned_weights_become_signed() -> None:
    after, result = check_pass(RetargetQdq(), with_weights("1, 128, 200, 255", 128), target=SIGNED)
    assert result.counts == {"stored constants": 1}
    weight = stored(next(node for node in after.graph.nodes if node.op == "Conv").inputs[1])
    assert weight is not None and weight.constant.values.reshape(-1).tolist() == [-127, 0, 72, 127]


def test_constant_that_is_no_weight_has_the_type_of_activations() -> None:
    text = """g (float[1,2] x) => (float[2,1,2] y)
    <float s = {0.5}, uint8 z = {11}, uint8[2,1,2] k = {0, 11, 200, 255}> {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        v = DequantizeLinear(k, s, z)
        a = Add(d, v)
        p = QuantizeLinear(a, s, z)
        y = DequantizeLinear(p, s, z)
    }"""
    after, result = check_pass(RetargetQdq(), model_from(text), target=SIGNED)
    assert result.counts == {"conversions": 4, "stored constants": 1}
    constant = stored(next(node for node in after.graph.nodes if node.op == "Add").inputs[1])
    assert constant is not None and constant.constant.dtype == np.int8


def test_refused_where_it_would_round_again() -> None:
    assert "its zero point would be 2, the target wants 0" in refusal(with_weights("1, 128, 200, 255", 130))
    assert "its values would reach from -128 to 127, the target has -127 to 127" in refusal(
        with_weights("0, 128, 200, 255", 128)
    )
    assert "a scale for each channel, the target one for all" in refusal(
        with_weights("1, 128, 200, 255", 128), weights=replace(SIGNED.weights, axis=None)
    )
    symmetric = Scheme(np.dtype(np.int8), symmetric=True)
    assert "`x_Q`: its zero point would be" in refusal(quantized("ort-x86-vnni"), activations=symmetric)


def test_refused_where_the_interface_would_change() -> None:
    model = model_from("""g (float[2] x) => (uint8[2] y) <float s = {1}, uint8 z = {3}> {
        y = QuantizeLinear(x, s, z)
    }""")
    assert "`y`, of uint8, is an input or output of the model" in refusal(model)


def test_refused_for_operators_on_integers_and_computed_scales() -> None:
    model = model_from("""g (uint8[2,2] x, float s) => (float[2,2] y) <uint8 z = {3}, uint8[2,2] w = {1, 2, 3, 4}> {
        m = MatMulInteger(x, w)
        d = DequantizeLinear(x, s, z)
        c = Cast <to = 1> (m)
        y = Add(c, d)
    }""")
    text = refusal(model)
    assert "(MatMulInteger) is no Q/DQ" in text and "its scale or zero point is not constant" in text


def test_sixteen_bits_stay_where_they_are_accepted() -> None:
    text = """g (float[2] x) => (float[2] y) <float s = {0.1}, uint16 z = {300}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
    }"""
    assert "it is uint16, not int8" in refusal(model_from(text, opset=21))
    target = replace(SIGNED, accepts=("uint16",))
    assert not check_pass(RetargetQdq(), model_from(text, opset=21), target=target)[1].changed
