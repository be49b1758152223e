"""The error of every layer of a quantized model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_text import model_from
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from small_graphs import samples, small_net

from pruna_ir import diagnostics
from pruna_ir.analysis.diagnosis import damage_hints
from pruna_ir.analysis.diagnosis.distance import Distance
from pruna_ir.analysis.diagnosis.float_form import float_form
from pruna_ir.analysis.diagnosis.layer_errors import LayerError, layer_errors, output_sqnr
from pruna_ir.analysis.diagnosis.quantized_layers import Layer, Weight
from pruna_ir.analysis.qdq import pairs, params_of, round_trip
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

BATCHES = [{"x": sample[None]} for sample in samples(8)]


def quantized(text: str = "quantize<guard=false>") -> tuple[Model, Model]:
    """A quantized model and its float model."""
    model = small_net()
    result = PassManager.parse(text).run(model, data=samples())
    assert result.quantization is not None
    return model, result.quantization.reference


def by_tensor(model: Model, reference: Model, *, knows_weights: bool = True) -> dict[str, LayerError]:
    errors = layer_errors(model, reference, BATCHES, knows_weights=knows_weights)
    return {error.layer.wanted: error for error in errors}


def test_figures_of_a_sound_model() -> None:
    found = by_tensor(*quantized())
    assert set(found) == {"x", "r1", "c2", "k", "p", "f", "y"}
    assert sum(error.share for error in found.values()) == pytest.approx(1.0)
    alone = [float(error.alone) for error in found.values()]  # type: ignore[arg-type]
    assert alone == sorted(alone)
    assert found["r1"].layer.op == "Conv" and found["r1"].layer.node == "c1"
    assert found["r1"].runs_as == "QLinearConv" and not found["r1"].runs_in_float
    assert found["y"].runs_as == "QGemm" and isinstance(found["y"].activation, Unmeasured)
    assert all(float(found[name].weights) > 40 for name in ("r1", "c2", "y"))  # type: ignore[arg-type]
    assert all(float(found[name].runtime) > 60 for name in ("r1", "c2", "k", "y"))  # type: ignore[arg-type]
    assert all(float(error.cosine) > 0.999 for error in found.values())  # type: ignore[arg-type]


def test_alone_is_the_effect_of_one_layer() -> None:
    model, reference = quantized()
    found = by_tensor(model, reference)["x"]
    params = params_of(next(pair for pair in pairs(model.graph) if pair.source.name == "x").quantize)
    assert params is not None
    session, distance = Session(reference, optimize=False), Distance()
    for feeds in BATCHES[:4]:
        rounded = session.run({"x": round_trip(feeds["x"], params)})
        distance.add(session.run(feeds)["y"], rounded["y"])
    assert found.alone == pytest.approx(distance.sqnr_db, abs=0.01)


def test_last_layer_has_the_error_of_the_output() -> None:
    model, reference = quantized()
    expected = output_sqnr(Session(reference), Session(model, optimize=False), BATCHES)
    assert by_tensor(model, reference)["y"].accumulated == pytest.approx(expected, abs=0.01)


def scaled(model: Model, tensor: str, factor: float) -> Model:
    scale = model.graph.tensors()[f"{tensor}_scale"]
    scale.values = scale.values * np.float32(factor)
    return model


@pytest.mark.parametrize(("factor", "hint"), [(40.0, "of its values use"), (0.1, "of its values lie beyond the range")])
def test_bad_range_is_the_worst_layer_and_says_what_to_do(factor: float, hint: str) -> None:
    model, reference = quantized()
    worst = layer_errors(scaled(model, "c2", factor), reference, BATCHES)[0]
    assert worst.layer.wanted == "c2" and worst.share > 0.9
    assert hint in damage_hints.hint(worst)


def test_weights_stored_for_float_layers_count() -> None:
    model, reference = small_net(), small_net()
    PassManager.parse("store-weights<share=1>").run(model)
    found = by_tensor(model, reference)
    assert {error.layer.op for error in found.values()} == {"Conv", "Gemm"}
    for error in found.values():
        assert float(error.weights) > 40 and float(error.alone) > 30  # type: ignore[arg-type]
        assert isinstance(error.activation, Unmeasured)


def test_model_of_another_tool(tmp_path: Path) -> None:
    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter(BATCHES)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    source, made = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    small_net().save(source)
    quantize_static(source, made, Reader(), QuantFormat.QDQ, activation_type=QuantType.QUInt8, per_channel=True)
    model = Model.load(made)
    found = by_tensor(model, float_form(model), knows_weights=False)
    assert {error.layer.node for error in found.values() if error.layer.op == "Conv"} == {"c1", "c2"}
    for error in found.values():
        assert isinstance(error.weights, Unmeasured)
        assert float(error.accumulated) > 30 and error.share < 0.9  # type: ignore[arg-type]


def test_kernel_that_stays_in_float_is_noticed() -> None:
    """ONNX Runtime makes no integer kernel of a Conv without a pair behind it; what follows it is not to blame."""
    weights = np.random.default_rng(0).integers(-127, 128, (4, 3, 1, 1)).astype(np.int8)
    text = """g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float s = {0.03}, uint8 z = {128}, float v = {0.01}> {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        k = DequantizeLinear(w, v)
        c = Conv(d, k)
        t = Erf(c)
        p = QuantizeLinear(t, v, z)
        y = DequantizeLinear(p, v, z)
    }"""
    model = model_from(text, w=weights)
    found = by_tensor(model, float_form(model), knows_weights=False)
    assert {name: error.runs_in_float for name, error in found.items()} == {"x": False, "c": True, "y": False}


def test_runtime_of_another_machine_is_left_out() -> None:
    model, reference = quantized()
    found = layer_errors(model, reference, BATCHES, no_runtime=Unmeasured("elsewhere"))
    assert {item.runtime for item in found} == {Unmeasured("elsewhere")}
    assert not any(item.runs_as or item.runs_in_float for item in found)


def test_model_that_the_runtime_refuses_is_compared_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise diagnostics.error("M009", "ONNX Runtime refuses the model: why")

    monkeypatch.setattr("pruna_ir.analysis.diagnosis.layer_errors.optimized", refuse)
    found = layer_errors(*quantized(), BATCHES)
    assert {item.runtime for item in found} == {Unmeasured("ONNX Runtime refuses the model: why")}


def test_rounding_before_kernels_has_rows_of_its_own() -> None:
    """TensorRT wants Q/DQ on what kernels read: those behind ops in float belong to nobody else."""
    model, reference = quantized("quantize<target=tensorrt;guard=false>")
    assert [pair.source.name for pair in pairs(model.graph)] == ["k"]
    assert by_tensor(model, reference)["k"].layer.op == "Clip"


def test_float_model_has_no_layers() -> None:
    assert layer_errors(small_net(), small_net(), BATCHES) == []


LAYER = Layer("Conv", "c", "c", "c", "c", weight=Weight("c", 1, np.ones((1, 1)), np.ones((1, 1)), 1))
FINE = LayerError(
    LAYER, alone=20.0, weights=45.0, activation=45.0, saturated=0.0, bulk=1.0, accumulated=18.0, runtime=60.0, share=0.5
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"runtime": 12.0}, "the runtime's kernel saturates"),
        ({"runtime": 17.0}, "grows in the layers behind it"),
        ({"saturated": 0.02, "activation": 15.0}, "2.0% of its values lie beyond"),
        ({"bulk": 0.1, "activation": 20.0}, "use 10% of the range"),
        ({"weights": 20.0}, "share one scale"),
        ({"runs_in_float": True}, "in float"),
        ({"activation": 25.0}, "8 bits are too few"),
        ({}, "grows in the layers behind it"),
        ({"alone": 42.0}, "much of the damage comes from here"),
        ({"alone": 42.0, "share": 0.2}, ""),
        ({"alone": 50.0, "activation": 20.0, "bulk": 0.1}, ""),
        ({"share": 0.001, "weights": 10.0}, ""),
        ({"share": 0.0, "runtime": 5.0}, "the runtime's kernel saturates"),
    ],
)
def test_hints(change: dict[str, float], expected: str) -> None:
    found = damage_hints.hint(replace(FINE, **change))  # type: ignore[arg-type]
    assert expected in found and bool(found) == bool(expected)
