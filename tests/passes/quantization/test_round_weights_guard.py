"""What round-weights keeps: the rounding closest to the float model, without the weights that cost the score."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import samples, small_net

from pruna_ir import registry
from pruna_ir.analysis import accuracy
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.passes.quantization.round_weights import RoundWeights
from pruna_ir.testing import run_pass


def run(model: Model) -> list[str]:
    """Run the pass on a target that does not depend on the host; the remarks."""
    table = registry.target("ort-x86-vnni")
    result = run_pass(RoundWeights(), model, data=Dataset.of(samples(32)), target=table)
    return [str(remark.reason) for remark in result.remarks]


def values(model: Model, name: str) -> np.ndarray:
    return np.asarray(model.graph.tensors()[name].values)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_guard_keeps_what_comes_closest(best: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Model] = []

    def compare(self: accuracy.Evaluator, model: Model) -> tuple[float, float]:
        seen.append(model.clone())
        return (30.0 if len(seen) == best + 1 else 20.0), 0.0

    monkeypatch.setattr(accuracy.Evaluator, "compare", compare)
    monkeypatch.setattr(accuracy.Evaluator, "drop", lambda *_: 0.0)
    model = small_net()
    remarks = run(model)
    assert [remark.endswith(", kept") for remark in remarks[:3]] == [number == best for number in range(3)]
    assert remarks[2].startswith("nearest: SQNR")
    assert len([r for r in remarks[3:] if "of what rounding to nearest changes" in r]) == (3 if best < 2 else 0)
    assert model.fingerprint() == seen[best].fingerprint()
    assert len({one.fingerprint() for one in seen}) == 3


def test_weight_whose_rounding_costs_the_score_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    original = small_net()
    unrounded = values(original, "w2")

    def moved(model: Model) -> bool:
        return bool((values(model, "w2") != unrounded).any())

    monkeypatch.setattr(accuracy.Evaluator, "drop", lambda _, model: float(moved(model)))
    monkeypatch.setattr(accuracy.Evaluator, "compare", lambda _, model: (20.0 - moved(model), 0.0))
    model = original.clone()
    remarks = run(model)
    np.testing.assert_array_equal(values(model, "w2"), unrounded)
    assert all((values(model, name) != values(original, name)).any() for name in ("w1", "w3"))
    assert [remark for remark in remarks if "damages" in remark] == [
        "`w2` stays as it is: its rounding damages the outputs most"
    ]
