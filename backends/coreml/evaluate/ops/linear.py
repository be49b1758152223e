"""Matrix products."""

from __future__ import annotations

import numpy as np

from pruna_ir.backends.coreml.evaluate.ops.activations import softmax
from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray


@computes("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x times weight [outputs, inputs], transposed."""
    result = x @ weight.T
    return result if bias is None else np.asarray(result + bias)


@computes("matmul")
def matmul(x: Array, y: Array, transpose_x: Array | bool = False, transpose_y: Array | bool = False) -> Array:
    """The product of the last two axes, of either operand transposed."""
    left = x.swapaxes(-1, -2) if transpose_x and x.ndim > 1 else x
    right = y.swapaxes(-1, -2) if transpose_y and y.ndim > 1 else y
    return np.asarray(left @ right)


@computes("einsum")
def einsum(values: list[Array], equation: str) -> Array:
    """Sums of products by an equation."""
    return np.asarray(np.einsum(str(equation), *values))


@computes("scaled_dot_product_attention")
def scaled_dot_product_attention(query: Array, key: Array, value: Array, attn_mask: Array | None = None) -> Array:
    """softmax(query key' / sqrt(size) + mask) value; a mask of truth values says what takes part."""
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(np.float32(query.shape[-1]))
    if attn_mask is not None:
        mask = attn_mask if attn_mask.dtype != np.bool_ else np.where(attn_mask, np.float32(0), np.float32(-np.inf))
        scores = scores + mask
    return np.asarray(softmax(scores, np.asarray(-1)) @ value)
