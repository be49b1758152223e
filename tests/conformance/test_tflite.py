"""ONNX's own backend suite, written as .tflite and run on LiteRT: what comes out is what each case asks for.

`scripts/make_tflite_conformance.py` runs all of it and writes `docs/tflite_conformance.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from signal import SIGABRT, raise_signal

import pytest

pytest.importorskip("ai_edge_litert")

import tflite_conformance
from backend_cases import Case, cases
from conformance import Status
from emitted_cases import REFUSALS, Outcome, forms, isolated
from tflite_conformance import judge, written

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


def addition() -> Case:
    return next(case for case in cases("node") if case.name == "test_add")


def test_a_wrong_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    subtraction = next(case for case in cases("node") if case.name == "test_sub")
    other = written(subtraction)
    assert judge(addition()).status is Status.PASSED
    monkeypatch.setattr(tflite_conformance, "written", lambda case: other)
    assert judge(addition()).status is Status.WRONG


def test_a_process_that_ends_is_the_case_to_blame() -> None:
    def deadly(case: Case) -> Outcome:
        if case.name == "b":
            raise_signal(SIGABRT)
        return Outcome(Status.PASSED, case.name)

    chosen = [replace(addition(), name=name) for name in "abc"]
    found = list(isolated(deadly, chosen))
    assert [outcome.status for outcome in found] == [Status.PASSED, Status.CRASHED, Status.PASSED]
    assert found[1].why == "the process ended with SIGABRT" and found[2].why == "c"
