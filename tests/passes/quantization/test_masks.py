"""Masked values are raised where Softmax alone reads them, and a gap shows that they are masked."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.calibration import Record
from pruna_ir.passes.quantization.masks import drowned, raise_masked

LOGITS = np.random.default_rng(0).uniform(-4, 6, 500).astype(np.float32)
SOFTMAX = "g (float[1,8] x) => (float[1,8] y) { t = Neg(x) y = Softmax(t) }"


def raised(values: np.ndarray, text: str = SOFTMAX) -> Record:
    return raise_masked(model_from(text).graph.tensors()["t"], Record.of(values))


@pytest.mark.parametrize("minus", [-100.0, -1e4, -1e9, float(np.finfo(np.float32).min)])
def test_masked_values_end_just_below_the_others(minus: float) -> None:
    values = np.append(LOGITS, LOGITS[:200] + np.float32(minus))
    record = raised(values)
    assert record.minimum == pytest.approx(LOGITS.min() - 10, abs=0.5)
    assert record.maximum == LOGITS.max()
    assert (record.count, record.sampled) == (700, 700)


def test_only_zero_is_above_the_mask() -> None:
    record = raised(np.append(np.zeros(50), np.full(50, -1e4)).astype(np.float32))
    assert record.minimum == pytest.approx(-10, abs=0.5)


@pytest.mark.parametrize(
    "values",
    [LOGITS, np.append(LOGITS, LOGITS - 20), np.append(LOGITS, -1e4 * np.random.default_rng(1).random(500) ** 3)],
    ids=["no mask", "another cluster", "a tail"],
)
def test_without_a_gap_nothing_changes(values: np.ndarray) -> None:
    before = Record.of(values.astype(np.float32))
    assert raised(values.astype(np.float32)) == before


@pytest.mark.parametrize(
    "text",
    [
        "g (float[1,8] x) => (float[1,8] y) { t = Neg(x) y = Relu(t) }",
        "g (float[1,8] x) => (float[1,8] y, float[1,8] z) { t = Neg(x) y = Softmax(t) z = Relu(t) }",
        "g (float[1,8] x) => (float[1,8] t) { t = Neg(x) }",
    ],
    ids=["another reader", "one reader more", "an output"],
)
def test_other_readers_see_all_of_it(text: str) -> None:
    values = np.append(LOGITS, np.full(100, -1e4, np.float32))
    assert raised(values, text) == Record.of(values)


@pytest.mark.parametrize(("minus", "too_large"), [(-1e4, False), (-1e9, True)])
def test_masks_that_drown_the_logits_in_an_integer_kernel(minus: float, too_large: bool) -> None:
    tensor = model_from(SOFTMAX).graph.tensors()["t"]
    records = {"t": Record.of(np.append(LOGITS, LOGITS[:200] + np.float32(minus)))}
    reason = drowned(tensor, records)
    assert (reason is not None) == too_large
    assert drowned(tensor, {}) is None and drowned(tensor, {"t": Record.of(LOGITS)}) is None
