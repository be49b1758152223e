"""Removing units: slices, clones, shapes, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from axis_checks import check_removal
from onnx_text import model_from, weight

from pruna_ir.analysis.axes import analyze
from pruna_ir.model import Model
from pruna_ir.passes.pruning.surgery import remove


def two_layers() -> Model:
    """Two layers that share weight and bias, as deduplication leaves them, and a third."""
    text = (
        "g (float[n,4,5,5] x) => (float[n,4,5,5] y, float[4,4,1,1] v) "
        "{ h = Conv(x, w, b) r = Relu(h) k = Conv(r, w, b) q = Relu(k) y = Conv(q, w, b) v = Identity(w) }"
    )
    return model_from(text, w=weight(4, 4, 1, 1), b=weight(4, seed=1))


def constant(model: Model, output: str, index: int = 1) -> gs.Constant:
    """A constant that the node which writes `output` reads."""
    return next(node for node in model.graph.nodes if node.outputs[0].name == output).inputs[index]


def test_shared_constants_are_sliced_once_per_use() -> None:
    model = two_layers()
    original = np.array(constant(model, "h").values)
    cut = check_removal(model, {"h": [1]})
    kept = [0, 2, 3]
    np.testing.assert_array_equal(constant(cut, "h").values, original[kept])
    np.testing.assert_array_equal(constant(cut, "k").values, original[:, kept])
    assert constant(cut, "y").name == "w"
    np.testing.assert_array_equal(constant(cut, "y").values, original)
    np.testing.assert_array_equal(constant(cut, "v", 0).values, original)
    assert constant(cut, "k", 2) is constant(cut, "y", 2)


def test_equal_slices_are_shared() -> None:
    text = (
        "g (float[n,4,5,5] x) => (float[n,2,5,5] y) "
        "{ h = Conv(x, w) k = Neg(x) q = Conv(k, w) s = Add(h, q) y = Conv(s, c) }"
    )
    cut = check_removal(model_from(text, w=weight(4, 4, 1, 1), c=weight(2, 4, 1, 1)), {"h +1": [0, 3]})
    assert constant(cut, "h") is constant(cut, "q")
    assert constant(cut, "h").values.shape == (2, 4, 1, 1)


def test_constants_of_nodes_go_with_them() -> None:
    numbers = ", ".join(f"{value:.3f}" for value in weight(4))
    text = (
        "g (float[n,4,5,5] x) => (float[n,2,5,5] y) "
        f"{{ k = Constant<value = float[4,1,1] {{{numbers}}}>() h = Conv(x, w) s = Mul(h, k) y = Conv(s, c) }}"
    )
    cut = check_removal(model_from(text, w=weight(4, 4, 1, 1), c=weight(2, 4, 1, 1)), {"h": [0, 3]})
    assert "Constant" not in [node.op for node in cut.graph.nodes]


def test_variables_have_their_new_shapes() -> None:
    cut = check_removal(two_layers(), {"h": [1], "k": [0, 1]})
    shapes = {node.outputs[0].name: node.outputs[0].shape for node in cut.graph.nodes}
    assert (shapes["h"], shapes["r"], shapes["q"], shapes["y"]) == (
        ["n", 3, 5, 5],
        ["n", 3, 5, 5],
        ["n", 2, 5, 5],
        ["n", 4, 5, 5],
    )


@pytest.mark.parametrize("removed", [{"y": [0]}, {"h": range(4)}, {"h": [9]}, {"other": [0]}])
def test_refusals_change_nothing(removed: dict[str, list[int]]) -> None:
    model = two_layers()
    before, analysis = model.fingerprint(), analyze(model)
    with pytest.raises((ValueError, KeyError, IndexError)):
        remove(model, analysis, removed)
    assert model.fingerprint() == before


def test_removing_nothing_changes_nothing() -> None:
    model = two_layers()
    before = model.fingerprint()
    remove(model, analyze(model), {"h": [], "y": []})
    assert model.fingerprint() == before


def test_step_by_step_is_at_once() -> None:
    model = two_layers()
    analysis, steps, once = analyze(model), model.clone(), model.clone()
    remove(once, analysis, {"h": [1, 2], "k": [0]})
    remove(steps, analysis, {"h": [1]})
    left = analysis.without({"h": [1]})
    remove(steps, left, {"h": [1], "k": [0]})  # what was the third is the second now
    for output in ("h", "k", "y"):
        np.testing.assert_array_equal(constant(steps, output).values, constant(once, output).values)


def test_names_stay_unique() -> None:
    model = two_layers()
    constant(model, "h", 2).name = "w_pruned"
    check_removal(model, {"h": [1]})


@pytest.mark.parametrize("dtype", ["float16", "double"])
def test_other_types(dtype: str) -> None:
    text = f"g ({dtype}[n,4] x) => ({dtype}[n,2] y) {{ h = MatMul(x, w) y = MatMul(h, c) }}"
    kind = {"double": "float64"}.get(dtype, dtype)
    model = model_from(text, w=weight(4, 4, dtype=kind), c=weight(4, 2, dtype=kind))
    cut = check_removal(model, {"h": [0, 2]}, tolerance=1e-2 if dtype == "float16" else 1e-12)
    assert constant(cut, "h").values.dtype == kind
