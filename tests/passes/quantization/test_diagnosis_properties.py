"""Bias correction, diagnosis and other integer types on graphs that nobody wrote."""

from __future__ import annotations

import math

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from quantizable_networks import IMAGE, networks

from pruna_ir.analysis.diagnosis.float_form import float_form
from pruna_ir.analysis.diagnosis.layer_errors import layer_errors
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.runtime.session import Session

SAMPLES = np.random.default_rng(7).standard_normal((8, *IMAGE[1:])).astype(np.float32)
BATCHES = [{"x": sample[None]} for sample in SAMPLES[:3]]
# A graph is small, but its sessions are many.
FEW = settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])


def run(model: Model, text: str) -> RunResult:
    return PassManager.parse(text).run(model, data=SAMPLES)


def outputs(model: Model) -> dict[str, np.ndarray]:
    return Session(model, optimize=False).run(BATCHES[0])


@FEW
@given(networks())
def test_corrected_biases(model: Model) -> None:
    interface = (model.inputs(), model.outputs())
    run(model, "quantize<ranges=minmax;guard=false>,correct-bias<guard=false>")
    model.check()
    onnx.checker.check_model(model.to_proto(), full_check=True)
    assert (model.inputs(), model.outputs()) == interface
    for optimize in (False, True):
        assert all(np.isfinite(value).all() for value in Session(model, optimize=optimize).run(BATCHES[0]).values())


@FEW
@given(networks())
def test_diagnosis(model: Model) -> None:
    """Every layer has its figures, with the float model and with what is left of it."""
    quantization = run(model, "quantize<ranges=minmax;guard=false>").quantization
    form = float_form(model)
    form.check()
    assert {spec.name for spec in form.outputs()} == {spec.name for spec in model.outputs()}
    if quantization is None:
        return
    for reference, knows_weights in ((quantization.reference, True), (form, False)):
        errors = layer_errors(model, reference, BATCHES, knows_weights=knows_weights)
        assert {error.layer.wanted for error in errors} >= {
            item.wanted for item in quantization.counterparts(model) if knows_weights
        }
        for error in errors:
            assert isinstance(error.accumulated, float) and not math.isnan(error.accumulated)
            assert isinstance(error.alone, float) or isinstance(error.activation, Unmeasured)
        assert (
            not errors
            or math.isclose(sum(error.share for error in errors), 1.0)
            or all(error.share == 0.0 for error in errors)
        )


@FEW
@given(networks())
def test_other_integer_types(model: Model) -> None:
    run(model, "quantize<target=ort-x86-vnni;ranges=minmax;guard=false>")
    expected = outputs(model)
    for target in ("ort-arm", "ort-x86-vnni"):
        run(model, f"retarget-qdq<target={target}>")
        model.check()
        for name, found in outputs(model).items():
            np.testing.assert_array_equal(found, expected[name])
