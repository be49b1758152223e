"""Reshape -> InstanceNormalization -> Reshape -> GroupNormalization."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx_text import model_from, positive, weight

from pruna_ir import registry
from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize_group_norm import RecognizeGroupNorm
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets import Target
from pruna_ir.testing import check_pass, largest_difference, missed, ops

TARGET: Target = replace(registry.target("ort-cpu"), slow_ops=frozenset())
X = {"x": weight(2, 6, 4, 5)}
NORM = "r = Reshape(x, split) n = InstanceNormalization(r, s, b) z = Reshape(n, join)"


def norm(
    split: list[int], join: list[int] | None = None, shape: str = "n,6,h,w", body: str = NORM, more: str = "y = Neg(z)"
) -> Model:
    """Without `join`, the second Reshape reads the Shape of x."""
    dims = "join = Shape(x)" if join is None else ""
    text = f"g (float[{shape}] x) => (float[] y) {{ {dims} {body} {more} }}".replace(
        "(float[] y)", f"(float[{shape}] y)"
    )
    constants = {
        "split": np.array(split),
        "s": positive(3),
        "b": weight(3),
        "k": positive(6, 1, 1),
        "t": weight(6, 1, 1),
    }
    if join is not None:
        constants["join"] = np.array(join)
    return model_from(text, opset=21, **constants)


@pytest.mark.parametrize(
    ("split", "join", "shape"),
    [
        ([0, 3, -1], None, "n,6,h,w"),
        ([0, 3, -1], [2, 6, 4, 5], "2,6,4,5"),
        ([2, 3, -1], [2, 6, 4, 5], "2,6,4,5"),
        ([2, 3, 40], [0, 6, 4, -1], "2,6,4,5"),
        ([-1, 3, 40], None, "n,6,4,5"),
        ([0, 3, -1], [-1, 6, 4, 5], "n,6,4,5"),
    ],
)
def test_fires(split: list[int], join: list[int] | None, shape: str) -> None:
    after, _ = check_pass(RecognizeGroupNorm(), norm(split, join, shape), target=TARGET, feeds=X)
    assert ops(after) == ["GroupNormalization", "Neg"]


def test_scale_and_bias_move_in() -> None:
    model = norm([0, 3, -1], more="u = Mul(z, k) y = Add(u, t)")
    before = model.clone()
    PassManager.parse("recognize,fuse").run(model, target=TARGET)
    assert ops(model) == ["GroupNormalization"]
    assert largest_difference(before, model, X) < 1e-6


@pytest.mark.parametrize(
    ("split", "join", "shape", "reason"),
    [
        ([-1, 3, 20], None, "n,6,h,w", "`r` is not 3 groups of the channels of `x`"),
        ([4, 3, 20], [2, 6, 4, 5], "2,6,4,5", "`r` is not 3 groups of the channels of `x`"),
        ([0, 3, -1], [2, 6, 5, 4], "2,6,4,5", "`z` may not have the shape of `x`"),
        ([0, 3, -1], None, "n,c,h,w", "the channels of `x` of shape ['n', 'c', 'h', 'w'] are not known"),
    ],
)
def test_does_not_fire(split: list[int], join: list[int] | None, shape: str, reason: str) -> None:
    model = norm(split, join, shape)
    if join == [2, 6, 5, 4]:
        model = norm(split, join, shape, more="v = Transpose<perm = [0, 1, 3, 2]>(z) y = Neg(v)")
    _, result = check_pass(RecognizeGroupNorm(), model, target=TARGET, feeds=X)
    assert missed(result) == [reason]


def test_computed_scale() -> None:
    model = norm([0, 3, -1], body="v = Neg(s) " + NORM.replace("(r, s, b)", "(r, v, b)"))
    _, result = check_pass(RecognizeGroupNorm(), model, target=TARGET, feeds=X)
    assert missed(result) == ["`v` is not a constant"]


def test_shape_that_others_read_stays() -> None:
    model = norm([0, 3, -1], more="q = Neg(z) y = Reshape(q, join)")
    after, _ = check_pass(RecognizeGroupNorm(), model, target=TARGET, feeds=X)
    assert ops(after) == ["Shape", "GroupNormalization", "Neg", "Reshape"]
