"""ONNX's own backend suite, written as .tflite and run on LiteRT: what comes out is what each case asks for.

`scripts/make_tflite_conformance.py` runs all of it and writes `docs/tflite_conformance.md`.
"""

from __future__ import annotations

from dataclasses import replace
from signal import SIGABRT, raise_signal

import pytest

pytest.importorskip("ai_edge_litert")

import tflite_conformance
from backend_cases import Case
from conformance import Status
from emission_suite import KINDS, PARTS, case_named, check, sample, share
from emitted_cases import Outcome, isolated
from tflite_conformance import judge, written


@pytest.mark.parametrize("kind", KINDS)
def test_sample(kind: str) -> None:
    check(judge, sample(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_everything(kind: str, part: int) -> None:
    check(judge, share(kind, part))


def test_a_wrong_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    addition, other = case_named("test_add"), written(case_named("test_sub"))
    assert judge(addition).status is Status.PASSED
    monkeypatch.setattr(tflite_conformance, "written", lambda case: other)
    assert judge(addition).status is Status.WRONG


def test_a_process_that_ends_is_the_case_to_blame() -> None:
    def deadly(case: Case) -> Outcome:
        if case.name == "b":
            raise_signal(SIGABRT)
        return Outcome(Status.PASSED, case.name)

    chosen = [replace(case_named("test_add"), name=name) for name in "abc"]
    found = list(isolated(deadly, chosen))
    assert [outcome.status for outcome in found] == [Status.PASSED, Status.CRASHED, Status.PASSED]
    assert found[1].why == "the process ended with SIGABRT" and found[2].why == "c"
