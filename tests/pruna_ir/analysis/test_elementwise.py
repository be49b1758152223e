"""Every row computes what ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from pruna_ir.analysis.elementwise import function_of
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

X = np.concatenate([np.linspace(-6, 6, 97), [0.0]]).astype(np.float32)
UNARY: list[tuple[str, dict[str, Any], int]] = [
    ("Abs", {}, 17),
    ("Celu", {"alpha": 0.7}, 17),
    ("Clip", {}, 17),
    ("Elu", {"alpha": 0.5}, 17),
    ("Erf", {}, 17),
    ("Exp", {}, 17),
    ("Gelu", {}, 20),
    ("Gelu", {"approximate": "tanh"}, 20),
    ("HardSigmoid", {}, 17),
    ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.4}, 17),
    ("HardSwish", {}, 17),
    ("LeakyRelu", {}, 17),
    ("LeakyRelu", {"alpha": 0.3}, 17),
    ("Mish", {}, 18),
    ("Neg", {}, 17),
    ("Relu", {}, 17),
    ("Selu", {}, 17),
    ("Selu", {"alpha": 1.2, "gamma": 0.9}, 17),
    ("Sigmoid", {}, 17),
    ("Softplus", {}, 17),
    ("Softsign", {}, 17),
    ("Swish", {"alpha": 1.5}, 24),
    ("Tanh", {}, 17),
    ("ThresholdedRelu", {"alpha": 0.8}, 17),
]
WITH_SCALARS: list[tuple[str, list[float | None]]] = [
    ("Add", [0.3]),
    ("Clip", [-1.0, 2.0]),
    ("Clip", [None, 2.0]),
    ("Div", [3.0]),
    ("Max", [0.1]),
    ("Min", [0.1, 2.0]),
    ("Mul", [-0.5]),
    ("PRelu", [0.2]),
    ("Pow", [2.0]),
    ("Sub", [1.0]),
]


def runtime(op: str, attributes: dict[str, Any], opset: int, scalars: list[float | None], x: np.ndarray) -> np.ndarray:
    names = ["" if value is None else f"c{index}" for index, value in enumerate(scalars)]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ["x", *names], ["y"], **attributes)],
        "one",
        [onnx.helper.make_tensor_value_info("x", 1, [len(x)])],
        [onnx.helper.make_tensor_value_info("y", 1, [len(x)])],
        [
            onnx.numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in zip(names, scalars, strict=True)
            if value is not None
        ],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    return Session(Model.load(proto)).run({"x": x})["y"]


@pytest.mark.parametrize(("op", "attributes", "opset"), UNARY)
def test_functions_of_one_operand(op: str, attributes: dict[str, Any], opset: int) -> None:
    function = function_of(op, attributes)
    assert function is not None
    np.testing.assert_allclose(function(X), runtime(op, attributes, opset, [], X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("op", "scalars"), WITH_SCALARS)
def test_functions_with_scalars(op: str, scalars: list[float | None]) -> None:
    function = function_of(op, {})
    assert function is not None
    np.testing.assert_allclose(function(X, *scalars), runtime(op, {}, 17, scalars, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["Sqrt", "Reciprocal"])
def test_functions_of_positive_values(op: str) -> None:
    function = function_of(op, {})
    assert function is not None
    positive = np.abs(X) + 0.1
    np.testing.assert_allclose(function(positive), runtime(op, {}, 17, [], positive), rtol=1e-5)


def test_clip_of_old_opsets_has_attributes() -> None:
    function = function_of("Clip", {"min": -1.0, "max": 2.0})
    assert function is not None
    np.testing.assert_array_equal(function(X), np.clip(X, -1, 2))


def test_nothing_overflows_on_the_way() -> None:
    for op in ("Sigmoid", "Softplus", "Swish", "Mish", "Elu", "Selu", "Celu", "Tanh", "Gelu"):
        function = function_of(op, {})
        assert function is not None
        assert np.isfinite(function(np.array([-1000.0, 1000.0]))).all()


@pytest.mark.parametrize("op", ["Softmax", "Conv", "MaxPool"])
def test_other_ops_have_no_row(op: str) -> None:
    assert function_of(op, {}) is None
