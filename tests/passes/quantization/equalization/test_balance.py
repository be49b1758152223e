"""Scales from magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.passes.quantization.equalization.balance import Spread, ratio, solve
from pruna_ir.passes.quantization.equalization.links import Barrier, Link
from pruna_ir.passes.quantization.equalization.trace import trace
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import Reason

UNEVEN = np.array([0.01, 1.0, 30.0, 2.0], np.float32)


def chain(*uneven: np.ndarray) -> tuple[Model, list[Link]]:
    """Convolutions in a row, the channels of each but the last written by weights of uneven size."""
    count = len(uneven) + 1
    nodes = " ".join(f"t{i + 1} = Conv(t{i}, w{i})" for i in range(count))
    constants = {f"w{i}": weight(4, 4, 1, 1, seed=i) * size[:, None, None, None] for i, size in enumerate(uneven)}
    constants[f"w{count - 1}"] = weight(4, 4, 1, 1, seed=count)
    model = model_from(f"g (float[1,4,3,3] t0) => (float[?,?,?,?] t{count}) {{ {nodes} }}", **constants)
    found = [trace(node, Rewriter(model.graph)) for node in model.graph.nodes[:-1]]
    return model, [link for link in found if isinstance(link, Link)]


def scales_of(spread: Spread) -> np.ndarray:
    (scales,) = solve([spread])
    assert scales is not None
    return scales


def largest(values: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(other for other in range(values.ndim) if other != axis)
    return np.asarray(np.abs(values).max(axis=others))


def test_all_of_the_difference_of_values() -> None:
    _, (link,) = chain(UNEVEN)
    values = np.array([0.5, 2.0, 8.0, 1.0])
    scales = scales_of(Spread(link, values, 1.0))
    assert values / scales == pytest.approx(np.full(4, (values / scales)[0]))
    assert np.log(scales).mean() == pytest.approx(0)


def test_half_of_the_difference_of_values() -> None:
    """s = max|x| ** 0.5 / max|w| ** 0.5, up to a common factor."""
    model, (link,) = chain(UNEVEN)
    values = np.array([0.5, 2.0, 8.0, 1.0])
    scales = scales_of(Spread(link, values, 0.5))
    expected = np.sqrt(values / largest(model.graph.tensors()["w1"].values, 1))
    assert scales / expected == pytest.approx(np.full(4, scales[0] / expected[0]))


def test_weights_become_alike_on_both_sides() -> None:
    """Cross-layer equalization: the ranges of each channel in the two weights are equal, up to a common factor."""
    model, (link,) = chain(UNEVEN)
    scales = scales_of(Spread(link, None, 0.5))
    link.apply(scales, Rewriter(model.graph))
    quotient = largest(link.node.inputs[1].values, 0) / largest(link.readers[0].weight.constant.values, 1)
    assert quotient == pytest.approx(np.full(4, quotient[0]), rel=0.02)


def test_chains_settle() -> None:
    """Weights that two links share are equalized with both."""
    model, links = chain(UNEVEN, UNEVEN[::-1], UNEVEN)
    found = solve([Spread(link, None, 0.5) for link in links])
    for link, scales in zip(links, found, strict=True):
        assert scales is not None
        link.apply(scales, Rewriter(model.graph))
    assert solve([Spread(link, None, 0.5) for link in links]) == [None, None, None]


def test_held_channels_keep_their_scale_and_the_others_reach_as_far() -> None:
    _, (link,) = chain(UNEVEN)
    link.barriers.append(Barrier(link.tensor, np.array([1, 2]), Reason("held")))
    values = np.array([0.5, 2.0, 8.0, 64.0])
    scales = scales_of(Spread(link, values, 1.0))
    assert values / scales == pytest.approx([8.0, 2.0, 8.0, 8.0])


def test_dead_channels_keep_their_scale() -> None:
    _, (link,) = chain(UNEVEN)
    scales = scales_of(Spread(link, np.array([0.0, 1e-9, 4.0, 1.0]), 1.0))
    assert scales == pytest.approx([1, 1, 2, 0.5])


def test_channels_that_are_alike_stay() -> None:
    _, (link,) = chain(np.ones(4, np.float32))
    assert solve([Spread(link, np.array([1.0, 1.05, 1.0, 1.02]), 1.0)]) == [None]
    assert solve([Spread(link, np.zeros(4), 1.0)]) == [None]
    assert ratio(np.array([2.0, 0.5])) == 4.0
