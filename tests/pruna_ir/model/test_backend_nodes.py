"""ONNX's own node tests: everything that the IR takes, it gives back; what it refuses has a diagnostic."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache

import onnx
import pytest
from generated_models import comparable

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.model.opset import MINIMUM_OPSET, default_opset


@cache
def cases() -> tuple[tuple[str, onnx.ModelProto], ...]:
    """Name and model of every node test of the installed onnx."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests divide by zero on purpose while they are collected
        from onnx.backend.test.case.node import collect_testcases

        return tuple((case.name, case.model) for case in collect_testcases(None) if case.model is not None)


def loaded() -> Iterator[tuple[onnx.ModelProto, Model]]:
    for _, proto in cases():
        try:
            yield proto, Model.load(proto)
        except PrunaError:
            continue


def test_only_sequences_optionals_and_what_cannot_be_raised_are_refused() -> None:
    refused: Counter[str] = Counter()
    for name, proto in cases():
        try:
            Model.load(proto)
        except PrunaError as failure:
            refused[failure.diagnostic.code] += 1
            if failure.diagnostic.code == "M007":
                assert any(word in name + failure.diagnostic.message for word in ("sequence", "optional")), name
            else:
                assert default_opset(proto) < MINIMUM_OPSET, name
    assert refused.keys() <= {"M007", "M010"}
    assert refused.total() < 0.02 * len(cases())
    assert refused["M010"] <= 1


def test_what_is_loaded_is_written_back() -> None:
    compared = 0
    for proto, model in loaded():
        model.check()
        if proto.functions or default_opset(proto) < MINIMUM_OPSET:
            continue  # rewritten on purpose
        written = model.to_proto()
        model.sidecar.strip_types(written)  # as saving does: the bodies of control flow state no types
        assert comparable(written.graph) == comparable(named(proto).graph)
        compared += 1
    assert compared > 0.9 * len(cases())


def named(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with a name, as every loaded one has."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.name = copy.graph.name or "model"
    return copy


def test_clones_are_equal() -> None:
    for _, model in loaded():
        assert model.clone().fingerprint() == model.fingerprint()


pytestmark = pytest.mark.slow
