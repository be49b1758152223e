"""To cut indices and then compute is to compute and then cut: what every axis rule promises, on any model.

That is so for what no node sums or normalizes over, and it needs no weights and no oracle: outputs, which are protected
otherwise, are cut with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pruna_ir.analysis.axes import AxisAnalysis, Group, Options
from pruna_ir.analysis.axes.analysis import label_axes, summarize
from pruna_ir.model import Model
from pruna_ir.passes.pruning.surgery import remove
from pruna_ir.pipeline.rules import op_key
from pruna_ir.runtime.session import Session

ALL = "all that commutes"
# The largest difference, absolute and relative, by the size of a number.
TOLERANCES = {2: 2e-2}
TOLERANCE = 1e-3


def check_commutes(model: Model, outputs: Mapping[str, np.ndarray], options: Options) -> set[str]:
    """The operators that wrote what was cut, after checking the outputs of a model of constants without some indices.

    Raises AssertionError if one is not what is left of `outputs`.
    """
    analysis = commuting(model, options)
    chosen = some(analysis, seed=len(model.graph.nodes))
    if not chosen:
        return set()
    gone, cut = analysis.gone({ALL: chosen}), model.clone()
    remove(cut, analysis, {ALL: chosen})
    cut.check()
    for name, actual in Session(cut, optimize=False).run({}).items():
        expected = outputs[name]
        for axis, units in enumerate(analysis.tensors.get(name, ())):
            expected = expected if units is None else np.compress(~gone[units], expected, axis)
        assert same(actual, expected), f"`{name}` of {model.graph.name} with {options}"
    written = ((node, axes(analysis, out.name)) for node in model.graph.nodes for out in node.outputs)
    return {op_key(node) for node, held in written if any(gone[units].any() for units in held)}


def axes(analysis: AxisAnalysis, name: str) -> list[np.ndarray]:
    """The axes of a tensor that have units."""
    return [units for units in analysis.tensors.get(name, ()) if units is not None]


def commuting(model: Model, options: Options) -> AxisAnalysis:
    """The axes of a model, with one group: the units that no node sums or normalizes over."""
    outputs = list(model.graph.outputs)
    model.graph.outputs.clear()
    state = label_axes(model, options)
    model.graph.outputs.extend(outputs)
    analysis, components = summarize(model, state), state.table.components()
    free = components.reason == len(components.reasons)
    for _, labels in state.reduced:
        free[components.unit[labels]] = False
    for use in state.consumers:
        units = analysis.units(use)
        free[[] if units is None else units] = False
    return replace(analysis, groups=(Group(ALL, np.flatnonzero(free)),))


def some(analysis: AxisAnalysis, seed: int) -> list[int]:
    """Positions in the first group of about half of the units, of which no axis loses all that it has."""
    rng, units = np.random.default_rng(seed), analysis.groups[0].units
    gone = np.zeros(analysis.size, bool)
    gone[units] = rng.random(len(units)) < 0.5
    for every in (*analysis.inputs.values(), *analysis.tensors.values()):
        for held in every:
            if held is not None and held.size and gone[held].all():
                gone[rng.choice(held)] = False
    return [int(position) for position in np.flatnonzero(gone[units])][: len(units) - 1]


def same(actual: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays are equal but for rounding."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return False
    if expected.dtype.kind not in "fc":
        return bool((actual == expected).all())
    tolerance = TOLERANCES.get(expected.dtype.itemsize, TOLERANCE)
    return bool(np.allclose(actual, expected, tolerance, tolerance, equal_nan=True))
