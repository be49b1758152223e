from __future__ import annotations

import math

import conv_chains
import numpy as np
import pytest
import seeded_passes as seeded
from conv_chains import conv_bn_chain
from seeded_passes import Seeded, small_model

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError
from pruna_ir.instruments.bisect import find_culprit
from pruna_ir.pipeline.manager import PassManager

LENGTH = 40


@pytest.fixture
def wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fuse` runs a rule that forgets the mean, before the right ones."""
    register(monkeypatch, conv_chains.ForgetMean)


def register(monkeypatch: pytest.MonkeyPatch, rule: type[conv_chains.ForgetMean]) -> None:
    reference = f"conv_chains:{rule.__name__}"
    monkeypatch.setattr(registry, "FUSION_RULES", {rule.name: reference, **registry.FUSION_RULES})
    monkeypatch.setitem(registry.PASSES, rule.name, reference)


@pytest.mark.usefixtures("wrong_rule")
@pytest.mark.parametrize("place", [0, 23, LENGTH - 1])
def test_a_wrong_rule_is_named_with_its_node(place: int) -> None:
    model = conv_bn_chain(LENGTH, marked={place})
    fingerprint = model.fingerprint()
    calls: list[tuple[str, int, int]] = []
    manager = PassManager.parse("dead-code,fuse,dead-code")
    culprit = find_culprit(manager, model, progress=lambda *call: calls.append(call))
    assert culprit is not None
    assert culprit.name == f"forget-mean at `bn_{place}`"
    # dead-code is a step, and so is every rule application.
    assert (culprit.step, culprit.total) == (place + 2, LENGTH + 2)
    assert culprit.before <= 1e-3 < culprit.after < math.inf
    assert 0 < len(calls) <= math.ceil(math.log2(culprit.total))
    assert model.fingerprint() == fingerprint


@pytest.mark.usefixtures("wrong_rule")
def test_the_users_samples_are_used() -> None:
    samples = np.zeros((1, conv_chains.CHANNELS, 6, 6), np.float32)
    culprit = find_culprit(PassManager.parse("fuse"), conv_bn_chain(8, marked={3}), data=samples)
    assert culprit is not None
    assert culprit.name == "forget-mean at `bn_3`"


@pytest.mark.usefixtures("wrong_rule")
def test_right_steps_have_no_culprit() -> None:
    assert find_culprit(PassManager.parse("dead-code,fuse"), conv_bn_chain(LENGTH)) is None


@pytest.mark.usefixtures("wrong_rule")
def test_the_tolerance_decides() -> None:
    model = conv_bn_chain(4, marked={2})
    assert find_culprit(PassManager.parse("fuse"), model, tolerance=10.0) is None
    strict = find_culprit(PassManager.parse("fuse"), model, tolerance=0.0)
    assert strict is not None
    assert strict.name.startswith("fuse-conv-bn")  # right up to rounding


@pytest.mark.usefixtures("wrong_rule")
def test_among_several_wrong_steps_one_is_found_that_is_wrong_by_itself() -> None:
    marked = {3, 17, 30}
    culprit = find_culprit(PassManager.parse("fuse"), conv_bn_chain(LENGTH, marked))
    assert culprit is not None
    assert culprit.name in {f"forget-mean at `bn_{index}`" for index in marked}
    assert culprit.before <= 1e-3 < culprit.after


def test_errors_that_come_and_go() -> None:
    """Seven passes, of which every second one undoes the one before: the last error is not the only one."""
    there = Seeded(seeded.change_weights)
    back = Seeded(seeded.change_weights_back)
    culprit = find_culprit(PassManager([there, back, there, back, there, back, there]), small_model())
    assert culprit is not None
    assert culprit.step % 2 == 1
    assert culprit.before == 0.0
    assert culprit.after > 1e-3


def test_a_step_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, conv_chains.Breaks)
    culprit = find_culprit(PassManager.parse("fuse"), conv_bn_chain(LENGTH, marked={11}))
    assert culprit is not None
    assert (culprit.name, culprit.step, culprit.total) == ("breaks at `bn_11`", 12, 12)
    assert (culprit.before <= 1e-3, culprit.after) == (True, math.inf)
    assert "no weights today" in str(culprit)


def test_a_step_whose_model_does_not_run_is_named() -> None:
    passes = [Seeded(seeded.nothing), Seeded(seeded.unknown_operator), Seeded(seeded.nothing)]
    culprit = find_culprit(PassManager(passes), small_model())
    assert culprit is not None
    assert culprit.step == 2
    assert "ONNX Runtime refuses the model" in culprit.failure


def test_a_failure_before_the_first_step_is_no_step() -> None:
    with pytest.raises(PrunaError, match="needs calibration data"):
        find_culprit(PassManager.parse("quantize"), small_model())


def test_decisions_of_the_first_run_are_replayed() -> None:
    measured: list[int] = []
    passes = [seeded.Deciding(measured.append), Seeded(seeded.change_weights)]
    culprit = find_culprit(PassManager(passes), small_model())
    assert culprit is not None
    assert culprit.step == 2
    assert len(measured) == 1
