"""Normalizations, by their definitions."""

from __future__ import annotations

import math

import numpy as np

from pruna_ir.backends.tflite.formula import Formula
from pruna_ir.backends.tflite.layout_rules import DATA_FOLLOWS, SPATIAL
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.ops.axes import from_last, to_last
from pruna_ir.backends.tflite.program import Tensor
from pruna_ir.backends.tflite.table import Unsupported, lowers


def _mean(op: Op, data: Tensor, axes: list[int]) -> Tensor:
    """The mean over stored axes, which stay with size one."""
    shape = [1 if axis in axes else size for axis, size in enumerate(data.shape)]
    return op.apply("MEAN", [data, op.const(axes)], shape, data, keepDims=True)


def standardized(op: Op, data: Tensor, axes: list[int], epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over stored axes."""
    centered, factor, _ = _standardizing(op, data, axes, epsilon)
    return Formula(op)("MUL", centered, factor)


def _standardizing(op: Op, data: Tensor, axes: list[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """x - mean, the factor 1 / sqrt(variance + epsilon) to it, and the mean."""
    formula, mean = Formula(op), _mean(op, data, axes)
    centered = formula("SUB", data, mean)
    variance = _mean(op, formula("MUL", centered, centered), axes)
    return centered, formula("RSQRT", formula("ADD", variance, epsilon)), mean


def _affine(op: Op, data: Tensor, scale: Tensor | None, bias: Tensor | None) -> None:
    """Write scale x + bias, as far as they are there."""
    formula = Formula(op)
    if scale is not None and bias is not None:
        formula.write("ADD", formula("MUL", data, scale), bias)
    elif scale is not None:
        formula.write("MUL", data, scale)
    elif bias is not None:
        formula.write("ADD", data, bias)
    else:
        formula.give(data)


@lowers("LayerNormalization")
def layer_normalization(op: Op) -> None:
    """Over the last axes; the mean and the inverse deviation are written if somebody reads them."""
    data, formula = op.read(0), Formula(op)
    rank = len(data.shape)
    axes = list(range(int(op.attr("axis", -1)) % rank, rank))
    centered, factor, mean = _standardizing(op, data, axes, float(op.attr("epsilon", 1e-5)))
    _affine(op, formula("MUL", centered, factor), op.read(1), op.read(2) if op.has(2) else None)
    for index, tensor in ((1, mean), (2, factor)):
        if op.writes(index):
            formula.give(tensor, index)


@lowers("RMSNormalization", "com.microsoft.SimplifiedLayerNormalization")
def rms_normalization(op: Op) -> None:
    """x / sqrt(mean(x^2) + epsilon), scaled."""
    data, formula = op.read(0), Formula(op)
    rank = len(data.shape)
    axes = list(range(int(op.attr("axis", -1)) % rank, rank))
    square = _mean(op, formula("MUL", data, data), axes)
    root = formula("RSQRT", formula("ADD", square, float(op.attr("epsilon", 1e-5))))
    _affine(op, formula("MUL", data, root), op.read(1), None)


@lowers("InstanceNormalization", layout=SPATIAL)
def instance_normalization(op: Op) -> None:
    """Over space, for each channel."""
    data = op.read(0)
    axes = list(range(1, len(data.shape) - 1))
    normal = standardized(op, data, axes, float(op.attr("epsilon", 1e-5)))
    _affine(op, normal, op.read(1), op.read(2))


@lowers("GroupNormalization", layout=SPATIAL)
def group_normalization(op: Op) -> None:
    """Over space and the channels of a group; scales may be of groups or of channels."""
    data, groups = op.read(0), int(op.attr("num_groups"))
    batch, *space, channels = data.shape
    size = channels // groups
    parts = op.reshape(data, (batch, math.prod(space), groups, size))
    normal = standardized(op, parts, [1, 3], float(op.attr("epsilon", 1e-5)))
    scale, bias = (_of_channels(op, op.read(index), groups, size) for index in (1, 2))
    if op.shape(1) == (channels,):
        _affine(op, op.reshape(normal, data.shape), scale, bias)
        return
    formula = Formula(op)
    formula.give(formula("ADD", formula("MUL", normal, scale), bias))


def _of_channels(op: Op, tensor: Tensor, groups: int, size: int) -> Tensor:
    return tensor if tensor.shape == (groups * size,) else op.reshape(tensor, (groups, 1))


@lowers("BatchNormalization", layout=SPATIAL)
def batch_normalization(op: Op) -> None:
    """MUL and ADD of what the constants come to, or of what is computed of them."""
    if op.attr("training_mode", 0) or op.writes(1):
        raise Unsupported("it is in training mode")
    names = ("scale", "bias", "mean", "variance")
    if any(op.constant(index + 1) is None for index in range(4)):
        _computed_batch_normalization(op)
        return
    scale, bias, mean, variance = (op.required(index + 1, name).astype(np.float64) for index, name in enumerate(names))
    factor = scale / np.sqrt(variance + float(op.attr("epsilon", 1e-5)))
    data = op.read(0)
    _affine(op, data, op.const(factor, np.float32), op.const(bias - mean * factor, np.float32))


def _computed_batch_normalization(op: Op) -> None:
    formula, (scale, bias, mean, variance) = Formula(op), (op.read(index) for index in range(1, 5))
    root = formula("RSQRT", formula("ADD", variance, float(op.attr("epsilon", 1e-5))))
    normal = formula("MUL", formula("SUB", op.read(0), mean), root)
    _affine(op, normal, scale, bias)


@lowers("MeanVarianceNormalization")
def mean_variance_normalization(op: Op) -> None:
    """Over the axes that are named."""
    data = op.read()
    axes = sorted(int(axis) % len(data.shape) for axis in op.attr("axes", [0, 2, 3]))
    Formula(op).give(standardized(op, data, axes, 1e-9))


@lowers("LpNormalization", layout=DATA_FOLLOWS)
def lp_normalization(op: Op) -> None:
    """x by its norm along an axis; L2_NORMALIZATION in integers, where that is the last."""
    data, axis, formula = op.read(), op.axis(int(op.attr("axis", -1))), Formula(op)
    if op.integer:
        _l2_in_integers(op, data, axis)
        return
    squares = int(op.attr("p", 2)) == 2
    terms = formula("MUL", data, data) if squares else formula("ABS", data)
    shape = [1 if place == axis else size for place, size in enumerate(data.shape)]
    norm = op.apply("SUM", [terms, op.const([axis])], shape, data, keepDims=True)
    norm = formula("SQRT", norm) if squares else norm
    # A norm of zero gives zeros.
    safe = formula("SELECT_V2", formula("EQUAL", norm, 0.0), formula("ADD", norm, 1.0), norm)
    formula.write("DIV", data, safe)


def _l2_in_integers(op: Op, data: Tensor, axis: int) -> None:
    output, last = op.write(), to_last(op, data, axis)
    if last is data:
        op.emit("L2_NORMALIZATION", [data], output, fusedActivationFunction="NONE")
        return
    inner = op.tensors.temporary(f"{op.name}/inner", last.shape, output.dtype, output.quantization)
    op.emit("L2_NORMALIZATION", [last], inner, fusedActivationFunction="NONE")
    op.tensors.reshape_into(from_last(op, inner, axis, len(data.shape)), output)


@lowers("LRN", layout=SPATIAL)
def local_response_normalization(op: Op) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, whose windows are as wide to both sides."""
    size, data = int(op.attr("size")), op.read()
    if size % 2 == 0 or len(data.shape) != 4:
        raise Unsupported("LiteRT has only windows of an odd size, over images")
    numbers = {"bias": float(op.attr("bias", 1.0)), "beta": float(op.attr("beta", 0.75))}
    alpha = float(op.attr("alpha", 1e-4)) / size
    op.emit("LOCAL_RESPONSE_NORMALIZATION", [data], op.write(), radius=size // 2, alpha=alpha, **numbers)
