"""Every row of LiteRT's table, on the installed runtime: the int8 kernel is there, and wants the scales of the row."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import replace
from math import erf

import numpy as np
import pytest
from litert_ops import WEIGHTS, LiteOp, build, rounded, run, spanning

from pruna_ir.calibration.scheme import QuantParams
from pruna_ir.targets import OpRow, Scales
from pruna_ir.targets.target import Target
from pruna_ir.targets.tflite import TFLITE, TFLITE_INT16

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed (extra `tflite`)"
)
IMAGE = (1, 4, 4, 8)
ROW = (2, 8)
RANDOM = np.random.default_rng(5)


def weight(*shape: int) -> np.ndarray:
    return (RANDOM.standard_normal(shape) * 0.3).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def pointwise(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(x @ w[:, 0, 0, :].T + b)


def select(condition: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(condition, one, other)


def blocks(x: np.ndarray) -> np.ndarray:
    return np.stack([x[:, i : i + 3, j : j + 3] for i in (0, 1) for j in (0, 1)])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


W1, B = weight(6, 1, 1, 8), weight(6)
VALID_1 = {"strideH": 1, "strideW": 1, "padding": 1}
POOL = {"filterHeight": 2, "filterWidth": 2, **VALID_1}
gelu = np.vectorize(lambda v: 0.5 * v * (1 + erf(v / 2**0.5)))

CASES: dict[str, LiteOp] = {
    "Conv": LiteOp("CONV_2D", (IMAGE, W1), pointwise, VALID_1, B),
    "ConvTranspose": LiteOp(
        "TRANSPOSE_CONV",
        (IMAGE, W1, ints(1, 4, 4, 6)),
        lambda x, w, _, b: pointwise(x, w, b),
        VALID_1,
        B,
    ),
    "Gemm": LiteOp(
        "FULLY_CONNECTED",
        (ROW, weight(5, 8)),
        lambda x, w, b: x @ w.T + b,
        {},
        weight(5),
    ),
    "MatMul": LiteOp("BATCH_MATMUL", ((2, 3, 4), (2, 4, 5)), np.matmul),
    "Add": LiteOp("ADD", (IMAGE, IMAGE), np.add),
    "Sub": LiteOp("SUB", (IMAGE, IMAGE), np.subtract),
    "Mul": LiteOp("MUL", (IMAGE, IMAGE), np.multiply),
    "PRelu": LiteOp("PRELU", (IMAGE, (1, 1, 8)), lambda x, a: select(x < 0, a * x, x)),
    "Relu": LiteOp("RELU", (IMAGE,), lambda x: np.maximum(x, 0)),
    "Clip": LiteOp("QUANTIZE", (IMAGE,), lambda x: np.clip(x, -1, 1)),
    "LeakyRelu": LiteOp("LEAKY_RELU", (IMAGE,), lambda x: select(x < 0, 0.1 * x, x), {"alpha": 0.1}),
    "Elu": LiteOp("ELU", (IMAGE,), lambda x: select(x < 0, np.expm1(x), x)),
    "Gelu": LiteOp("GELU", (IMAGE,), gelu),
    "HardSwish": LiteOp("HARD_SWISH", (IMAGE,), lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Abs": LiteOp("ABS", (IMAGE,), np.abs),
    "Exp": LiteOp("EXP", (IMAGE,), np.exp),
    "Sigmoid": LiteOp("LOGISTIC", (IMAGE,), lambda x: 1 / (1 + np.exp(-x))),
    "Softmax": LiteOp("SOFTMAX", (ROW,), softmax, {"beta": 1.0}),
    "LogSoftmax": LiteOp("LOG_SOFTMAX", (ROW,), lambda x: np.log(softmax(x))),
    "Tanh": LiteOp("TANH", (IMAGE,), np.tanh),
    "LpNormalization": LiteOp("L2_NORMALIZATION", (IMAGE,), lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)),
    "GlobalAveragePool": LiteOp(
        "MEAN", (IMAGE, ints(1, 2)), lambda x, _: x.mean((1, 2), keepdims=True), {"keepDims": True}
    ),
    "ReduceMean": LiteOp("MEAN", (IMAGE, ints(3)), lambda x, _: x.mean(3)),
    "ReduceSum": LiteOp("SUM", (IMAGE, ints(3)), lambda x, _: x.sum(3)),
    "ReduceMax": LiteOp("REDUCE_MAX", (IMAGE, ints(3)), lambda x, _: x.max(3)),
    "AveragePool": LiteOp("AVERAGE_POOL_2D", (IMAGE,), lambda x: blocks(x).mean(0), POOL),
    "MaxPool": LiteOp("MAX_POOL_2D", (IMAGE,), lambda x: blocks(x).max(0), POOL),
    "Concat": LiteOp("CONCATENATION", (IMAGE, IMAGE), lambda x, y: np.concatenate([x, y], 3), {"axis": 3}),
    "Max": LiteOp("MAXIMUM", (IMAGE, IMAGE), np.maximum),
    "Min": LiteOp("MINIMUM", (IMAGE, IMAGE), np.minimum),
    "Where": LiteOp("SELECT_V2", (RANDOM.random(IMAGE) > 0.5, IMAGE, IMAGE), select),
    "Reshape": LiteOp("RESHAPE", (IMAGE, ints(4, 32)), lambda x, s: x.reshape(s), {"newShape": [4, 32]}),
    "Transpose": LiteOp("TRANSPOSE", (IMAGE, ints(0, 3, 1, 2)), np.transpose),
    "Flatten": LiteOp("RESHAPE", (IMAGE, ints(1, 128)), lambda x, s: x.reshape(s), {"newShape": [1, 128]}),
    "Squeeze": LiteOp("SQUEEZE", (IMAGE,), lambda x: x[0], {"squeezeDims": [0]}),
    "Unsqueeze": LiteOp("EXPAND_DIMS", (IMAGE, ints(0)), lambda x, _: x[None]),
    "Slice": LiteOp("SLICE", (IMAGE, ints(0, 1, 1, 0), ints(1, 2, 2, 4)), lambda x, _, __: x[:, 1:3, 1:3, :4]),
    "Split": LiteOp("SPLIT", (ints(3), IMAGE), lambda _, x: x[..., :4], {"numSplits": 2}, results=2),
    "Gather": LiteOp("GATHER", (IMAGE, ints(3, 0)), lambda x, i: x[:, i], {"axis": 1}),
    "GatherND": LiteOp("GATHER_ND", (IMAGE, ints(0, 2)), lambda x, _: x[0, 2]),
    "Tile": LiteOp("TILE", (IMAGE, ints(1, 2, 1, 1)), lambda x, n: np.tile(x, n)),
    "Expand": LiteOp("BROADCAST_TO", ((1, 1, 4, 8), ints(1, 3, 4, 8)), np.broadcast_to),
    "DepthToSpace": LiteOp(
        "DEPTH_TO_SPACE",
        (IMAGE,),
        lambda x: x.reshape(1, 4, 4, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 8, 8, 2),
        {"blockSize": 2},
    ),
    "SpaceToDepth": LiteOp(
        "SPACE_TO_DEPTH",
        (IMAGE,),
        lambda x: x.reshape(1, 2, 2, 2, 2, 8).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2, 2, 32),
        {"blockSize": 2},
    ),
    "Pad": LiteOp("PAD", (IMAGE, np.array([[0, 0], [1, 1], [0, 2], [0, 0]], np.int32)), np.pad),
    "Resize": LiteOp(
        "RESIZE_NEAREST_NEIGHBOR",
        (IMAGE, ints(8, 8)),
        lambda x, _: x.repeat(2, 1).repeat(2, 2),
        {"halfPixelCenters": True},
    ),
}


def feeds(op: LiteOp) -> list[np.ndarray]:
    return [RANDOM.uniform(-2, 2, item).astype(np.float32) for item in op.inputs if isinstance(item, tuple)]


def expected(op: LiteOp, read: list[np.ndarray]) -> np.ndarray:
    """The op in float, on operands as the int8 model has them."""
    left, operands = list(read), []
    for item in op.inputs:
        if isinstance(item, tuple):
            operands.append(left.pop(0))
        elif item.dtype == np.float32:
            params = WEIGHTS.of_weights(item)
            operands.append(WEIGHTS.dequantize(WEIGHTS.quantize(item, params), params))
        else:
            operands.append(item)
    return np.asarray(op.compute(*operands, *([] if op.bias is None else [op.bias])))


def parameters(
    row: OpRow, op: LiteOp, data: list[np.ndarray], target: Target = TFLITE
) -> tuple[list[QuantParams], QuantParams]:
    """Scales as the row wants them: those of what is read, and that of what is written."""
    scheme = target.activations
    read = [spanning(values, scheme) for values in data]
    result = expected(op, data)
    if row.scales is Scales.EQUAL:
        read = [spanning(np.concatenate([values.reshape(-1) for values in data]), scheme)] * len(data)
    if row.scales is not Scales.FREE:
        return read, read[0]
    return read, row.fixed.params(scheme) if row.fixed is not None else spanning(result, scheme)


def error(
    op: LiteOp, data: list[np.ndarray], read: list[QuantParams], written: QuantParams, *, delegate: bool = False
) -> float:
    """The largest error of the int8 model, in quanta of its output."""
    wanted = expected(op, [rounded(values, params) for values, params in zip(data, read, strict=True)])
    found = run(build(op, read, written, wanted.shape), data, delegate=delegate)
    return float(np.abs(found - rounded(wanted, written)).max() / written.scale)


def test_every_row_has_a_case() -> None:
    assert CASES.keys() == TFLITE.ops.keys()


@pytest.mark.parametrize("delegate", [False, True], ids=["kernels", "xnnpack"])
@pytest.mark.parametrize("name", CASES)
def test_row_has_an_int8_kernel(name: str, delegate: bool) -> None:
    op, row = CASES[name], TFLITE.ops[name]
    data = feeds(op)
    assert error(op, data, *parameters(row, op, data), delegate=delegate) <= 1.01


# TANH interpolates in a table, and is up to two steps off.
@pytest.mark.parametrize("delegate", [False, True], ids=["kernels", "xnnpack"])
@pytest.mark.parametrize("name", TFLITE_INT16.ops)
def test_row_has_an_int16_kernel(name: str, delegate: bool) -> None:
    op, row = CASES[name], TFLITE_INT16.ops[name]
    data = feeds(op)
    assert error(op, data, *parameters(row, op, data, TFLITE_INT16), delegate=delegate) <= 2.01


@pytest.mark.parametrize("name", [name for name in TFLITE.ops if name not in TFLITE_INT16.ops])
def test_what_has_no_int16_row_is_refused_or_wrong(name: str) -> None:
    op, row = CASES[name], replace(TFLITE.ops[name], fixed=None)
    with contextlib.suppress(RuntimeError, ValueError):
        draws = [feeds(op) for _ in range(10)]
        assert max(error(op, data, *parameters(row, op, data, TFLITE_INT16)) for data in draws) > 10


# Tanh takes any scale here; the specification fixes it.
@pytest.mark.parametrize("name", [name for name, row in TFLITE.ops.items() if row.fixed and name != "Tanh"])
def test_another_scale_than_the_fixed_one_is_refused(name: str) -> None:
    op, row = CASES[name], TFLITE.ops[name]
    data = feeds(op)
    read, written = parameters(row, op, data)
    other = QuantParams(written.scale * np.float32(1.5), written.zero_point)
    with pytest.raises((RuntimeError, ValueError)):
        error(op, data, read, other)


@pytest.mark.parametrize("name", [name for name, row in TFLITE.ops.items() if row.scales is not Scales.FREE])
def test_unequal_scales_are_refused_or_wrong(name: str) -> None:
    op, row = CASES[name], TFLITE.ops[name]
    data = feeds(op)
    read, written = parameters(row, op, data)
    other = QuantParams(written.scale * np.float32(1.5), written.zero_point)
    with contextlib.suppress(RuntimeError, ValueError):
        assert error(op, data, read, other) > 3
