"""Functions of one number, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, node

SHAPE = (2, 3, 4, 5)


def floats(low: float = -4.0, high: float = 4.0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Numbers of an interval."""
    return np.random.default_rng(0).uniform(low, high, shape).astype(np.float32)


def integers(dtype: str, low: int = -5, high: int = 6, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Whole numbers; those of unsigned types start at 0."""
    return np.random.default_rng(0).integers(0 if dtype.startswith("u") else low, high, shape).astype(dtype)


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -1.5, 2.5, 0.5, -0.5], np.float32)


@pytest.mark.parametrize(
    ("op", "low", "high", "codes"),
    [
        ("Abs", -4, 4, ["ABS"]),
        ("Ceil", -4, 4, ["CEIL"]),
        ("Cos", -4, 4, ["COS"]),
        ("Exp", -4, 4, ["EXP"]),
        ("Floor", -4, 4, ["FLOOR"]),
        ("Log", 0.01, 4, ["LOG"]),
        ("Neg", -4, 4, ["NEG"]),
        ("Reciprocal", 0.1, 4, ["DIV"]),
        ("Round", -4, 4, ["ROUND"]),
        ("Sign", -4, 4, ["SIGN"]),
        ("Sin", -4, 4, ["SIN"]),
        ("Sqrt", 0, 4, ["SQRT"]),
        ("Tan", -1.4, 1.4, ["SIN", "COS", "DIV"]),
        ("Sinh", -4, 4, None),
        ("Cosh", -4, 4, None),
        ("Asin", -1, 1, None),
        ("Acos", -1, 1, None),
        ("Atan", -4, 4, None),
        ("Asinh", -4, 4, None),
        ("Acosh", 1, 4, None),
        ("Atanh", -0.95, 0.95, None),
        ("Erf", -5, 5, None),
    ],
)
def test_functions(op: str, low: float, high: float, codes: list[str] | None) -> None:
    found = agrees(*node(op, floats(low, high)))
    assert codes is None or found == codes


@pytest.mark.parametrize("op", ["Abs", "Neg", "Sign"])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_integers(op: str, dtype: str) -> None:
    agrees(*node(op, integers(dtype)))


def test_erf_near_zero() -> None:
    """The relative error counts, not that of the range."""
    model, feeds = node("Erf", floats(-1e-3, 1e-3, (64,)))
    agrees(model, feeds, 1e-6)


def test_round_to_even() -> None:
    agrees(*node("Round", np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)), 0)


@pytest.mark.parametrize("op", ["IsNaN", "IsInf", "Abs", "Neg", "Sign"])
def test_special_numbers(op: str) -> None:
    agrees(*node(op, SPECIAL[1:] if op == "Sign" else SPECIAL))


@pytest.mark.parametrize(
    "signs", [{"detect_positive": 0}, {"detect_negative": 0}, {"detect_positive": 0, "detect_negative": 0}]
)
def test_infinities_of_one_sign(signs: dict[str, Any]) -> None:
    agrees(*node("IsInf", SPECIAL, **signs))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Celu", {}),
        ("Celu", {"alpha": 2.5}),
        ("Elu", {}),
        ("Elu", {"alpha": 0.3}),
        ("Gelu", {}),
        ("Gelu", {"approximate": "tanh"}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 1 / 6}),
        ("HardSigmoid", {"alpha": 0.4, "beta": 0.3}),
        ("HardSwish", {}),
        ("Mish", {}),
        ("Selu", {}),
        ("Selu", {"alpha": 2.0, "gamma": 1.5}),
        ("Shrink", {}),
        ("Shrink", {"lambd": 1.5, "bias": 0.5}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("ThresholdedRelu", {}),
        ("ThresholdedRelu", {"alpha": 0.3}),
    ],
)
def test_activation_functions(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, floats(), **attributes))


def test_softplus_does_not_overflow() -> None:
    agrees(*node("Softplus", floats(-200, 200)))


@pytest.mark.parametrize(("op", "attributes"), [("Swish", {}), ("Swish", {"alpha": 1.7})])
def test_swish(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, floats(), opset=24, **attributes))


@pytest.mark.parametrize(("op", "attributes"), [("Gelu", {}), ("QuickGelu", {}), ("QuickGelu", {"alpha": 1.0})])
def test_operators_of_onnx_runtime(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, floats(), domain="com.microsoft", **attributes))


@pytest.mark.parametrize("slope", [(), (5,), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize("constant", [True, False])
def test_prelu(slope: tuple[int, ...], constant: bool) -> None:
    values = floats(-1, 1, slope)
    agrees(*node("PRelu", floats(), Fixed(values, np.float32) if constant else values))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
@pytest.mark.parametrize("to", ["uint8", "int8", "int16", "int32", "int64", "float32", "bool", "uint32"])
def test_cast(dtype: str, to: str) -> None:
    from onnx.helper import np_dtype_to_tensor_dtype

    agrees(*node("Cast", integers(dtype, 0), to=np_dtype_to_tensor_dtype(np.dtype(to))))


@pytest.mark.parametrize("to", ["int32", "int64", "uint8", "bool", "float64"])
def test_cast_of_floats(to: str) -> None:
    from onnx.helper import np_dtype_to_tensor_dtype

    agrees(*node("Cast", floats(0, 100), to=np_dtype_to_tensor_dtype(np.dtype(to))))
