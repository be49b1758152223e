"""Models from short text: the header that every test would repeat, and weights of a given shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from pruna_ir.model import Model


def model_from(graph: str, *, opset: int = 17, **weights: Any) -> Model:
    """A model from the text of its graph: `g (float[1,2] x) => (float[1,2] y) { y = Relu(x) }`.

    `weights` are added as initializers; the text reads them by name.
    """
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {graph}')
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()
    )
    return Model.load(proto)


def weight(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Normally distributed values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def positive(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Values between 0.5 and 1.5, for variances and divisors."""
    return (np.random.default_rng(seed).random(shape) + 0.5).astype(dtype)
