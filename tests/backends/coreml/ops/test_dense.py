"""Products of matrices and normalizations, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_nodes import agrees
from onnx_text import model_from, positive, weight
from single_nodes import Fixed, node


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"transA": 1}, {"alpha": 0.5, "beta": 2.0}, {"beta": 2.0}])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (3, 5), (3, 1), ()])
def test_gemm(attributes: dict[str, Any], bias: tuple[int, ...] | None) -> None:
    a = weight(4, 3) if attributes.get("transA") else weight(3, 4)
    b = weight(5, 4, seed=1) if attributes.get("transB") else weight(4, 5, seed=1)
    c = [] if bias is None else [Fixed(weight(*bias, seed=2), np.float32)]
    found = agrees(*node("Gemm", a, Fixed(b, np.float32), *c, **attributes))
    plain = bias in (None, (5,), (1, 5), ()) and "alpha" not in attributes
    assert ("linear" in found) == plain


def test_gemm_of_two_inputs() -> None:
    agrees(*node("Gemm", weight(3, 4), weight(4, 5, seed=1), weight(5, seed=2), alpha=0.5))


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (2, 4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
    ],
)
@pytest.mark.parametrize("constant", [True, False])
def test_matmul(shapes: tuple[tuple[int, ...], ...], constant: bool) -> None:
    a, b = (weight(*shape, seed=seed) for seed, shape in enumerate(shapes))
    agrees(*node("MatMul", a, Fixed(b, np.float32) if constant else b))


def test_matmul_of_integers() -> None:
    agrees(*node("MatMul", np.arange(6).reshape(2, 3), np.arange(12).reshape(3, 4)))


def numbers(*shape: int, seed: int = 1) -> Fixed:
    """A constant of positive numbers."""
    return Fixed(positive(*shape, seed=seed), np.float32)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("constant", [True, False])
def test_batch_normalization(shape: tuple[int, ...], constant: bool) -> None:
    parameters = [positive(3, seed=seed) for seed in range(4)]
    agrees(*node("BatchNormalization", weight(*shape), *(Fixed(p, np.float32) if constant else p for p in parameters)))


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5), (1, 3, 2, 3, 4)])
@pytest.mark.parametrize("constant", [True, False])
def test_instance_normalization(shape: tuple[int, ...], constant: bool) -> None:
    parameters = [positive(3, seed=seed) for seed in range(2)]
    agrees(
        *node("InstanceNormalization", weight(*shape), *(Fixed(p, np.float32) if constant else p for p in parameters))
    )


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("constant", [True, False])
def test_layer_normalization(axis: int, constant: bool) -> None:
    shape = (2, 3, 4)[axis:]
    parameters = [positive(*shape, seed=seed) for seed in range(2)]
    inputs: list[Any] = [Fixed(p, np.float32) if constant else p for p in parameters]
    assert ("layer_norm" in agrees(*node("LayerNormalization", weight(2, 3, 4), *inputs, axis=axis))) == constant


def test_group_normalization() -> None:
    agrees(*node("GroupNormalization", weight(2, 6, 4, 5), numbers(6), numbers(6, seed=2), num_groups=2, opset=21))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LpNormalization", {"p": 1, "axis": 1}),
        ("LpNormalization", {"p": 2, "axis": -1}),
        ("LRN", {"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 1.5}),
        ("MeanVarianceNormalization", {}),
    ],
)
def test_other_normalizations(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, weight(2, 6, 4, 5), **attributes))


def test_rms_normalization() -> None:
    agrees(*node("RMSNormalization", weight(2, 3, 8), numbers(8), opset=23))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(op: str) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    stored = [Fixed(weight(1, gates * 5, size, seed=size), np.float32) for size in (3, 5)]
    agrees(*node(op, weight(4, 2, 3), *stored, Fixed(weight(1, gates * 10), np.float32), hidden_size=5))


def test_einsum() -> None:
    agrees(*node("Einsum", weight(2, 3, 4), weight(2, 4, 5, seed=1), equation="bij,bjk->bik"))


def test_six_axes_between_two_reshapes() -> None:
    model = model_from(
        """g (float[1,8,4,4] x) => (float[2,2,2,16] y) {
            s = Constant <value_ints = [1,2,2,2,4,4]> ()
            a = Reshape (x, s)
            b = Transpose <perm = [0,1,4,2,5,3]> (a)
            t = Constant <value_ints = [2,2,2,16]> ()
            y = Reshape (b, t)
        }"""
    )
    agrees(model, {"x": weight(1, 8, 4, 4)})


@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 2), (4, 3, 1, 1)])
def test_determinants(shape: tuple[int, ...]) -> None:
    agrees(*node("Det", weight(*shape)))
