"""Units of any free group removed from generated networks: what is left computes what the oracle says.

Long runs, with many more graphs: `pytest -m slow tests/passes/pruning/test_generated_graphs.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prunable import BLOCKS, Network, networks
from pruning_oracle import masked, removed_by

from pruna_ir.analysis.axes import AxisAnalysis, analyze
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.passes.pruning.surgery import remove
from pruna_ir.runtime.session import Session

# Graphs for each kind of block, and for all kinds together.
FEW = {"kind": 12, "together": 120}
MANY = {"kind": 200, "together": 4000}
# Share of the graphs, at least, in which something can be removed: only trouble and luck stand in the way.
LEAST_FREE = 0.6

quiet = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
long = pytest.mark.slow


@pytest.mark.parametrize("kind", BLOCKS)
def test_kind(kind: str) -> None:
    check(FEW["kind"], kind)


@long
@pytest.mark.parametrize("kind", BLOCKS)
def test_kind_at_length(kind: str) -> None:
    check(MANY["kind"], kind)


def test_together() -> None:
    check(FEW["together"], *BLOCKS)


@long
def test_together_at_length() -> None:
    check(MANY["together"], *BLOCKS)


def check(examples: int, *kinds: str) -> None:
    """Remove units from networks of these blocks and compare with the oracle."""
    cut = []

    @settings(quiet, max_examples=examples)
    @given(networks(*kinds), st.integers(0, 99), st.booleans())
    def compare(network: Network, seed: int, many: bool) -> None:
        analysis = analyze(network.model)
        removed = choice(analysis, np.random.default_rng(seed), many)
        cut.append(bool(removed))
        pruned = network.model.clone()
        remove(pruned, analysis, removed)
        pruned.check("the pruned model")
        expected = masked(network.model, removed_by(analysis, removed))
        difference = error(network, expected, pruned)
        assert difference <= network.tolerance, f"{difference:.1e} without {removed}"

    compare()
    assert sum(cut) >= LEAST_FREE * len(cut), f"something was removed from {sum(cut)} of {len(cut)} graphs"


def error(network: Network, expected: Model, pruned: Model) -> float:
    """Largest difference of two models, relative to the range of their outputs and the image together.

    Layers keep the sizes of values, so that the image's range is that of the rounding errors. The outputs alone may
    have none: a mean of what was normalized is nothing but rounding.
    """
    wanted, found = (Session(model, optimize=False).run(network.feeds) for model in (expected, pruned))
    assert [values.shape for values in wanted.values()] == [values.shape for values in found.values()]
    image = next(iter(network.feeds.values())).ravel()
    first, second = (
        {name: np.concatenate([values.ravel(), image]) for name, values in outputs.items()}
        for outputs in (wanted, found)
    )
    return relative_error(first, second)


def choice(analysis: AxisAnalysis, random: np.random.Generator, many: bool) -> dict[str, list[int]]:
    """Any units of one group, or of every group; at least one of each stays."""
    groups = [group for group in analysis.free if group.size > 1]
    if groups and not many:
        groups = [groups[random.integers(len(groups))]]
    counts = {group.name: random.integers(1, group.size) for group in groups}
    return {
        group.name: sorted(random.choice(group.size, counts[group.name], replace=False).tolist()) for group in groups
    }
