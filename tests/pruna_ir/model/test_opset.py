from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model, opset
from pruna_ir.model.opset import relative_error


def model_at_11(*nodes: onnx.NodeProto, **dims: list[int]) -> onnx.ModelProto:
    values = {name: make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in dims.items()}
    inputs = [value for name, value in values.items() if name != "y"]
    graph = make_graph(nodes, "g", inputs, [values["y"]])
    return make_model(graph, opset_imports=[make_opsetid("", 11)], ir_version=6)


def test_a_conversion_that_changes_the_numbers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = model_at_11(make_node("Neg", ["x"], ["y"]), x=[4], y=[4])
    wrong.opset_import[0].version = 13
    monkeypatch.setattr(onnx.version_converter, "convert_version", lambda proto, version: wrong)
    with pytest.raises(PrunaError) as caught:
        Model.load(model_at_11(make_node("Abs", ["x"], ["y"]), x=[4], y=[4]))
    assert caught.value.diagnostic.code == "M010"


def test_a_conversion_that_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = model_at_11(make_node("Reshape", ["x", "s"], ["y"]), x=[4], y=[4])
    monkeypatch.setattr(onnx.version_converter, "convert_version", lambda proto, version: wrong)
    with pytest.raises(PrunaError, match="with the opset raised to 13 the model does not run"):
        Model.load(model_at_11(make_node("Abs", ["x"], ["y"]), x=[4], y=[4]))


def test_a_conversion_that_fails_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(proto: onnx.ModelProto, version: int) -> onnx.ModelProto:
        raise RuntimeError("no adapter for Abs\nmore")

    monkeypatch.setattr(onnx.version_converter, "convert_version", fail)
    with pytest.raises(PrunaError, match="the opset cannot be raised: no adapter for Abs") as caught:
        Model.load(model_at_11(make_node("Abs", ["x"], ["y"]), x=[4], y=[4]))
    assert caught.value.diagnostic.code == "M006"


def test_a_model_that_made_up_inputs_cannot_run_is_raised_unchecked() -> None:
    """The shape that it is told to take fits no random number."""
    graph = make_graph(
        [make_node("Reshape", ["x", "s"], ["y"])],
        "g",
        [make_tensor_value_info("x", 1, [6]), make_tensor_value_info("s", onnx.TensorProto.INT64, [3])],
        [make_tensor_value_info("y", 1, [1, 2, 3])],
    )
    model = Model.load(make_model(graph, opset_imports=[make_opsetid("", 11)], ir_version=6))
    assert model.notes == [f"opset raised from 11 to 13, unchecked: {opset.UNCOMPARABLE}"]


def test_a_model_without_standard_operators_needs_no_raise() -> None:
    assert opset.default_opset(onnx.ModelProto()) == onnx.defs.onnx_opset_version()


@pytest.mark.parametrize(
    ("wanted", "found", "error"),
    [
        ([0.0, 4.0], [0.0, 4.0], 0.0),
        ([0.0, 4.0], [1.0, 4.0], 0.25),
        ([-np.inf, 0, 4], [-np.inf, 0, 5], 0.25),
        ([np.nan, 0, 4], [np.nan, 1, 4], 0.25),
        ([np.nan, 4], [4.0, 4], math.inf),
        ([1.0, 4], [np.inf, 4], math.inf),
        ([-np.inf, 4], [np.inf, 4], math.inf),
        ([-np.inf, -np.inf], [-np.inf, -np.inf], 0.0),
        ([-np.inf, -np.inf], [-np.inf, 0], math.inf),
        ([8.0], [6.0], 0.25),  # a single value is its own range
        ([0.0], [0.5], 0.5),
        ([], [], 0.0),
        ([1.0, 2.0], [1.0], math.inf),
    ],
)
def test_relative_error(wanted: list[float], found: list[float], error: float) -> None:
    assert relative_error({"y": np.array(wanted)}, {"y": np.array(found)}) == pytest.approx(error)


def test_relative_error_of_other_types() -> None:
    assert relative_error({"y": np.array([0, 10])}, {"y": np.array([0, 9])}) == pytest.approx(0.1)
    assert relative_error({"y": np.array(["a"], object)}, {"y": np.array(["a"], object)}) == 0
    assert relative_error({"y": np.array(["a"], object)}, {"y": np.array(["b"], object)}) == math.inf
    assert relative_error({"y": np.array([True])}, {"y": np.array([False])}) == math.inf
    assert relative_error({"y": np.ones(1, np.float32)}, {"y": np.ones(1, np.float64)}) == math.inf
    assert relative_error({"y": np.array([255], np.uint8)}, {"y": np.array([0], np.uint8)}) == 1.0


def test_relative_error_takes_the_worst_output_and_misses_none() -> None:
    wanted = {"a": np.array([0.0, 1.0]), "b": np.array([0.0, 1.0])}
    assert relative_error(wanted, {"a": np.array([0.0, 1.0]), "b": np.array([0.5, 1.0])}) == 0.5
    assert relative_error(wanted, {"a": np.array([0.0, 1.0])}) == math.inf


def test_what_cannot_be_compared_must_at_least_load() -> None:
    header = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
    text = f"{header} g (float[n] x) => (float[7] y) <int64[1] s = {{7}}>"
    picky = onnx.parser.parse_model(text + "{ y = Reshape(x, s) }")
    assert opset.largest_difference(picky, picky) is None
    with pytest.raises(PrunaError, match="M009"):
        opset.largest_difference(picky, onnx.parser.parse_model(text + "{ y = com.microsoft.Nothing(x) }"))
