"""Costs as functions of widths: equal to what is counted once the model has been cut to them."""

from __future__ import annotations

import numpy as np
import pytest
from channel_nets import normalized_net, residual_net
from onnx_text import model_from, weight

from pruna_ir.analysis.axes import analyze
from pruna_ir.analysis.counting import count_parameters
from pruna_ir.analysis.macs import count_macs
from pruna_ir.model import Model
from pruna_ir.passes.pruning.allocation.costs import Cost
from pruna_ir.passes.pruning.allocation.model_costs import Costs
from pruna_ir.passes.pruning.cutting import cut


def grouped() -> Model:
    """A grouped convolution, a depthwise one with two channels each, and a spatial Flatten."""
    text = """g (float[n,3,4,4] x) => (float[n,5] y) {
        a = Conv<pads=[1,1,1,1]>(x, wa)
        b = Conv<pads=[1,1,1,1],group=2>(a, wb)
        c = Conv<pads=[1,1,1,1],group=8>(b, wc)
        d = Conv(c, wd)
        f = Flatten(d)
        y = MatMul(f, wf)
    }"""
    return model_from(
        text,
        wa=weight(12, 3, 3, 3),
        wb=weight(8, 6, 3, 3),
        wc=weight(16, 1, 3, 3),
        wd=weight(6, 16, 1, 1),
        wf=weight(6 * 16, 5),
    )


def gated() -> Model:
    """Rows: two products whose outputs are multiplied, and one that reads that."""
    text = """g (float[n,7,8] x) => (float[n,7,8] y) {
        a = MatMul(x, wa)  s = Sigmoid(a)  b = MatMul(x, wb)  m = Mul(s, b)  y = MatMul(m, wc)
    }"""
    return model_from(text, wa=weight(8, 20), wb=weight(8, 20, seed=1), wc=weight(20, 8))


def shared() -> Model:
    """One weight that two layers read."""
    text = """g (float[n,8] x) => (float[n,8] y) {
        a = MatMul(x, w)  r = Relu(a)  b = MatMul(r, w)  t = Tanh(b)  y = MatMul(t, v)
    }"""
    return model_from(text, w=weight(8, 8), v=weight(8, 8, seed=1))


def joined() -> Model:
    """Two branches side by side."""
    text = """g (float[n,3,4,4] x) => (float[n,4,4,4] y) {
        a = Conv(x, wa)  b = Conv(x, wb)  c = Concat<axis=1>(a, b)  y = Conv(c, wc)
    }"""
    return model_from(text, wa=weight(6, 3, 1, 1), wb=weight(10, 3, 1, 1), wc=weight(4, 16, 1, 1))


NETS = [residual_net, normalized_net, grouped, gated, shared, joined]


def random_cut(model: Model, seed: int) -> tuple[Costs, dict[str, int], Model]:
    """Costs of a model, random widths, and the model that has them."""
    rng = np.random.default_rng(seed)
    analysis = analyze(model)
    widths = {group.name: int(rng.integers(1, group.size + 1)) for group in analysis.free}
    removed = {group.name: rng.permutation(group.size)[widths[group.name] :] for group in analysis.free}
    return Costs(model, analysis, analysis.free), widths, cut(model, analysis, removed)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("seed", range(4))
def test_macs_are_exact(net: object, seed: int) -> None:
    model: Model = net()  # type: ignore[operator]
    costs, widths, pruned = random_cut(model, seed)
    assert widths, "there is something to cut"
    macs = costs.macs()
    assert isinstance(macs, Cost)
    assert macs.at(widths) == pytest.approx(count_macs(pruned), rel=1e-9)


@pytest.mark.parametrize("net", [net for net in NETS if net is not shared])
@pytest.mark.parametrize("seed", range(4))
def test_parameters_are_exact(net: object, seed: int) -> None:
    model: Model = net()  # type: ignore[operator]
    costs, widths, pruned = random_cut(model, seed)
    assert costs.parameters().at(widths) == pytest.approx(count_parameters(pruned), rel=1e-9)
    full = {name: analyze(model).group(name).size for name in widths}
    assert costs.bytes().at(full) == pytest.approx(model.to_proto().ByteSize(), rel=1e-6)
    assert costs.bytes().at(widths) == pytest.approx(pruned.to_proto().ByteSize(), abs=400)  # names of constants


def test_shared_weight_counts_once_at_first() -> None:
    model = shared()
    analysis = analyze(model)
    costs = Costs(model, analysis, analysis.free)
    full = {group.name: group.size for group in analysis.free}
    assert costs.parameters().at(full) == count_parameters(model) == 128


def test_groups_that_are_not_candidates_stay_as_wide() -> None:
    model = residual_net()
    analysis = analyze(model)
    inner = analysis.free[1]
    macs = Costs(model, analysis, [inner]).macs()
    assert isinstance(macs, Cost)
    assert macs.at({inner.name: inner.size}) == count_macs(model)
    assert macs.at({inner.name: 12}) == count_macs(cut(model, analysis, {inner.name: list(range(12))}))


def test_any_amount_of_a_node_follows_its_work() -> None:
    """Milliseconds of a convolution halve with its inputs, those of a Relu with its channels."""
    model = residual_net(16, 24)
    analysis = analyze(model)
    cost = Costs(model, analysis, analysis.free).of_nodes({"b": 6.0, "a": 2.0, "elsewhere": 1.0})
    full = {group.name: group.size for group in analysis.free}
    inner = next(group.name for group in analysis.free if group.size == 24)
    assert cost.at(full) == pytest.approx(9)
    assert cost.at({**full, inner: 12}) == pytest.approx(3 + 1 + 1)
