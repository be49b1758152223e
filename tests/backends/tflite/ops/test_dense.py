"""Matrix products, against ONNX Runtime's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, node
from onnx_text import model_from, weight


@pytest.mark.parametrize(("first", "second"), [*itertools.product((0, 1), repeat=2)])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (3, 5), (3, 1), ()])
def test_gemm(first: int, second: int, factors: tuple[float, float], bias: tuple[int, ...] | None) -> None:
    a, b = weight(*((4, 3) if first else (3, 4)), seed=1), weight(*((5, 4) if second else (4, 5)), seed=2)
    biases = [] if bias is None else [Fixed(weight(*bias, seed=3) if bias else np.float32(0.7), np.float32)]
    attributes: dict[str, Any] = {"transA": first, "transB": second, "alpha": factors[0], "beta": factors[1]}
    assert "FULLY_CONNECTED" in agrees(*node("Gemm", a, Fixed(b, np.float32), *biases, **attributes))
    agrees(*node("Gemm", a, b, *(item.values for item in biases), **attributes))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (2, 1, 3, 4)])
def test_a_product_with_a_constant_matrix_is_fully_connected(shape: tuple[int, ...]) -> None:
    assert agrees(*node("MatMul", weight(*shape, seed=1), Fixed(weight(4, 5), np.float32))) == ["FULLY_CONNECTED"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (1, 6, 4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((2, 3, 1, 3, 4), (3, 2, 4, 5)),
    ],
)
def test_any_ranks(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    assert "BATCH_MATMUL" in agrees(*node("MatMul", weight(*first, seed=1), weight(*second, seed=2)))


def test_a_second_operand_that_was_transposed_is_read_as_it_lies() -> None:
    text = "g (float[2,3,4] x, float[2,5,4] k) => (float[2,3,5] y) { t = Transpose<perm=[0,2,1]>(k) y = MatMul(x, t) }"
    found = agrees(model_from(text), {"x": weight(2, 3, 4, seed=1), "k": weight(2, 5, 4, seed=2)})
    assert found == ["BATCH_MATMUL"]


def test_attention_moves_each_operand_once() -> None:
    text = """g (float[1,6,8] x) => (float[1,6,8] y) {
      q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
      qr = Reshape(q, s) kr = Reshape(k, s) vr = Reshape(v, s)
      qt = Transpose<perm=[0,2,1,3]>(qr) kt = Transpose<perm=[0,2,3,1]>(kr) vt = Transpose<perm=[0,2,1,3]>(vr)
      a = MatMul(qt, kt) p = Softmax<axis=-1>(a) c = MatMul(p, vt)
      ct = Transpose<perm=[0,2,1,3]>(c) y = Reshape(ct, o) }"""
    constants: dict[str, Any] = {name: weight(8, 8, seed=i) for i, name in enumerate(("wq", "wk", "wv"))}
    model = model_from(text, s=np.array([1, 6, 2, 4]), o=np.array([1, 6, 8]), **constants)
    assert agrees(model, {"x": weight(1, 6, 8, seed=9)}).count("TRANSPOSE") == 4
