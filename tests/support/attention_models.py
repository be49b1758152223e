"""Attention written as products and a softmax, part by part, and whether recognize-attention finds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize_attention import RecognizeAttention
from pruna_ir.testing import check_pass, missed, ops

HEADS, SIZE = 2, 4
WIDTH = HEADS * SIZE
SPLIT = np.array([0, 0, HEADS, SIZE])
ROOT = np.array(SIZE**0.5, np.float32)
MINIMUM = float(np.finfo(np.float32).min)

OPEN = f"float[b,t,{WIDTH}] q, float[b,s,{WIDTH}] k, float[b,s,{WIDTH}] v"
FIXED = f"float[3,5,{WIDTH}] q, float[3,5,{WIDTH}] k, float[3,5,{WIDTH}] v"
SPLITTING = (
    "q4 = Reshape(q, split) qh = Transpose<perm=[0,2,1,3]>(q4) k4 = Reshape(k, split) "
    "kt = Transpose<perm=[0,2,3,1]>(k4) v4 = Reshape(v, split) vh = Transpose<perm=[0,2,1,3]>(v4) "
)
SCORES = "r = MatMul(qh, kt) a = Div(r, root) "
SOFTMAX = "p = Softmax(a) "
CONTEXT = "c = MatMul(p, vh) "
JOIN = "y = Transpose<perm=[0,2,1,3]>(c) "


def attention(
    *parts: str, inputs: str = OPEN, outputs: str = "float[?,?,?,?] y", opset: int = 23, **constants: Any
) -> Model:
    """A model of the given parts, its operands split into heads."""
    body = "".join(parts) or SCORES + SOFTMAX + CONTEXT + JOIN
    body = body if "q4" in body else SPLITTING + body
    values = {"split": SPLIT, "root": ROOT, **constants}
    used = {
        name: value
        for name, value in values.items()
        if name in body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    }
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", opset=opset, **used)


def fires(model: Model, **expected: Any) -> list[str]:
    """Checks that the rule makes one Attention of the given attributes; the operators around it."""
    after, result = check_pass(RecognizeAttention(), model)
    assert result.counts == {"recognize-attention": 1}, missed(result)
    (node,) = (node for node in after.graph.nodes if node.op == "Attention")
    attributes = {"q_num_heads": HEADS, "kv_num_heads": HEADS, "scale": 0.5, **expected}
    assert dict(node.attrs) == pytest.approx(attributes)
    return [op for op in ops(after) if op != "Attention"]


def random_operands() -> dict[str, np.ndarray]:
    """Feeds for `FIXED`."""
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal((3, 5, WIDTH)).astype(np.float32) for name in "qkv"}


def stays(model: Model) -> str:
    """Checks that the rule leaves a model alone, and why."""
    after, result = check_pass(RecognizeAttention(), model)
    assert "Attention" not in ops(after)
    (reason,) = missed(result)
    return reason
