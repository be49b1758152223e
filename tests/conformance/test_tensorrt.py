"""ONNX's own backend suite, written for TensorRT: no network that the rules let pass is refused by the builder.

`scripts/make_tensorrt_conformance.py` runs all of it and writes `docs/tensorrt_conformance.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

pytest.importorskip("tensorrt_rtx")

import tensorrt_conformance
from backend_cases import Case, cases
from conformance import Status
from emitted_cases import REFUSALS, forms, isolated
from tensorrt_conformance import judge

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
    """None is wrong or refused by the builder alone, many pass, and what is refused is refused with reasons."""
    found = list(forms(chosen))
    names = [f"{name} / {form}" for name, form, _ in found]
    outcomes = dict(zip(names, isolated(judge, [case for _, _, case in found]), strict=True))
    bad = {name: outcome for name, outcome in outcomes.items() if outcome.status in (Status.WRONG, Status.CRASHED)}
    assert not bad, "\n".join(f"{name}: {outcome.status}: {outcome.why}" for name, outcome in bad.items())
    refused = [outcome for outcome in outcomes.values() if outcome.status is Status.REFUSED]
    assert {outcome.code for outcome in refused} <= set(REFUSALS)
    assert all(outcome.reasons for outcome in refused if outcome.code == "E004")
    assert sum(outcome.status is Status.PASSED for outcome in outcomes.values()) >= len(outcomes) // 4


def test_a_network_that_only_the_builder_refuses_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in cases("node") if case.name == "test_compress_0")
    assert judge(case).status is Status.REFUSED
    monkeypatch.setattr("pruna_ir.backends.tensorrt.legality.require_legal", lambda model: None)
    outcome = judge(case)
    assert outcome.status is Status.CRASHED and "Compress" in outcome.why


def test_a_wrong_network_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    addition, subtraction = (next(case for case in cases("node") if case.name == f"test_{op}") for op in ("add", "sub"))
    other = tensorrt_conformance.opened(subtraction)
    assert judge(addition).status is Status.PASSED
    monkeypatch.setattr(tensorrt_conformance, "opened", lambda case: other)
    assert judge(addition).status is Status.WRONG
