"""Softmax and normalizations, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, node

SHAPE = (2, 6, 4, 5)


def data(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Numbers around two."""
    return np.random.default_rng(seed).normal(2.0, 1.5, shape).astype(np.float32)


def numbers(*shape: int, seed: int = 1) -> Fixed:
    """A constant of positive numbers."""
    return Fixed(np.random.default_rng(seed).uniform(0.5, 2, shape), np.float32)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(
    ("shape", "axis"), [(SHAPE, -1), (SHAPE, 1), (SHAPE, 0), ((7,), 0), ((3, 4), 0), ((3, 1, 5), 0)]
)
def test_softmax(op: str, shape: tuple[int, ...], axis: int) -> None:
    agrees(*node(op, data(shape) * 5, axis=axis))


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(axis: int, bias: bool) -> None:
    shape = SHAPE[axis:] if axis > 0 else SHAPE[-1:]
    parameters = [numbers(*shape)] + ([numbers(*shape, seed=2)] if bias else [])
    agrees(*node("LayerNormalization", data(), *parameters, axis=axis, epsilon=1e-4))


def test_mean_and_deviation() -> None:
    agrees(*node("LayerNormalization", data(), numbers(5), numbers(5, seed=2), outputs=3))


@pytest.mark.parametrize("axis", [-1, 1])
def test_rms_normalization(axis: int) -> None:
    shape = SHAPE[axis:] if axis > 0 else SHAPE[-1:]
    agrees(*node("RMSNormalization", data(), numbers(*shape), opset=23, axis=axis))


@pytest.mark.parametrize("shape", [(2, 6, 5), SHAPE, (1, 3, 2, 4, 2)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    agrees(*node("InstanceNormalization", data(shape), numbers(shape[1]), numbers(shape[1], seed=2)))


@pytest.mark.parametrize("shape", [(2, 6, 5), SHAPE])
def test_group_normalization(shape: tuple[int, ...]) -> None:
    parameters = [numbers(6), numbers(6, seed=2)]
    agrees(*node("GroupNormalization", data(shape), *parameters, opset=21, num_groups=3, epsilon=1e-3))


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), SHAPE])
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    agrees(*node("BatchNormalization", data(shape), *(numbers(6, seed=seed) for seed in range(4)), epsilon=1e-3))


def test_batch_normalization_by_inputs() -> None:
    parameters = [numbers(6, seed=seed).values for seed in range(4)]
    agrees(*node("BatchNormalization", data(), *parameters))


@pytest.mark.parametrize("axes", [{}, {"axes": [1]}, {"axes": [-1, 2]}])
def test_mean_variance_normalization(axes: dict[str, Any]) -> None:
    agrees(*node("MeanVarianceNormalization", data(), **axes))


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(axis: int, p: int) -> None:
    agrees(*node("LpNormalization", data(), axis=axis, p=p))


def test_a_norm_of_zero() -> None:
    agrees(*node("LpNormalization", np.zeros((2, 3), np.float32)))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalization(size: int) -> None:
    agrees(*node("LRN", data(), size=size, alpha=0.01, beta=0.6, bias=1.5))
