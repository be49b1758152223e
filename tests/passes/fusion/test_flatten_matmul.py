"""Reshape -> MatMul -> Add -> Reshape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.fusion.flatten_matmul import FlattenMatmul
from pruna_ir.testing import check_pass, missed, ops

BODY = "r = Reshape(x, s) m = MatMul(r, w) a = Add(m, b) y = Reshape(a, t)"
FEEDS = {"x": weight(2, 4, 4, 8)}


def model(body: str = BODY, outputs: str = "float[n,4,4,6] y", **changed: Any) -> Model:
    constants: dict[str, Any] = {
        "s": np.array([-1, 16, 8]),
        "t": np.array([-1, 4, 4, 6]),
        "w": weight(8, 6),
        "b": weight(6, seed=1),
        **changed,
    }
    return model_from(f"g (float[n,4,4,8] x) => ({outputs}) {{ {body} }}", **constants)


@pytest.mark.parametrize("body", [BODY, BODY.replace("m, b", "b, m"), BODY.replace("Reshape(a, t)", "Unsqueeze(a, k)")])
@pytest.mark.parametrize("bias", [(6,), (1, 6), (1,), ()])
def test_fires(body: str, bias: tuple[int, ...]) -> None:
    outputs = "float[1,n,16,6] y" if "Unsqueeze" in body else "float[n,4,4,6] y"
    after, result = check_pass(FlattenMatmul(), model(body, outputs, b=weight(*bias), k=np.array([0])), feeds=FEEDS)
    assert ops(after) == ["Reshape", "Gemm", "Reshape"]
    assert after.graph.nodes[0].inputs[1].values.tolist() == [-1, 8]
    assert result.counts == {"flatten-matmul": 1}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_types(dtype: str) -> None:
    kind = {"float64": "double", "float32": "float"}[dtype]
    text = f"g ({kind}[n,4,4,8] x) => ({kind}[n,4,4,6] y) {{ {BODY} }}"
    constants: dict[str, Any] = {
        "s": np.array([-1, 16, 8]),
        "t": np.array([-1, 4, 4, 6]),
        "w": weight(8, 6, dtype=dtype),
        "b": weight(6, dtype=dtype),
    }
    after, _ = check_pass(FlattenMatmul(), model_from(text, **constants), feeds={"x": weight(2, 4, 4, 8, dtype=dtype)})
    assert "Gemm" in ops(after)


@pytest.mark.parametrize("between", ["r", "m", "a"])
def test_output_between_stays(between: str) -> None:
    columns = 8 if between == "r" else 6
    _, result = check_pass(
        FlattenMatmul(), model(outputs=f"float[n,4,4,6] y, float[n,16,{columns}] {between}"), feeds=FEEDS
    )
    assert missed(result) == [f"`{between}` is an output of the graph"]


@pytest.mark.parametrize(("between", "users"), [("r", 2), ("m", 2)])
def test_other_users_stay(between: str, users: int) -> None:
    text = model(f"{BODY} z = Neg({between})", "float[n,4,4,6] y, float[n,16,c] z")
    _, result = check_pass(FlattenMatmul(), text, feeds=FEEDS)
    assert missed(result) == [f"`{between}` has {users} users"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"b": weight(1, 1, 6)}, "the bias `b` of shape [1, 1, 6] is not one value per column"),
        ({"b": weight(16, 6)}, "the bias `b` of shape [16, 6] is not one value per column"),
        ({"s": np.array([-1, 8])}, "`r` is a matrix, or its rank is not known"),
    ],
)
def test_reasons(changed: dict[str, Any], reason: str) -> None:
    _, result = check_pass(FlattenMatmul(), model(**changed), feeds=FEEDS)
    assert missed(result) == [reason]


def test_two_unknown_sizes_stay() -> None:
    body = "r = Reshape(x, s) m2 = MatMul(r, w) v = Add(m2, b) y = Reshape(v, t)"
    text = f"g (float[n,m,k,8] x, int64[4] t) => (float[a,c,d,e] y) {{ {body} }}"
    constants: dict[str, Any] = {"s": np.array([-1, 4, 8]), "w": weight(8, 6), "b": weight(6)}
    feeds = {**FEEDS, "t": np.array([2, 4, 4, 6])}
    _, result = check_pass(FlattenMatmul(), model_from(text, **constants), feeds=feeds)
    assert missed(result) == ["the shape of `y` is not known, or empty"]


@pytest.mark.parametrize(
    "body",
    [
        "r = Relu(x) m = MatMul(r, w) a = Add(m, b) y = Reshape(a, t)",
        "r = Reshape(x, s) m = MatMul(r, w) a = Add(m, b) c = Relu(a) y = Reshape(c, t)",
        "r = Reshape(x, s) m = MatMul(r, v) a = Add(m, b) y = Reshape(a, t)",
    ],
)
def test_other_structures_are_no_match(body: str) -> None:
    _, result = check_pass(FlattenMatmul(), model(body, v=weight(1, 8, 6)), feeds=FEEDS)
    assert not result.changed
    assert missed(result) == []


def test_computed_weight_is_no_match() -> None:
    text = f"g (float[n,4,4,8] x, float[8,6] w) => (float[n,4,4,6] y) {{ {BODY} }}"
    constants: dict[str, Any] = {"s": np.array([-1, 16, 8]), "t": np.array([-1, 4, 4, 6]), "b": weight(6)}
    assert not check_pass(FlattenMatmul(), model_from(text, **constants), feeds={**FEEDS, "w": weight(8, 6)})[1].changed


def test_computed_sizes_that_copy_nothing() -> None:
    body = "r = Reshape(x, s) c = MatMul(r, w) v = Add(c, b) y = Reshape <allowzero = 1> (v, t)"
    text = f"g (float[n,m,k,8] x, int64[4] t) => (float[a,c,d,e] y) {{ {body} }}"
    constants: dict[str, Any] = {"s": np.array([-1, 4, 8]), "w": weight(8, 6), "b": weight(6)}
    feeds = {**FEEDS, "t": np.array([2, 4, 4, 6])}
    after, _ = check_pass(FlattenMatmul(), model_from(text, **constants), feeds=feeds)
    assert ops(after) == ["Reshape", "Gemm", "Reshape"]
    assert after.graph.nodes[2].inputs[1].name == "t"


def test_sizes_that_are_copied_are_written_out() -> None:
    after, _ = check_pass(FlattenMatmul(), model(outputs="float[n,16,6] y", t=np.array([0, 0, 6])), feeds=FEEDS)
    assert after.graph.nodes[2].inputs[1].values.tolist() == [-1, 16, 6]
