"""A precision for each group, under a budget."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from small_graphs import runtime_ops, samples, small_net

from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.decisions import DecisionLog
from pruna_ir.model import Model
from pruna_ir.passes.precision.mixture import Mixture
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.runtime.session import Session


def run(options: str, model: Model, **more: Any) -> RunResult:
    text = f"mixed-precision<{options}>" if options else "mixed-precision"
    return PassManager.parse(text).run(model, data=samples(), **more)


def precisions(result: RunResult) -> list[str]:
    (verdict,) = result.decisions.entries.values()
    return list(verdict["precisions"])


def warnings(result: RunResult) -> list[str]:
    return [str(remark.reason) for remark in result.remarks if remark.warns]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time without a clock: a node in integers takes half as long as another."""

    def time(self: Mixture, model: Model) -> float:
        convs = [node for node in model.graph.nodes if node.op in ("Conv", "Gemm")]
        fast = sum(any(writer.op == "DequantizeLinear" for writer in node.inputs[1].inputs) for node in convs)
        return 1 - 0.5 * fast / len(convs)

    monkeypatch.setattr(Mixture, "time", time)
    monkeypatch.setattr(Mixture, "base_time", 1.0)
    monkeypatch.setattr(Mixture, "measures_time", True)


@pytest.mark.usefixtures("timed")
def test_fastest_that_keeps_the_score() -> None:
    model = small_net()
    result = run("max-drop=1", model)
    assert "int8" in precisions(result)
    assert runtime_ops(model)["QLinearConv"] == 2
    assert warnings(result) == []


@pytest.mark.usefixtures("timed")
def test_score_that_no_integers_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(self: Evaluator, model: Model, hopeless: float = 0) -> float:
        return float(any(node.op == "QuantizeLinear" for node in model.graph.nodes))

    monkeypatch.setattr(Evaluator, "drop", drop)
    model = small_net()
    result = run("", model)
    assert not runtime_ops(model)["QLinearConv"] and not runtime_ops(model)["QGemm"]
    assert warnings(result) == []


@pytest.mark.usefixtures("timed")
def test_noisiest_group_is_given_up_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The score is kept as soon as a Gemm is in float."""

    def drop(self: Evaluator, model: Model, hopeless: float = 0) -> float:
        writers = {node.op: {w.op for tensor in node.inputs for w in tensor.inputs} for node in model.graph.nodes}
        return float("DequantizeLinear" in writers["Gemm"])

    monkeypatch.setattr(Evaluator, "drop", drop)
    model = small_net()
    result = run("groups=kernel", model)
    assert next(node for node in model.graph.nodes if node.op == "Gemm").inputs[0].inputs[0].op != "DequantizeLinear"
    assert warnings(result) == []


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize("latency", [0.9, 0.7, 0.5])
def test_latency_budget(latency: float) -> None:
    model = small_net()
    result = run(f"latency={latency};groups=kernel;max-drop=1", model)
    convs = Counter(node.op for node in model.graph.nodes)
    assert convs["DequantizeLinear"] > 0 and warnings(result) == []
    fast = sum(
        node.op in ("Conv", "Gemm") and any(w.op == "DequantizeLinear" for w in node.inputs[1].inputs)
        for node in model.graph.nodes
    )
    assert 1 - 0.5 * fast / 3 <= latency


def test_bytes_budget() -> None:
    """Larger weights than those of the small network, of which names and shapes take most of the bytes."""
    model = wide_net()
    size = model.to_proto().ByteSize()
    result = run("bytes=0.6;max-drop=1", model)
    assert model.to_proto().ByteSize() <= 0.6 * size
    assert "float32" in precisions(result) or "float16" in precisions(result)
    assert warnings(result) == []


def test_budget_that_cannot_be_met() -> None:
    model = wide_net()
    size = model.to_proto().ByteSize()
    result = run("bytes=0.05;max-drop=1;int8=[*]", model)
    assert len(warnings(result)) == 1 and "the budget cannot be met" in warnings(result)[0]
    assert model.to_proto().ByteSize() < 0.4 * size  # the best found all the same


def test_speed_that_cannot_be_measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the smallest model that keeps the score is chosen, and a budget of time is refused."""
    monkeypatch.setattr("pruna_ir.passes.precision.mixture.host_kind", lambda: "other")
    model = small_net()
    result = run("latency=0.5;max-drop=1", model)
    assert ["cannot be measured" in text for text in warnings(result)] == [True]
    result = run("max-drop=1", small_net())
    assert "int8" in precisions(result) and warnings(result) == []


def test_forced_precisions_in_one_line() -> None:
    """Integers everywhere, the last layer in 16 bits."""
    model = wide_net()
    result = run("half=[1];int8=[*];max-drop=1", model)
    assert runtime_ops(model)["QLinearConv"] == 2
    gemm = next(node for node in model.graph.nodes if node.op == "Gemm")
    assert gemm.inputs[1].inputs[0].op == "Cast"
    assert "float16" in precisions(result)


def test_kept_nodes_are_not_touched() -> None:
    model = small_net()
    run("keep-float=[op:Gemm];exclude=[c1];int8=[*];max-drop=1", model)
    weights = {node.name: node.inputs[1] for node in model.graph.nodes if node.op in ("Conv", "Gemm")}
    assert not weights["c1"].inputs and not weights["g"].inputs and weights["c2"].inputs


def test_numbers_stay_close() -> None:
    model = small_net()
    expected = Session(model).run({"x": samples()})["y"]
    run("int8=[*];max-drop=1", model)
    found = Session(model).run({"x": samples()})["y"]
    assert 10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()) > 20


@pytest.mark.usefixtures("timed")
def test_replay_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = small_net(), small_net()
    recorded = run("max-drop=1", first).decisions

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("measured while replaying")

    monkeypatch.setattr(Mixture, "time", forbidden)
    monkeypatch.setattr(Evaluator, "drop", forbidden)
    monkeypatch.setattr(Evaluator, "compare", forbidden)
    run("max-drop=1", again, decisions=DecisionLog(recorded.entries, replaying=True))
    assert first.fingerprint() == again.fingerprint()


def wide_net() -> Model:
    """`small_net` with weights that take most of its bytes."""
    import onnx

    proto = small_net().to_proto()
    random = np.random.default_rng(0)
    wide = {"w1": (64, 3, 3, 3), "b1": (64,), "w2": (64, 64, 3, 3), "w3": (200, 64), "b3": (200,)}
    for tensor in proto.graph.initializer:
        if tensor.name in wide:
            values = random.standard_normal(wide[tensor.name]).astype(np.float32) * 0.1
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    del proto.graph.value_info[:]
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 200
    return Model.load(proto)
