"""Functions of one number and of several, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_nodes import agrees
from single_nodes import Fixed, node


def floats(low: float = -4.0, high: float = 4.0, shape: tuple[int, ...] = (2, 3, 4), seed: int = 0) -> np.ndarray:
    """Numbers of an interval."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def integers(dtype: str, low: int = -5, high: int = 6, shape: tuple[int, ...] = (2, 3), seed: int = 0) -> np.ndarray:
    """Whole numbers but zero; those of unsigned types are positive."""
    found = np.random.default_rng(seed).integers(1 if dtype[0] == "u" else low, high, shape)
    return np.where(found == 0, 2, found).astype(dtype)


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -1.5, 2.5, 0.5, -0.5], np.float32)


@pytest.mark.parametrize(
    ("op", "low", "high"),
    [
        *((op, -4, 4) for op in ("Abs", "Ceil", "Cos", "Exp", "Floor", "Neg", "Round", "Sign", "Sin", "Sinh", "Cosh")),
        *(
            (op, -4, 4)
            for op in ("Tanh", "Atan", "Asinh", "Erf", "Sigmoid", "Softplus", "Softsign", "Relu", "HardSwish")
        ),
        *((op, -1, 1) for op in ("Asin", "Acos")),
        *((op, 0.1, 4) for op in ("Log", "Reciprocal", "Sqrt")),
        ("Tan", -1.4, 1.4),
        ("Acosh", 1, 4),
        ("Atanh", -0.95, 0.95),
    ],
)
def test_functions(op: str, low: float, high: float) -> None:
    agrees(*node(op, floats(low, high)))


def test_a_logarithm_adds_nothing_to_its_argument() -> None:
    agrees(*node("Log", np.array([1e-20, 1e-8, 1.0], np.float32)))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {"alpha": 1.5}),
        ("Selu", {}),
        ("Celu", {"alpha": 2.0}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("Gelu", {}),
        ("Gelu", {"approximate": "tanh"}),
        ("Mish", {}),
        ("ThresholdedRelu", {"alpha": 0.7}),
        ("Shrink", {"lambd": 1.0, "bias": 0.5}),
        ("Softmax", {"axis": 1}),
        ("LogSoftmax", {"axis": 0}),
        ("Hardmax", {"axis": -1}),
    ],
)
def test_activations(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, floats(), **attributes))


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(0, None, "relu"), (0, 6, "relu6"), (-1, 2, "clip"), (None, 1, "minimum"), (2, 1, "minimum")],
)
def test_clip(low: float | None, high: float | None, kind: str) -> None:
    bounds = [None if bound is None else Fixed(bound, np.float32) for bound in (low, high)]
    assert kind in agrees(*node("Clip", floats(), *bounds))


def test_computed_bounds() -> None:
    agrees(*node("Clip", floats(), np.array(-1, np.float32), np.array(2, np.float32)))


@pytest.mark.parametrize(("shape", "kind"), [((3, 1, 1), "prelu"), ((1,), "prelu"), ((2, 3, 4, 5), "mul")])
def test_slopes(shape: tuple[int, ...], kind: str) -> None:
    assert kind in agrees(*node("PRelu", floats(shape=(2, 3, 4, 5)), Fixed(floats(0.1, 0.9, shape), np.float32)))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shapes", [((2, 3, 4), (4,)), ((3, 1), (2, 1, 4)), ((2, 3), ()), ((2, 1, 2, 3, 4), (3, 1))])
def test_arithmetic(op: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    agrees(*node(op, *(floats(1, 7, shape, seed) for seed, shape in enumerate(shapes))))


@pytest.mark.parametrize("op", ["Add", "Mul", "Div", "Max", "Equal", "Less", "Where"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integers(op: str, dtype: str) -> None:
    operands = [integers(dtype), integers(dtype, shape=(3,), seed=1)]
    agrees(*node(op, *([np.array([[True], [False]])] if op == "Where" else []), *operands))


def test_division_goes_towards_zero() -> None:
    agrees(*node("Div", np.array([-7, 7, -7], np.int32), np.array([2, -2, -2], np.int32)))


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 3])
def test_of_many(op: str, count: int) -> None:
    agrees(*node(op, *(floats(seed=seed) for seed in range(count))))


@pytest.mark.parametrize(
    "types", [("float32", "float32"), ("float32", "int64"), ("int32", "int32"), ("int64", "float32")]
)
def test_powers(types: tuple[str, str]) -> None:
    agrees(*node("Pow", floats(1, 7).astype(types[0]), floats(1, 4, seed=1).astype(types[1])))


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8"])
def test_modulo(fmod: int, dtype: str) -> None:
    x = np.array([-7, -4, -1, 1, 4, 7] if dtype[0] != "u" else [1, 2, 3, 4, 5, 6]).astype(dtype)
    y = np.array([3, -3, 2, 3, -3, 2] if dtype[0] != "u" else [3, 3, 2, 3, 3, 2]).astype(dtype)
    agrees(*node("Mod", x, y, fmod=fmod))


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op: str) -> None:
    agrees(*node(op, np.array([[True], [False]]), np.array([True, False])))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("Not", {}), ("IsNaN", {}), ("IsInf", {}), ("IsInf", {"detect_negative": 0}), ("IsInf", {"detect_positive": 0})],
)
def test_tests(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, SPECIAL > 0 if op == "Not" else SPECIAL, **attributes))


@pytest.mark.parametrize("shapes", [((2, 1), (3,), ()), ((2, 3), (), ()), ((1,), (2, 3), (3,))])
def test_a_choice_has_the_shape_of_all(shapes: tuple[tuple[int, ...], ...]) -> None:
    condition, *values = (floats(-1, 1, shape, seed) for seed, shape in enumerate(shapes))
    agrees(*node("Where", condition > 0, *values))


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"])
@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_bits(op: str, dtype: str) -> None:
    info, random = np.iinfo(dtype), np.random.default_rng(0)
    count = 1 if op == "BitwiseNot" else 2
    agrees(*node(op, *(random.integers(info.min, info.max, (3, 4), dtype=dtype) for _ in range(count))))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_shifts(direction: str, dtype: str) -> None:
    agrees(*node("BitShift", np.array([200, 9, 3], dtype), np.array([0, 1, 3], dtype), direction=direction))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts_that_leave_nothing(direction: str) -> None:
    """A negative shift is, without its sign, a large one."""
    values, amounts = np.array([-8, 100, -1, 7], np.int8), np.array([-1, -3, 9, -128], np.int8)
    agrees(*node("BitShift", values, amounts, direction=direction, opset=28))


@pytest.mark.parametrize("wanted", ["float32", "float16", "int8", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("given", ["float32", "int64", "uint8", "bool"])
def test_casts(given: str, wanted: str) -> None:
    from onnx.helper import np_dtype_to_tensor_dtype

    numbers = [-1.7, 0.0, 0.4, 99.6] if given == "float32" else [0, 1, 3, 100]
    values = np.array(numbers).astype(given)
    values = np.abs(values) if wanted == "uint8" else values
    agrees(*node("Cast", values, to=int(np_dtype_to_tensor_dtype(np.dtype(wanted)))))


def test_bytes_lose_their_upper_bits() -> None:
    agrees(*node("Cast", np.array([300, -1, 255, -129], np.int32), to=2))
    agrees(*node("Cast", np.array([300, 200, 127, -129], np.int32), to=3))
