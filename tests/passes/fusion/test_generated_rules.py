"""Every rule on generated graphs: its idiom in random form and surroundings, with what may stand in its way.

Long runs, with many more graphs a rule: `pytest -m slow tests/passes/fusion/test_generated_rules.py`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from idioms import IDIOMS, Network, networks

from pruna_ir import registry
from pruna_ir.instruments.verify import VerifyEach
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, largest_difference

RULES = {**registry.FUSION_RULES, **getattr(registry, "RECOGNITION_RULES", {})}
GROUPS = [name for name in ("recognize", "fuse") if name in registry.PASSES]
# Graphs for each rule, and for all rules together.
FEW = {"rule": 12, "together": 25}
MANY = {"rule": 600, "together": 6000}
# Share of the graphs, at least, on which a rule must fire: a generator that never gets there tests nothing.
LEAST_FIRED = 0.05

# No operator is too slow for it.
EAGER = replace(registry.target("ort-cpu"), slow_ops=frozenset())

quiet = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
of_any_rules = st.lists(st.sampled_from(sorted(IDIOMS)), min_size=1, max_size=3).flatmap(
    lambda names: networks(*(IDIOMS[name] for name in names))
)
long = pytest.mark.slow


def test_every_rule_has_a_generator() -> None:
    assert set(IDIOMS) == set(RULES)


@pytest.mark.parametrize("name", IDIOMS)
def test_rule(name: str) -> None:
    check_rule(name, FEW["rule"])


@long
@pytest.mark.parametrize("name", IDIOMS)
def test_rule_at_length(name: str) -> None:
    check_rule(name, MANY["rule"])


@pytest.mark.parametrize("group", GROUPS)
def test_rules_together(group: str) -> None:
    check_group(group, FEW["together"])


@long
@pytest.mark.parametrize("group", GROUPS)
def test_rules_together_at_length(group: str) -> None:
    check_group(group, MANY["together"])


def test_o1() -> None:
    check_o1(FEW["together"])


@long
def test_o1_at_length() -> None:
    check_o1(MANY["together"])


def check_rule(name: str, examples: int) -> None:
    """Run a rule on graphs that hold its idiom; it keeps its promises on all, and fires on some."""
    rule = registry.pass_class(name)()
    fired = []

    @settings(quiet, max_examples=examples)
    @given(networks(IDIOMS[name]))
    def check(network: Network) -> None:
        _, result = check_pass(rule, network.model, feeds=network.feeds, tolerance=network.tolerance, target=EAGER)
        fired.append(result.changed)

    check()
    assert sum(fired) >= LEAST_FIRED * len(fired), f"fired on {sum(fired)} of {len(fired)} graphs"


def check_group(name: str, examples: int) -> None:
    """Run all rules of a group on graphs that hold idioms of any rules."""
    group = registry.pass_class(name)()

    @settings(quiet, max_examples=examples)
    @given(of_any_rules)
    def check(network: Network) -> None:
        check_pass(group, network.model, feeds=network.feeds, tolerance=network.tolerance)

    check()


def check_o1(examples: int) -> None:
    """Run -O1 twice on graphs that hold idioms of any rules; the second time finds nothing to do."""
    manager = PassManager.parse("O1")

    @settings(quiet, max_examples=examples)
    @given(of_any_rules)
    def check(network: Network) -> None:
        after = network.model.clone()
        manager.run(after, instruments=[VerifyEach(debug=True)])
        assert largest_difference(network.model, after, network.feeds) <= network.tolerance
        again = manager.run(after)
        assert not again.changed, [(stage.text, stage.counts) for stage in again.stages if stage.changed]

    check()
