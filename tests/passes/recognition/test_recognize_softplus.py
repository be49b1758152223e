"""Log(Exp(x) + 1) -> Softplus."""

from __future__ import annotations

import numpy as np
from decomposed import numbered

from pruna_ir.passes.recognition.recognize_softplus import RecognizeSoftplus
from pruna_ir.passes.recognition.recognize_unlimited_softplus import RecognizeUnlimitedSoftplus
from pruna_ir.testing import check_pass, missed, ops

WIDE = np.array([-1e30, -90, -1, 0, 1, 16.9, 17, 20, 20.5, 80, 1e30, 3], np.float32)


def test_other_term_stays() -> None:
    text = "g (float[12] x) => (float[12] y) { a = Exp(x) b = Add(a, #2) y = Log(b) }"
    _, result = check_pass(RecognizeSoftplus(), numbered(text, opset=17))
    assert missed(result) == ["`k_2` is 2, not 1"]


def test_the_threshold_changes_no_bit() -> None:
    text = "g (float[12] x) => (float[12] y) { a = Softplus(x) b = Greater(x, #17) y = Where(b, x, a) }"
    after, _ = check_pass(RecognizeUnlimitedSoftplus(), numbered(text, opset=17), feeds={"x": WIDE}, tolerance=0)
    assert ops(after) == ["Softplus"]


def test_low_threshold_stays() -> None:
    text = "g (float[12] x) => (float[12] y) { a = Softplus(x) b = Greater(x, #5) y = Where(b, x, a) }"
    _, result = check_pass(RecognizeUnlimitedSoftplus(), numbered(text, opset=17))
    assert missed(result) == ["the threshold 5 is below 17"]
