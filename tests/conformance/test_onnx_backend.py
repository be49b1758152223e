"""ONNX's own backend suite through load, -O1, save and ONNX Runtime: what comes out is what each case asks for.

`scripts/make_conformance.py` runs all of it and writes `docs/conformance.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs
import pytest
from backend_cases import KINDS, Case, cases, variants
from conformance import Outcome, Status, judge
from seeded_passes import Seeded, fail

from pruna_ir.pipeline.manager import PassManager

# Constructs that the IR does not hold, weights that are NaN, and what ONNX's version converter cannot raise.
REFUSALS = {"M007", "M008", "M010"}
# Every so many cases in the fast tests; parts that the slow ones are run in, so that processes can share them.
STRIDES = {"node": 48, "simple": 4, "pytorch-converted": 8, "pytorch-operator": 8, "real": 9}
PARTS = 8


@pytest.mark.parametrize("kind", KINDS)
def test_sample(kind: str) -> None:
    check(cases(kind)[:: STRIDES[kind]])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(PARTS))
def test_everything(kind: str, part: int) -> None:
    check(cases(kind)[part::PARTS])


def check(chosen: Sequence[Case]) -> None:
    """Judge all forms of cases: none is wrong or crashes, most pass, and only what must be is refused."""
    manager = PassManager.parse("O1")
    outcomes: dict[tuple[str, str], Outcome] = {}
    for case in chosen:
        for name, form in variants(case):
            outcomes[case.name, name] = judge(form, manager)
    bad = {key: outcome for key, outcome in outcomes.items() if outcome.status in (Status.WRONG, Status.CRASHED)}
    assert not bad, "\n".join(f"{' / '.join(key)}: {outcome.status}: {outcome.why}" for key, outcome in bad.items())
    assert {outcome.code for outcome in outcomes.values() if outcome.status is Status.REFUSED} <= REFUSALS
    counts = Counter(outcome.status for outcome in outcomes.values())
    assert counts[Status.PASSED] >= max(counts[Status.REFUSED], 1), counts
    assert any(outcome.changed for outcome in outcomes.values())


def add_case() -> Case:
    return dict(variants(next(case for case in cases("node") if case.name == "test_add")))["weights"]


def spoil(graph: gs.Graph) -> None:
    constant = next(tensor for tensor in graph.tensors().values() if isinstance(tensor, gs.Constant))
    constant.values = constant.values * 1.01


def test_a_wrong_pass_is_seen() -> None:
    assert judge(add_case(), PassManager([])).status is Status.PASSED
    assert judge(add_case(), PassManager([Seeded(spoil)])).status is Status.WRONG


def test_a_failing_pass_is_seen() -> None:
    outcome = judge(add_case(), PassManager([Seeded(fail)]))
    assert (outcome.status, outcome.why[:4]) == (Status.CRASHED, "P007")


def test_a_case_that_onnx_runtime_fails_does_not_count() -> None:
    case = add_case()
    wrong = [(given, [expected[0] + 1]) for given, expected in case.samples]
    assert judge(replace(case, samples=tuple(wrong)), PassManager([])).status is Status.UNCOUNTED
