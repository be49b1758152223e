from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pruna_ir.data.fit import Fit, batch_axis
from pruna_ir.data.sources import UNNAMED, Sample


def rows(specs: list[Any], arrays: dict[str, np.ndarray], label: Any = None, **options: Any) -> list[Any]:
    return list(Fit(tuple(specs), "split `calibration`", **options).rows(Sample(arrays, label), 3))


def test_batch_axis(spec: Any) -> None:
    assert batch_axis([spec("a", "N", 3), spec("b", None, 2)])
    assert batch_axis([spec("a", 4, 3), spec("b", 4, 2)])
    assert not batch_axis([spec("a", "N", 3), spec("b", 2, 3)])
    assert not batch_axis([spec("a", "N", 3), spec("rate")])


def test_unnamed_array_goes_to_the_single_input(spec: Any) -> None:
    ((feeds, label),) = rows([spec("x", "N", 3)], {UNNAMED: np.ones(3, np.float32)}, label=4)
    assert feeds["x"].shape == (3,) and label == 4


def test_ready_batch_becomes_rows(spec: Any, refuses: Any) -> None:
    found = rows([spec("x", 1, 3)], {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, label=np.array([8, 9]))
    assert [(feeds["x"].tolist(), label) for feeds, label in found] == [([0, 1, 2], 8), ([3, 4, 5], 9)]
    with refuses("D007", "2 samples comes with 3 labels"):
        rows([spec("x", 1, 3)], {"x": np.zeros((2, 3), np.float32)}, label=np.arange(3))
    with refuses("D004", "sample 4 holds NaN"):
        rows([spec("x", 1, 1)], {"x": np.array([[0.0], [np.nan]], np.float32)})


def test_a_number_becomes_an_array(spec: Any) -> None:
    ((feeds, _),) = rows([spec("rate", dtype="int64")], {"rate": np.arange(3)[1]})
    assert isinstance(feeds["rate"], np.ndarray) and feeds["rate"].shape == ()


def test_without_batch_axis_a_sample_is_a_whole_feed(spec: Any) -> None:
    arrays = {"x": np.zeros((1, 4), np.float32), "rate": np.array(16000)}
    ((feeds, _),) = rows([spec("x", None, "T"), spec("rate", dtype="int64")], arrays)
    assert feeds["rate"].shape == () and feeds["x"].shape == (1, 4)


@pytest.mark.parametrize(
    ("shape", "found", "words"),
    [
        (
            ("N", 3, 8, 8),
            (3, 8, 9),
            ["dimension 3", "is 9, the model wants 8", "float32[N, 3, 8, 8]", "float32[3, 8, 9]"],
        ),
        (("N", 3, 8, 8), (8, 8, 3), ["NHWC", "layout: NCHW"]),
        (("N", 3, 8, 8), (8, 8), ["has 2 dimensions, the model wants 3"]),
        (("N", "S", "S"), (4, 5), ["`S` = 4"]),
    ],
)
def test_misfits_show_both_sides(spec: Any, refuses: Any, shape: Any, found: Any, words: list[str]) -> None:
    with refuses("D003", *words):
        rows([spec("x", *shape)], {UNNAMED: np.zeros(found, np.float32)})


def test_names_must_be_the_models(spec: Any, refuses: Any) -> None:
    with refuses("D003", "names", "a: float32[N, 2]", "images: float32[2]"):
        rows([spec("a", "N", 2)], {"images": np.zeros(2, np.float32), "b": np.zeros(2)})
    with refuses("D003", "arrays: {input name"):
        rows([spec("a", "N", 2), spec("b", "N", 2)], {UNNAMED: np.zeros(2, np.float32)})


def test_a_symbol_has_one_size_across_inputs(spec: Any, refuses: Any) -> None:
    specs = [spec("ids", "N", "S", dtype="int64"), spec("mask", "N", "S", dtype="int64")]
    assert rows(specs, {"ids": np.zeros(4, int), "mask": np.zeros(4, int)})
    with refuses("D003", "`mask` is 5", "`S` = 4"):
        rows(specs, {"ids": np.zeros(4, int), "mask": np.zeros(5, int)})


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([1, 255], np.uint8), "float32"),
        (np.array([1, -2], np.int32), "int64"),
        (np.array([1, 2], np.int64), "int32"),
        (np.array([0, 1], np.int64), "bool"),
        (np.array([0.1, 2], np.float64), "float32"),
        (np.array([0.5, 2], np.float16), "float32"),
    ],
)
def test_exact_conversions(spec: Any, value: np.ndarray, dtype: str) -> None:
    ((feeds, _),) = rows([spec("x", "N", 2, dtype=dtype)], {UNNAMED: value})
    assert feeds["x"].dtype == dtype
    np.testing.assert_allclose(feeds["x"].astype(float), value.astype(float), rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([1, 2**40], np.int64), "int32"),
        (np.array([1, 2**24 + 1], np.int64), "float32"),
        (np.array([-1, 2], np.int32), "uint8"),
        (np.array([0.5, 1], np.float32), "int64"),
        (np.array([0.5, 1], np.float32), "float16"),
        (np.array([1, 300000], np.int64), "float16"),
    ],
)
def test_inexact_conversions_are_refused(spec: Any, refuses: Any, value: np.ndarray, dtype: str) -> None:
    with refuses("D003", str(value.dtype), dtype):
        rows([spec("x", "N", 2, dtype=dtype)], {UNNAMED: value})


def test_computed_values_take_the_models_float_type(spec: Any) -> None:
    ((feeds, _),) = rows([spec("x", "N", 1, dtype="float16")], {UNNAMED: np.ones(1, np.float32)}, computed=True)
    assert feeds["x"].dtype == np.float16


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (-np.inf, "Inf"), (1e300, "Inf")])
def test_not_finite(spec: Any, refuses: Any, value: float, word: str) -> None:
    with refuses("D004", f"sample 3 holds {word} in `x`", "split `calibration`"):
        rows([spec("x", "N", 2)], {UNNAMED: np.array([0.0, value])})
