"""What is asked of outputs that a rectifier reads."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pruna_ir.passes.pruning.reconstruction.activations import Rectifier, rectifier_of


@pytest.mark.parametrize(("low", "high"), [(0.0, np.inf), (0.0, 6.0), (-np.inf, 1.0), (-1.0, 1.0)])
def test_bounds_the_error_behind_the_rectifier(low: float, high: float) -> None:
    random = np.random.default_rng(0)
    now, target, other = (4 * random.standard_normal(2000).astype(np.float32) for _ in range(3))
    wanted = Rectifier(low, high).wanted(now, target)
    assert wanted.dtype == np.float32
    behind = np.clip(other, low, high) - np.clip(target, low, high)
    assert (np.square(behind) <= np.square(other - wanted) + 1e-4).all()


def test_what_is_cut_off_either_way_is_free() -> None:
    wanted = Rectifier(0.0, 6.0).wanted(np.array([-3.0, 2.0, 8.0, 1.0]), np.array([-1.0, -1.0, 7.0, 3.0]))
    np.testing.assert_array_equal(wanted, [-3.0, 0.0, 8.0, 3.0])


def clip(low: gs.Tensor, high: gs.Tensor) -> gs.Node:
    return gs.Node("Clip", inputs=[gs.Variable("x"), low, high], outputs=[gs.Variable("y")])


def test_which_nodes_are_rectifiers() -> None:
    zero, six = gs.Constant("zero", np.array(0, np.float32)), gs.Constant("six", np.array(6, np.float32))
    assert rectifier_of(gs.Node("Relu")) == Rectifier(0.0, np.inf)
    assert rectifier_of(clip(zero, six)) == Rectifier(0.0, 6.0)
    assert rectifier_of(clip(gs.Variable.empty(), six)) == Rectifier(-np.inf, 6.0)
    assert rectifier_of(gs.Node("Clip", attrs={"min": 0.0, "max": 6.0}, inputs=[gs.Variable("x")])) is not None
    assert rectifier_of(clip(gs.Variable("computed"), six)) is None
    assert rectifier_of(clip(six, zero)) is None
    assert rectifier_of(gs.Node("Sigmoid")) is None
