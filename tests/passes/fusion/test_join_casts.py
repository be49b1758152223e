"""Cast -> Cast."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.join_casts import JoinCasts
from pruna_ir.testing import check_pass, missed, ops

TYPES = {
    "float": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "double": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip


def casts(source: str, middle: str, target: str, opset: int = 17, after: str = "", outputs: str = "") -> Model:
    body = f"t = Cast <to: int = {TYPES[middle]}> (x) y = Cast <to: int = {TYPES[target]}> (t) {after}"
    return model_from(f"g ({source}[N] x) => ({target}[N] y{outputs}) {{ {body} }}", opset=opset)


@pytest.mark.parametrize(
    ("source", "middle", "target"),
    [
        ("float16", "float", "double"),
        ("float16", "float", "bool"),
        ("uint8", "int32", "float"),
        ("int32", "double", "float"),
        ("int8", "float", "int16"),
        ("bool", "float", "int64"),
        ("int32", "int64", "int8"),
    ],
)
def test_fires(source: str, middle: str, target: str) -> None:
    after, result = check_pass(JoinCasts(), casts(source, middle, target), tolerance=0)
    assert ops(after) == ["Cast"]
    assert result.counts == {"join-casts": 1}


def test_cancels_and_the_first_stays_for_others() -> None:
    text = """g (float16[2] x) => (float16[2] y, float[2] z)
        { r = Exp(x) t = Cast <to: int = 1> (r) s = Cast <to: int = 10> (t) y = Neg(s) z = Neg(t) }"""
    after, _ = check_pass(JoinCasts(), model_from(text), tolerance=0)
    assert ops(after) == ["Exp", "Cast", "Neg", "Neg"]


def test_output_that_would_be_the_input_keeps_one() -> None:
    after, _ = check_pass(JoinCasts(), casts("float16", "float", "float16"), tolerance=0)
    assert ops(after) == ["Cast"]


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        (("float", "float16", "float"), "float16 does not hold every value of float32"),
        (("int64", "double", "int64"), "float64 does not hold every value of int64"),
        (("int32", "float", "int32"), "float32 does not hold every value of int32"),
        (("int8", "uint8", "int32"), "uint8 does not hold every value of int8"),
        (("int32", "bool", "int32"), "bool does not hold every value of int32"),
        (("float16", "float", "int32"), "what int32 does with values of float32 that it cannot hold is not defined"),
        (("int32", "double", "int8"), "what int8 does with values of float64 that it cannot hold is not defined"),
    ],
)
def test_may_differ(types: tuple[str, str, str], reason: str) -> None:
    after, result = check_pass(JoinCasts(), casts(*types))
    assert missed(result) == [reason]
    assert ops(after) == ["Cast", "Cast"]


def test_types_that_numpy_lacks() -> None:
    text = "g (float[2] x) => (float[2] y) { t = Cast <to: int = 16> (x) y = Cast <to: int = 1> (t) }"
    _, result = check_pass(JoinCasts(), model_from(text))
    assert missed(result) == ["`t` holds 16, not numbers that NumPy knows"]


@pytest.mark.parametrize(
    ("after", "outputs", "reason"),
    [("", ", float[N] t", "`t` is an output of the graph"), ("z = Neg(t)", ", float[N] z", "`t` has 2 users")],
)
def test_tensor_between_is_needed(after: str, outputs: str, reason: str) -> None:
    _, result = check_pass(JoinCasts(), casts("float16", "float", "double", after=after, outputs=outputs))
    assert missed(result) == [reason]


def test_inside_of_a_sub_graph() -> None:
    text = """g (bool p, float16[2] x) => (double[2] r) {
        o = Cast <to: int = 1> (x)
        r = If (p) <
            then_branch = t () => (double[2] y) { a = Cast <to: int = 1> (x) y = Cast <to: int = 11> (a) },
            else_branch = e () => (double[2] z) { z = Cast <to: int = 11> (o) }
        >
    }"""
    feeds = {"p": np.array(True), "x": weight(2, dtype="float16")}
    after, result = check_pass(JoinCasts(), model_from(text), feeds=feeds)
    assert [node.op for node in after.graph.nodes[1].attrs["then_branch"].nodes] == ["Cast"]
    assert missed(result) == ["`o` is computed outside of the sub-graph that reads it"]


names = st.sampled_from(sorted(TYPES))


@settings(max_examples=40, deadline=None)
@given(names, names, names, st.integers(13, 23))
def test_extreme_values_of_every_type(source: str, middle: str, target: str, opset: int) -> None:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(TYPES[source])
    if dtype.kind == "b":
        values = np.array([True, False])
    elif dtype.kind == "f":
        values = np.array([0, -0.0, 0.3, -1.5, np.finfo(dtype).max, np.finfo(dtype).tiny, np.inf, np.nan], dtype)
    else:
        limits = np.iinfo(dtype)
        values = np.array([limits.min, limits.max, limits.max - 1, 1, 0, 100], dtype)
    model = casts(source, middle, target, opset)
    after, result = check_pass(JoinCasts(), model, feeds={"x": values}, tolerance=0)
    assert len(ops(after)) == (1 if result.changed else 2)
