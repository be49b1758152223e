"""Products in integers whose input is quantized at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight
from small_graphs import runtime_ops

from pruna_ir import registry
from pruna_ir.analysis import accuracy
from pruna_ir.calibration.scheme import Scheme
from pruna_ir.data import Dataset
from pruna_ir.decisions import DecisionLog
from pruna_ir.model import Model
from pruna_ir.passes.precision import quantize_dynamic
from pruna_ir.passes.precision.quantize_dynamic import QuantizeDynamic
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass, missed, ops

DYNAMIC = QuantizeDynamic()
PRODUCT = ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]


def sqnr(before: Model, after: Model, **feeds: np.ndarray) -> float:
    expected, found = Session(before).run(feeds)["y"], Session(after).run(feeds)["y"]
    return float(10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()))


def matmul() -> Model:
    return model_from("g (float[n,5,64] x) => (float[n,5,48] y) { y = MatMul(x, w) }", w=weight(64, 48))


def test_fires_and_stays_close() -> None:
    after, result = check_pass(DYNAMIC, matmul())
    assert ops(after) == PRODUCT
    assert result.counts == {"products in integers": 1}
    assert sqnr(matmul(), after, x=weight(2, 5, 64, seed=1)) > 35


def test_runtime_fuses_it() -> None:
    after, _ = check_pass(DYNAMIC, matmul())
    assert runtime_ops(after) == {"DynamicQuantizeMatMul": 1}


@pytest.mark.parametrize(
    ("attributes", "bias", "shape"),
    [
        ("", "", (64, 48)),
        ("transB=1", "", (48, 64)),
        ("transB=1", ", b", (48, 64)),
        ("alpha=-0.5, beta=2.0", ", b", (64, 48)),
        ("", ", c", (64, 48)),
    ],
)
def test_gemm(attributes: str, bias: str, shape: tuple[int, int]) -> None:
    attributes = f"<{attributes}>" if attributes else ""
    text = f"g (float[n,64] x, float[48] c) => (float[n,48] y) {{ y = Gemm {attributes}(x, w{bias}) }}"
    model = model_from(text, w=weight(*shape), b=weight(48, seed=2) * 9)
    after, _ = check_pass(DYNAMIC, model)
    assert ops(after) == [*PRODUCT, *(["Add"] if bias else [])]
    assert sqnr(model, after, x=weight(7, 64, seed=1), c=weight(48, seed=3)) > 35


def test_products_of_one_input_quantize_it_once() -> None:
    text = "g (float[n,64] x) => (float[n,64] y) { a = MatMul(x, w) b = MatMul(x, v) y = Add(a, b) }"
    model = model_from(text, w=weight(64, 64), v=weight(64, 64, seed=1))
    after, _ = check_pass(DYNAMIC, model)
    assert ops(after).count("DynamicQuantizeLinear") == 1
    assert sqnr(model, after, x=weight(7, 64, seed=2)) > 35


def test_shared_weights_are_stored_once() -> None:
    text = "g (float[n,64] x) => (float[n,64] y) { a = MatMul(x, w) y = MatMul(a, w) }"
    after, _ = check_pass(DYNAMIC, model_from(text, w=weight(64, 64)))
    assert sorted(tensor.name for tensor in after.to_proto().graph.initializer) == ["w_scale", "w_stored"]


def test_weights_on_the_grid_do_not_move() -> None:
    model = matmul()
    scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=1, narrow=True)
    params = scheme.of_weights(weight(64, 48))
    rounded = scheme.dequantize(scheme.quantize(weight(64, 48), params), params)
    model.graph.nodes[0].inputs[1].values = rounded
    PassManager([DYNAMIC]).run(model)
    tensors = model.graph.tensors()
    assert np.array_equal(tensors["w_stored"].values * tensors["w_scale"].values, rounded)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (float[n,64] x) => (float[64,64] y) { y = Gemm<transA=1>(x, w) }", "its first factor is transposed"),
        ("g (float[64,n] x) => (float[64,n] y) { y = MatMul(w, x) }", "its constant `w` is the first factor"),
        ("g (float[64] x) => (float[64] y) { y = MatMul(x, w) }", "`x` is not known to be a matrix"),
        (
            "g (float[n,64] x, float[64] c) => (float[n,64] y) { y = Gemm<beta=0.5>(x, w, c) }",
            "its bias `c` is multiplied by 0.5",
        ),
        (
            "g (float[n,64] x) => (float[n,64] y) { a = MatMul(x, w) y = Mul(a, w) }",
            "its weight `w` is needed in float as well",
        ),
    ],
)
def test_stays_in_float(text: str, reason: str) -> None:
    feeds = {"x": weight(64) if "float[64] x" in text else weight(64, 64), "c": weight(64)}
    model = model_from(text, w=weight(64, 64))
    _, result = check_pass(DYNAMIC, model, feeds={spec.name: feeds[spec.name] for spec in model.inputs()})
    assert missed(result) == [f"stays in float: {reason}"]
    assert not result.changed


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2,n,8] x, float[2,8,n] z) => (float[2,n,n] y) { y = MatMul(x, z) }",
        "g (float[n,8] x) => (float[n,8] y) { y = MatMul(x, small) }",
    ],
)
def test_other_products_are_none_of_its_business(text: str) -> None:
    _, result = check_pass(DYNAMIC, model_from(text, small=weight(8, 8)))
    assert not result.changed and missed(result) == []


def test_excluded_nodes() -> None:
    _, result = check_pass(QuantizeDynamic(exclude=("op:MatMul",)), matmul())
    assert not result.changed


@pytest.mark.parametrize(("apart", "expected"), [(True, 1), (False, 2)])
def test_products_apart_from_convolutions(apart: bool, expected: int) -> None:
    """The one behind the pooled Conv is left to `quantize`, the one behind a normalization is not."""
    text = """g (float[2,8,4,4] x, float[5,64] z) => (float[2,64] y, float[5,48] v) {
        a = Conv(x, k) b = GlobalAveragePool(a) c = Flatten(b) y = MatMul(c, w)
        n = LayerNormalization(z, scale) v = MatMul(n, u)
    }"""
    constants: dict[str, Any] = {"k": weight(32, 8, 1, 1), "w": weight(32, 64), "u": weight(64, 48)}
    after, _ = check_pass(QuantizeDynamic(apart=apart), model_from(text, **constants, scale=weight(64)))
    assert ops(after).count("MatMulInteger") == expected


@pytest.mark.parametrize("target", ["tflite", "coreml", "tensorrt", "portable"])
def test_targets_without_these_operators(target: str) -> None:
    after, result = check_pass(QuantizeDynamic(), matmul(), target=registry.target(target))
    assert ops(after) == ops(matmul())
    assert missed(result) == [f"{target} does not know the operators that quantize what they read"]


def test_zero_input() -> None:
    after, _ = check_pass(DYNAMIC, matmul())
    assert not Session(after).run({"x": np.zeros((1, 5, 64), np.float32)})["y"].any()


def guarded(monkeypatch: pytest.MonkeyPatch, *, drop: float, speedup: float) -> tuple[Model, Any]:
    monkeypatch.setattr(accuracy.Evaluator, "drop", lambda *_: drop)
    monkeypatch.setattr(QuantizeDynamic, "_speedup", lambda *_: speedup)
    model = matmul()
    result = PassManager([DYNAMIC]).run(model, data=Dataset.of(weight(8, 5, 64)))
    return model, result


@pytest.mark.parametrize(
    ("drop", "speedup", "text"),
    [
        (
            1.0,
            2.0,
            "1 of 1 products stay in float: more in integers cost accuracy (the model runs at 2.00x",
        ),
        (0.0, 0.8, "with them in integers the model runs at 0.80x of its speed"),
    ],
)
def test_guard(drop: float, speedup: float, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, result = guarded(monkeypatch, drop=drop, speedup=speedup)
    assert ops(model) == ["MatMul"]
    assert text in " ".join(str(remark) for remark in result.remarks)


def test_replay_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, result = guarded(monkeypatch, drop=0.0, speedup=1.5)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("measured while replaying")

    monkeypatch.setattr(accuracy.Evaluator, "drop", forbidden)
    monkeypatch.setattr(quantize_dynamic, "compare", forbidden)
    again = matmul()
    log = DecisionLog(result.decisions.entries, replaying=True)
    PassManager([DYNAMIC]).run(again, data=Dataset.of(weight(8, 5, 64)), decisions=log)
    assert ops(again) == PRODUCT and again.fingerprint() == first.fingerprint()
