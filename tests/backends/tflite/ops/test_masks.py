"""Masks of attention: minus infinity that is added, which LiteRT's own kernels end at the largest finite number."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import agrees, codes
from onnx_text import model_from

INFINITY = np.array([-np.inf], np.float32)
ZERO = np.zeros(1, np.float32)
SCORES = np.random.default_rng(0).standard_normal((2, 3, 3)).astype(np.float32)
VISIBLE = np.array([[False, False, False], [True, False, True], [True, True, True]])
TRIANGLE = np.where(np.tri(3, dtype=bool), ZERO, INFINITY).astype(np.float32)


def test_a_constant_mask_stays_infinite() -> None:
    model = model_from("g (float[2,3,3] x) => (float[2,3,3] y) { y = Add(x, mask) }", mask=TRIANGLE)
    assert agrees(model, {"x": SCORES}) == ["ADD", "SELECT_V2"]


def test_a_mask_that_is_computed_stays_infinite() -> None:
    text = """g (float[2,3,3] x, bool[3,3] seen) => (float[2,3,3] y) {
        a = Where(seen, zero, infinity) b = Add(a, triangle) y = Add(x, b)
    }"""
    model = model_from(text, zero=ZERO, infinity=INFINITY, triangle=TRIANGLE)
    found = agrees(model, {"x": SCORES, "seen": VISIBLE})
    computed, sums = ["SELECT_V2"], ["ADD", "SELECT_V2", "EQUAL", "SELECT_V2"]
    assert found == [*computed, *sums, "ADD", "EQUAL", "SELECT_V2"]


def test_rows_that_are_masked_as_a_whole_are_found() -> None:
    text = """g (float[2,3,3] x, bool[3,3] seen) => (float[2,3,3] y) {
        a = Where(seen, zero, infinity) b = Add(a, triangle) s = Add(x, b) p = Softmax<axis=-1>(s)
        most = ReduceMax<axes=[-1]>(b) none = Equal(most, infinity) y = Where(none, zero, p)
    }"""
    model = model_from(text, zero=ZERO, infinity=INFINITY, triangle=TRIANGLE)
    agrees(model, {"x": SCORES, "seen": VISIBLE})


def test_in_front_of_a_softmax_alone_nothing_is_done() -> None:
    text = "g (float[2,3,3] x) => (float[2,3,3] y) { s = Add(x, mask) y = Softmax<axis=-1>(s) }"
    model = model_from(text, mask=TRIANGLE)
    assert agrees(model, {"x": SCORES}) == ["ADD", "SOFTMAX"]


def test_finite_masks_are_added() -> None:
    lowest = np.maximum(TRIANGLE, np.finfo(np.float32).min)
    model = model_from("g (float[2,3,3] x) => (float[2,3,3] y) { y = Add(x, mask) }", mask=lowest)
    assert codes(model) == ["ADD"]
