"""Every axis rule on ONNX's own cases of its operator: to cut indices first and compute is to compute and cut then.

All inputs are constants here, and so have labels; nothing is an output of the graph, which would protect it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from backend_cases import Case, as_constants, cases

from pruna_ir.analysis.axes import AxisAnalysis, Group, Options
from pruna_ir.analysis.axes.analysis import label_axes, summarize
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.pruning.surgery import remove
from pruna_ir.pipeline.rules import op_key
from pruna_ir.runtime.session import Session

ALL = "all that commutes"
RTOL, ATOL = 1e-3, 1e-4
# Every so many cases in the fast test; parts that the slow one is run in, so that processes can share them.
STRIDE, PARTS = 30, 8


def test_sample() -> None:
    assert len(check(cases("node")[::STRIDE])) > 20


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_everything(part: int) -> None:
    assert len(check(cases("node")[part::PARTS])) > 50


def check(chosen: Sequence[Case]) -> set[str]:
    """The operators that were cut, in both ways to split axes, after checking what they compute."""
    seen: set[str] = set()
    for model, outputs in runnable(chosen):
        for options in (Options(), Options(split="outer")):
            seen |= check_cut(model, outputs, options)
    return seen


def runnable(chosen: Sequence[Case]) -> Iterator[tuple[Model, dict[str, np.ndarray]]]:
    """Models of the cases with constants for all inputs, and their outputs, where those are no matter of chance."""
    for case in chosen:
        constant = as_constants(case)
        if constant is None:
            continue
        try:
            model = Model.load(constant.model)
            first, second = (Session(model, optimize=False).run({}) for _ in range(2))
        except PrunaError:  # types that the IR does not hold, operators that ONNX Runtime lacks
            continue
        if all(same(first[name], second[name]) for name in first):
            yield model, first


def check_cut(model: Model, outputs: dict[str, np.ndarray], options: Options) -> set[str]:
    """The operators of a model that wrote what was cut, after checking the outputs."""
    analysis = commuting(model, options)
    chosen = some(analysis, seed=len(model.graph.nodes))
    gone, cut = analysis.gone({ALL: chosen}), model.clone()
    remove(cut, analysis, {ALL: chosen})
    cut.check()
    for name, actual in Session(cut, optimize=False).run({}).items():
        expected = outputs[name]
        for axis, units in enumerate(analysis.tensors.get(name, ())):
            expected = expected if units is None else np.compress(~gone[units], expected, axis)
        assert same(actual, expected), f"`{name}` of {model.graph.name} with {options}"
    written = (
        (node, units) for node in model.graph.nodes for out in node.outputs for units in axes(analysis, out.name)
    )
    return {op_key(node) for node, units in written if gone[units].any()}


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
    for axes in (*analysis.inputs.values(), *analysis.tensors.values()):
        for held in axes:
            if held is not None and held.size and gone[held].all():
                gone[rng.choice(held)] = False
    return [int(position) for position in np.flatnonzero(gone[units])][: len(units) - 1]


def same(actual: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays are equal but for rounding."""
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return False
    if expected.dtype.kind not in "fc":
        return bool((actual == expected).all())
    return bool(np.allclose(actual, expected, RTOL, ATOL, equal_nan=True))
