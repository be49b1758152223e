"""Axis rules together, on the generated graphs that fusion and recognition rules are about."""

from __future__ import annotations

from collections import Counter

import pytest
from axis_commuting import check_commutes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from idioms import IDIOMS, Network, networks

from pruna_ir.analysis.axes import Options
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

FEW, MANY = 40, 2500
# Share of the graphs, at least, in which something was cut.
LEAST_CUT = 0.4

of_any_idioms = st.lists(st.sampled_from(sorted(IDIOMS)), min_size=1, max_size=3).flatmap(
    lambda names: networks(*(IDIOMS[name] for name in names))
)


def test_few() -> None:
    check(FEW)


@pytest.mark.slow
def test_many() -> None:
    check(MANY)


def frozen(network: Network) -> Model:
    """The model with constants for its inputs, since those of a graph are protected."""
    model = network.model.clone()
    for tensor in model.graph.inputs:
        tensor.to_constant(network.feeds[tensor.name])
    model.graph.inputs.clear()
    return model


def check(graphs: int) -> None:
    """Check that many graphs, of which enough have something to cut."""
    counts: Counter[bool] = Counter()

    @settings(
        max_examples=graphs,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        phases=[Phase.generate],
    )
    @given(of_any_idioms, st.sampled_from([Options(), Options(split="outer")]))
    def one(network: Network, options: Options) -> None:
        model = frozen(network)
        counts[bool(check_commutes(model, Session(model, optimize=False).run({}), options))] += 1

    one()
    assert counts[True] >= LEAST_CUT * graphs, counts
