"""One weight rounded, by itself and by a method that looks at the layer's inputs; and putting that into a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.analysis.gram import Moments
from pruna_ir.analysis.layers import Layer
from pruna_ir.passes.quantization.rounding.bias import shift_outputs
from pruna_ir.passes.quantization.rounding.grid import Grid, best_scale, found_again, grid_of
from pruna_ir.passes.quantization.rounding.solvers import SOLVERS, damped, error, nearest
from pruna_ir.passes.quantization.rounding.weights import Weight
from pruna_ir.pipeline.rewriter import Rewriter

if TYPE_CHECKING:
    from pruna_ir.model import Model


@dataclass(frozen=True)
class Choice:
    """New values for the constant `name`, and for each layer that reads it what they take from the outputs' means.

    `key` is the first of those layers. `error` is the mean squared change of the outputs over that of rounding to
    nearest.
    """

    name: str
    key: str
    values: np.ndarray
    shifts: Mapping[str, np.ndarray]
    error: float = 1.0


def round_weight(
    weight: Weight, moments: Mapping[str, Moments], method: str, bits: int | None, search: bool
) -> tuple[Choice, Choice]:
    """The weight rounded to nearest, and by `method`, on the same grid.

    `bits` narrows the grid, `search` looks for the scale of least error. Directions in which the samples do not vary,
    or moments that are not finite, leave nothing but the nearest.
    """
    layer = weight.layers[0]
    matrix = layer.matrix(weight.tensor.values.astype(np.float64))
    hessian = damped(_gram([moments[one.key] for one in weight.layers], layer))
    scheme = replace(weight.scheme, bits=min(bits or 8, weight.scheme.bits or 8))
    scale = scheme.of_weights(weight.tensor.values).scale
    scale = scale.reshape(layer.rows.groups, -1, 1) if scale.ndim else scale.reshape(1, 1, 1)
    if search:
        scale = best_scale(matrix, hessian, scale, scheme.highest)
    grid = grid_of(matrix, found_again(scale, scheme.highest), scheme.highest)
    plain = nearest(matrix, hessian, grid)
    better = SOLVERS[method](matrix, hessian, grid)
    before, after = (float(error(matrix, grid.values(q), hessian).sum()) for q in (plain, better))
    ratio = after / before if before else 1.0
    return _choice(weight, moments, grid, plain, 1.0), _choice(weight, moments, grid, better, ratio)


def _gram(moments: list[Moments], layer: Layer) -> np.ndarray:
    """The Gram matrix over the rows of all readers; zeros if it is not finite."""
    total = moments[0]
    for other in moments[1:]:
        total = total.merge(other)
    return total.gram if np.isfinite(total.gram).all() else np.zeros_like(total.gram)


def _choice(weight: Weight, moments: Mapping[str, Moments], grid: Grid, integers: np.ndarray, ratio: float) -> Choice:
    """The values as float32 computes them from scale and integers: it must find the same again."""
    layer = weight.layers[0]
    values = layer.unfold(integers.astype(np.float32) * grid.scale)
    gap = layer.matrix(weight.tensor.values.astype(np.float64) - values)
    shifts = {}
    for one in weight.layers:
        mean = moments[one.key].mean[:, :, None]
        if np.isfinite(mean).all() and gap.any():
            shifts[one.key] = (gap @ mean).reshape(-1)
    return Choice(weight.name, layer.key, np.ascontiguousarray(values), shifts, ratio)


def applied(model: Model, choices: Iterable[Choice], *, correct_bias: bool) -> Model:
    """A copy of `model` whose constants have their new values, and whose biases make up for the means they move."""
    model = model.clone()
    rewriter = Rewriter(model.graph)
    tensors = model.graph.tensors()
    nodes = {node.outputs[0].name: node for node in model.graph.nodes if node.outputs}
    for choice in choices:
        tensors[choice.name].values = choice.values
        for key, shift in choice.shifts.items() if correct_bias else ():
            shift_outputs(nodes[key], shift, rewriter)
    rewriter.commit()
    return model
