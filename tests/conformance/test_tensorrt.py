"""ONNX's own backend suite, written for TensorRT: no network that the rules let pass is refused by the builder.

`scripts/make_tensorrt_conformance.py` runs all of it and writes `docs/tensorrt_conformance.md`.
"""

from __future__ import annotations

import pytest

pytest.importorskip("tensorrt_rtx")

import tensorrt_conformance
from conformance import Status
from emission_suite import KINDS, PARTS, case_named, check, sample, share
from tensorrt_conformance import judge


@pytest.mark.parametrize("kind", KINDS)
def test_sample(kind: str) -> None:
    check(judge, sample(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_everything(kind: str, part: int) -> None:
    check(judge, share(kind, part))


def test_a_network_that_only_the_builder_refuses_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_named("test_compress_0")
    assert judge(case).status is Status.REFUSED
    monkeypatch.setattr("pruna_ir.backends.tensorrt.legality.require_legal", lambda model: None)
    outcome = judge(case)
    assert outcome.status is Status.CRASHED and "Compress" in outcome.why


def test_a_wrong_network_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    addition, other = case_named("test_add"), tensorrt_conformance.opened(case_named("test_sub"))
    assert judge(addition).status is Status.PASSED
    monkeypatch.setattr(tensorrt_conformance, "opened", lambda case: other)
    assert judge(addition).status is Status.WRONG
