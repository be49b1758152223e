"""Operators that are written out before they are written: the file does what the originals do in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, node
from onnx_text import weight

STEPS, BATCH, INPUTS, HIDDEN = 3, 2, 4, 5


def recurrent(op: str, gates: int) -> tuple[Any, ...]:
    """The inputs of a recurrent layer of two directions."""
    shapes = [(2, gates * HIDDEN, INPUTS), (2, gates * HIDDEN, HIDDEN), (2, 2 * gates * HIDDEN)]
    parameters = [Fixed(weight(*shape, seed=seed), np.float32) for seed, shape in enumerate(shapes)]
    return op, weight(STEPS, BATCH, INPUTS, seed=4), *parameters


@pytest.mark.parametrize(
    ("op", "gates", "outputs", "products"), [("RNN", 1, 2, 1), ("GRU", 3, 2, 2), ("LSTM", 4, 3, 1)]
)
def test_recurrent_layers(op: str, gates: int, outputs: int, products: int) -> None:
    found = agrees(*node(*recurrent(op, gates), outputs=outputs, hidden_size=HIDDEN, direction="bidirectional"))
    assert found.count("FULLY_CONNECTED") == 2 + 2 * products * (STEPS - 1)


def test_lengths_of_sequences() -> None:
    lengths = np.array([1, 3], np.int32)
    agrees(*node(*recurrent("LSTM", 4), lengths, outputs=3, hidden_size=HIDDEN, direction="bidirectional"))


def test_attention() -> None:
    shape = (2, 6, 12)
    inputs = [weight(*shape, seed=seed) for seed in range(3)]
    agrees(*node("Attention", *inputs, opset=23, q_num_heads=3, kv_num_heads=3, is_causal=1))


def test_einsum() -> None:
    found = agrees(*node("Einsum", weight(2, 3, 4, 5), weight(2, 6, 4, 5), equation="bqhd,bkhd->bhqk"))
    assert "BATCH_MATMUL" in found


def test_rotary_embedding() -> None:
    tables = [Fixed(weight(8, 4, seed=seed), np.float32) for seed in (1, 2)]
    positions = np.array([[0, 1, 2], [3, 4, 5]], np.int64)
    agrees(*node("RotaryEmbedding", weight(2, 2, 3, 8), *tables, positions, opset=23))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(padding: str) -> None:
    grid = np.random.default_rng(0).uniform(-1.3, 1.3, (1, 4, 5, 2)).astype(np.float32)
    agrees(*node("GridSample", weight(1, 3, 6, 7), grid, padding_mode=padding))


def test_products_of_integers() -> None:
    random = np.random.default_rng(0)
    matrix = Fixed(random.integers(-127, 128, (8, 5)), np.int8)
    agrees(*node("MatMulInteger", random.integers(0, 255, (4, 8)).astype(np.uint8), matrix, Fixed(7, np.uint8)))


def test_quantization_at_run_time() -> None:
    agrees(*node("DynamicQuantizeLinear", weight(3, 4), outputs=3))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LpPool", {"kernel_shape": [2, 3], "p": 3}),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 1]}),
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 1]}),
    ],
)
def test_pooling(op: str, attributes: dict[str, Any]) -> None:
    agrees(*node(op, weight(1, 3, 6, 7), **attributes))


def test_losses() -> None:
    scores, labels = weight(4, 5), np.array([0, 2, 4, 1], np.int64)
    agrees(*node("SoftmaxCrossEntropyLoss", scores, labels, outputs=["loss"]))
