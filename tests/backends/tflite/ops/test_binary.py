"""Arithmetic, comparisons and logic of several tensors, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, node

from pruna_ir.diagnostics import PrunaError

# Shapes that are broadcast to each other.
PAIRS = [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((3, 1), (2, 1, 4)), ((2, 3), ()), ((2, 1, 2, 3, 4), (3, 1))]
WIDE = ("float32", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")


def values(shape: tuple[int, ...], dtype: str, seed: int = 0, low: float = 1, high: float = 7) -> np.ndarray:
    """Positive numbers."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shapes", PAIRS)
def test_arithmetic(op: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    agrees(*node(op, *(values(shape, "float32", seed) for seed, shape in enumerate(shapes))))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("dtype", WIDE)
def test_arithmetic_of_integers(op: str, dtype: str) -> None:
    if (op, dtype) == ("Div", "uint32"):
        pytest.skip("LiteRT divides no integers of 64 bits")
    agrees(
        *node(
            op,
            values((2, 3), dtype, low=-20, high=100) if dtype[0] != "u" else values((2, 3), dtype),
            values((2, 3), dtype, 1),
        )
    )


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_bytes_wrap_around(op: str) -> None:
    agrees(*node(op, np.array([200, 100], np.uint8), np.array([100, 3], np.uint8)))


def test_division_goes_towards_zero() -> None:
    agrees(*node("Div", np.array([-7, 7, -7], np.int32), np.array([2, -2, -2], np.int32)))


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_of_many(op: str, count: int) -> None:
    agrees(*node(op, *(values((2, 3), "float32", seed) for seed in range(count))))


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_extremes_of_integers(op: str, dtype: str) -> None:
    agrees(*node(op, values((2, 3), dtype), values((3,), dtype, 1)))


@pytest.mark.parametrize(
    ("exponent", "codes"),
    [(2.0, ["MUL"]), (0.5, ["SQRT"]), (-0.5, ["RSQRT"]), (3.0, ["MUL", "MUL"]), (1.7, ["POW"]), (-2.0, ["POW"])],
)
def test_powers(exponent: float, codes: list[str]) -> None:
    assert agrees(*node("Pow", values((2, 3), "float32"), Fixed(exponent, np.float32))) == codes


@pytest.mark.parametrize("types", [("float32", "int64"), ("int32", "int32"), ("int64", "float32")])
def test_powers_of_two_types(types: tuple[str, str]) -> None:
    agrees(*node("Pow", values((2, 3), types[0]), values((2, 3), types[1], 1, high=4)))


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "float32"])
def test_modulo(fmod: int, dtype: str) -> None:
    if dtype == "float32" and not fmod:
        pytest.skip("ONNX Runtime takes only fmod of floats")
    x = np.array([-7, -4, -1, 1, 4, 7] if dtype[0] != "u" else [1, 2, 3, 4, 5, 6]).astype(dtype)
    y = np.array([3, -3, 2, 3, -3, 2] if dtype[0] != "u" else [3, 3, 2, 3, 3, 2]).astype(dtype)
    agrees(*node("Mod", x, y, fmod=fmod))


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16"])
def test_bits(op: str, dtype: str) -> None:
    info, random = np.iinfo(dtype), np.random.default_rng(0)
    agrees(*node(op, *(random.integers(info.min, info.max, (3, 4), dtype=dtype) for _ in range(2))))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
def test_inverted_bits(dtype: str) -> None:
    agrees(*node("BitwiseNot", values((3, 4), dtype)))


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr"])
def test_bits_of_32_are_refused(op: str) -> None:
    with pytest.raises(PrunaError, match="one operator cannot be written"):
        agrees(*node(op, values((2,), "int32"), values((2,), "int32")))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
@pytest.mark.parametrize("constant", [True, False])
def test_shifts(direction: str, dtype: str, constant: bool) -> None:
    amount = np.array([0, 1, 2, 3]).astype(dtype)
    inputs: list[Any] = [np.array([200, 100, 3, 77]).astype(dtype), Fixed(amount, dtype) if constant else amount]
    agrees(*node("BitShift", *inputs, direction=direction))


@pytest.mark.parametrize("op", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
@pytest.mark.parametrize("dtype", WIDE)
def test_comparisons(op: str, dtype: str) -> None:
    agrees(*node(op, values((2, 9), dtype, high=4), values((9,), dtype, 1, high=4)))


def test_equality_of_booleans() -> None:
    agrees(*node("Equal", np.array([True, False, True]), np.array([True, True, False])))


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(op: str) -> None:
    agrees(*node(op, np.array([[True], [False]]), np.array([True, False])))


def test_negation() -> None:
    agrees(*node("Not", np.array([True, False])))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int32", "int64"])
def test_where(dtype: str) -> None:
    condition = np.array([[True], [False]])
    agrees(*node("Where", condition, values((2, 3), dtype, low=0, high=2), values((3,), dtype, 1, low=0, high=2)))


def test_unsigned_integers_of_64_bits_are_refused() -> None:
    with pytest.raises(PrunaError) as failure:
        agrees(*node("Add", values((2,), "uint64"), values((2,), "uint64")))
    assert "LiteRT does not compute with uint64" in str(failure.value)
