"""ONNX's own backend suite, written as Core ML packages and evaluated: what comes out is what each case asks for.

`scripts/make_coreml_conformance.py` runs all of it and writes `docs/coreml_conformance.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

pytest.importorskip("coremltools")

import coreml_conformance
from backend_cases import Case, cases
from conformance import Status
from coreml_conformance import judge, written
from emitted_cases import REFUSALS, forms, isolated

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
# Every so many cases in the fast tests; parts that the slow ones are run in.
STRIDES = {"node": 48, "simple": 4, "pytorch-converted": 8, "pytorch-operator": 8}
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
    """None is wrong or crashes, many pass, and what is refused is refused with reasons."""
    found = list(forms(chosen))
    names = [f"{name} / {form}" for name, form, _ in found]
    outcomes = dict(zip(names, isolated(judge, [case for _, _, case in found]), strict=True))
    bad = {name: outcome for name, outcome in outcomes.items() if outcome.status in (Status.WRONG, Status.CRASHED)}
    assert not bad, "\n".join(f"{name}: {outcome.status}: {outcome.why}" for name, outcome in bad.items())
    refused = [outcome for outcome in outcomes.values() if outcome.status is Status.REFUSED]
    assert {outcome.code for outcome in refused} <= set(REFUSALS)
    assert all(outcome.reasons for outcome in refused if outcome.code == "E004")
    assert Counter(outcome.status for outcome in outcomes.values())[Status.PASSED] >= len(outcomes) // 4


def test_a_wrong_package_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    addition, subtraction = (
        next(case for case in cases("node") if case.name == name) for name in ("test_add", "test_sub")
    )
    other = written(subtraction)
    assert judge(addition).status is Status.PASSED
    monkeypatch.setattr(coreml_conformance, "written", lambda case: other)
    assert judge(addition).status is Status.WRONG
