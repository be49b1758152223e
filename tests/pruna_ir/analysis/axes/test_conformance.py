"""Every axis rule on ONNX's own cases of its operator. All inputs are constants here, and so have labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from axis_commuting import check_commutes, same
from backend_cases import Case, as_constants, cases

from pruna_ir.analysis.axes import Options
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

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
    return {
        op
        for model, outputs in runnable(chosen)
        for options in (Options(), Options(split="outer"))
        for op in check_commutes(model, outputs, options)
    }


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
