"""ONNX's own backend suite, written as Core ML packages and evaluated: what comes out is what each case asks for.

`scripts/make_coreml_conformance.py` runs all of it and writes `docs/coreml_conformance.md`.
"""

from __future__ import annotations

import pytest

pytest.importorskip("coremltools")

import coreml_conformance
from conformance import Status
from coreml_conformance import judge, written
from emission_suite import KINDS, PARTS, case_named, check, sample, share


@pytest.mark.parametrize("kind", KINDS)
def test_sample(kind: str) -> None:
    check(judge, sample(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", PARTS)
def test_everything(kind: str, part: int) -> None:
    check(judge, share(kind, part))


def test_a_wrong_package_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    addition, other = case_named("test_add"), written(case_named("test_sub"))
    assert judge(addition).status is Status.PASSED
    monkeypatch.setattr(coreml_conformance, "written", lambda case: other)
    assert judge(addition).status is Status.WRONG
