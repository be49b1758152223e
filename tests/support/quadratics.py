"""Small layers, and their quadratic error by its definition."""

from __future__ import annotations

import numpy as np
import onnx
from small_graphs import build, conv, weights

from pruna_ir.passes.pruning.reconstruction.least_squares import Normal
from pruna_ir.passes.pruning.reconstruction.sites import Site, sites_in


def site(groups: int = 2, bias: bool = True) -> Site:
    """A 1x1 convolution from 6 channels to 4, or a MatMul from 6 to 4 without room for a bias."""
    if bias:
        constants = {"w": weights(0, 4, 6 // groups, 1, 1), "b": weights(1, 4)}
        model = build([conv("y", "x", "w", "b", group=groups)], {"x": ["n", 6, 5, 5]}, ["y"], constants)
    else:
        node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
        model = build([node], {"x": ["n", 7, 6]}, ["y"], {"w": weights(0, 6, 4)})
    return sites_in(model.graph)["y"]


def mean_error(normal: Normal, matrix: np.ndarray) -> float:
    """The mean squared error of a row's outputs with these weights and the bias that belongs to them, summed up."""
    quadratic = ((matrix @ normal.gram) * matrix).sum()
    return float(quadratic - 2 * (matrix * normal.cross).sum() + normal.power.sum())
