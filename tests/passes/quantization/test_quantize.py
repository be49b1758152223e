"""The quantize pass as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_graphs import samples, small_net

from pruna_ir.calibration import Statistics
from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

ALL = "quantize<guard=false>"


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "percentile99.9", "mse"])
def test_fires_and_stays_close(ranges: str) -> None:
    model, data = small_net(), samples()
    expected = Session(model).run({"x": data})["y"]
    result = PassManager.parse(f"quantize<ranges={ranges};guard=false>").run(model, data=data)
    found = Session(model).run({"x": data})["y"]
    assert result.stages[0].counts == {"integer kernels": 6}
    assert 10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()) > 20


def test_second_run_changes_nothing() -> None:
    model, data = small_net(), samples()
    manager = PassManager.parse(ALL)
    manager.run(model, data=data)
    once = model.fingerprint()
    assert not manager.run(model, data=data).changed
    assert model.fingerprint() == once


def test_excluded_nodes_stay_float_and_say_so() -> None:
    model = small_net()
    result = PassManager.parse("quantize<exclude=[c1,op:Gemm];guard=false>").run(model, data=samples())
    assert not next(node for node in model.graph.nodes if node.name == "c1").inputs[1].inputs
    excluded = [remark.node for remark in result.remarks if str(remark.reason) == "stays in float: excluded"]
    assert excluded == ["c1", "g"]


def test_pattern_that_names_nothing_is_an_error() -> None:
    with pytest.raises(PrunaError) as failure:
        PassManager.parse("quantize<exclude=[nothing*]>").run(small_net(), data=samples())
    assert failure.value.diagnostic.code == "P004" and "nothing*" in str(failure.value)


def test_needs_data() -> None:
    with pytest.raises(PrunaError) as failure:
        PassManager.parse(ALL).run(small_net())
    assert failure.value.diagnostic.code == "P006"


def test_unknown_method() -> None:
    with pytest.raises(PrunaError) as failure:
        PassManager.parse("quantize<ranges=median>").run(small_net(), data=samples())
    assert failure.value.diagnostic.code == "P004"


def test_replay_measures_nothing_and_gives_identical_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = PassManager.parse("quantize,store-weights")
    first, again = small_net(), small_net()
    recorded = manager.run(first, data=samples()).decisions

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("measured while replaying")

    monkeypatch.setattr("pruna_ir.passes.quantization.guard.compare", forbidden)
    monkeypatch.setattr("pruna_ir.analysis.accuracy.Evaluator.drop", forbidden)
    manager.run(again, data=samples(), decisions=DecisionLog(recorded.entries, replaying=True))
    assert first.fingerprint() == again.fingerprint()


def test_saved_statistics_stand_in_for_calibration(tmp_path: Path) -> None:
    first, again = small_net(), small_net()
    manager = PassManager.parse(ALL)
    collected = manager.run(first, data=samples()).statistics
    assert collected is not None
    collected.save(tmp_path / "stats.npz")
    manager.run(again, data=samples(1), statistics=Statistics.load(tmp_path / "stats.npz"))
    assert first.fingerprint() == again.fingerprint()


def test_statistics_of_a_changed_model_are_refused() -> None:
    collected = PassManager.parse(ALL).run(small_net(), data=samples()).statistics
    changed = small_net()
    changed.graph.tensors()["w2"].values = changed.graph.tensors()["w2"].values * 2
    with pytest.raises(PrunaError) as failure:
        PassManager.parse(ALL).run(changed, data=samples(), statistics=collected)
    assert failure.value.diagnostic.code == "S001"
    assert "`c2`" in str(failure.value) and "`r1`" not in str(failure.value)
