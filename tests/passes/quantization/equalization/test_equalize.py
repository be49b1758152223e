"""The equalize pass as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir import registry
from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.data import Dataset
from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.quantization.equalization.equalize import Equalize
from pruna_ir.pipeline.manager import PassManager, bind
from pruna_ir.remarks import RemarkKind
from pruna_ir.testing import check_pass, missed

X = np.random.default_rng(0).standard_normal((16, 3, 8, 8)).astype(np.float32)
DATA = Dataset.from_arrays(X)
UNEVEN = np.geomspace(0.01, 10, 8, dtype=np.float32)[:, None, None, None]


def separable() -> Model:
    """Pointwise -> depthwise -> pointwise, with channels that differ a thousand times behind the first."""
    graph = (
        "a = Conv(x, w1, b1) r = LeakyRelu<alpha=0.1>(a) d = Conv<group=8,pads=[1,1,1,1]>(r, w2, b2) "
        "s = LeakyRelu<alpha=0.1>(d) y = Conv(s, w3)"
    )
    constants: dict[str, Any] = {
        "w1": weight(8, 3, 1, 1) * UNEVEN,
        "b1": weight(8) * UNEVEN[:, 0, 0, 0],
        "w2": weight(8, 1, 3, 3, seed=1) / UNEVEN,
        "b2": weight(8, seed=2),
        "w3": weight(5, 8, 1, 1, seed=3),
    }
    return model_from(f"g (float[n,3,8,8] x) => (float[n,5,8,8] y) {{ {graph} }}", **constants)


def test_fires_and_computes_the_same() -> None:
    after, result = check_pass(Equalize(guard=False), separable(), data=DATA, feeds={"x": X})
    assert result.counts == {"links scaled": 1}
    scaled = next(node for node in after.graph.nodes if node.outputs[0].name == "a").inputs[1].values
    assert np.abs(scaled).max(axis=(1, 2, 3)).max() < 10 * np.abs(scaled).max(axis=(1, 2, 3)).min()


def test_quantized_model_is_much_closer_to_the_float_one() -> None:
    model = separable()
    evaluator = Evaluator(DATA.bind(model.inputs()), model.clone())
    quality = []
    for text in ("quantize<guard=false>", "equalize,quantize<guard=false>"):
        candidate = model.clone()
        PassManager.parse(text).run(candidate, data=DATA)
        quality.append(evaluator.compare(candidate)[0])
    assert quality[1] > quality[0] + 6


def test_guard_compares_quantized_models() -> None:
    model = separable()
    after, result = check_pass(Equalize(), model, data=DATA, feeds={"x": X})
    trials = [str(remark.reason) for remark in result.remarks if remark.kind is RemarkKind.ANALYSIS]
    assert [trial.partition(":")[0] for trial in trials] == [
        "quantized on trial with nothing scaled",
        "quantized on trial with links to depthwise weights scaled",
        "quantized on trial with all links scaled",
    ]
    assert result.changed and after.fingerprint() != model.fingerprint()


def test_what_does_not_help_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator, "compare", lambda *_: (20.0, 0.0))
    _, result = check_pass(Equalize(), separable(), data=DATA, feeds={"x": X})
    assert not result.changed
    assert "the quantized model comes no closer to the float one with it" in missed(result)


def test_replay_takes_the_decision_from_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = PassManager.parse("equalize")
    first, again = separable(), separable()
    recorded = manager.run(first, data=DATA).decisions

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("measured while replaying")

    monkeypatch.setattr(Evaluator, "compare", forbidden)
    manager.run(again, data=DATA, decisions=DecisionLog(recorded.entries, replaying=True))
    assert first.fingerprint() == again.fingerprint()


def test_balanced_weights() -> None:
    after, result = check_pass(Equalize(objective="weights", guard=False), separable(), data=DATA, feeds={"x": X})
    assert result.counts == {"links scaled": 2}
    first, second = [node.inputs[1].values for node in after.graph.nodes if node.op == "Conv"][:2]
    quotient = np.abs(first).max(axis=(1, 2, 3)) / np.abs(second).max(axis=(1, 2, 3))
    assert quotient.max() / quotient.min() < 1.2


def test_one_scale_a_weight_leaves_depthwise_weights_their_share() -> None:
    target = registry.target("ort-x86-vnni")
    own, common = target, replace(target, weights=replace(target.weights, axis=None))
    assert [one.name for one in Equalize().candidates(own)] == ["links to depthwise weights", "all links"]
    assert [one.depthwise for one in Equalize().candidates(common)] == [0.5]


def test_excluded_nodes_stay() -> None:
    model = separable()
    model.graph.nodes[0].name = "first"
    _, result = check_pass(Equalize(exclude=("first",), guard=False), model, data=DATA, feeds={"x": X})
    assert not result.changed
    with pytest.raises(PrunaError) as failure:
        PassManager.parse("equalize<exclude=[nothing]>").run(separable(), data=DATA)
    assert failure.value.diagnostic.code == "P004"


def test_reasons_are_remarks() -> None:
    graph = "a = Conv(x, w1) r = Sigmoid(a) y = Conv(r, w2)"
    model = model_from(
        f"g (float[n,3,8,8] x) => (float[n,5,8,8] y) {{ {graph} }}",
        w1=weight(8, 3, 1, 1), w2=weight(5, 8, 1, 1),
    )  # fmt: skip
    _, result = check_pass(Equalize(), model, data=DATA, feeds={"x": X})
    assert missed(result) == ["`r` (Sigmoid) does not commute with a scale", "`y` is an output of the graph"]


def test_constants_in_between_are_no_weights() -> None:
    graph = "a = MatMul(x, w1) b = Add(a, k) y = MatMul(b, w2)"
    model = model_from(
        f"g (float[n,6,8] x) => (float[n,6,5] y) {{ {graph} }}",
        w1=weight(8, 8) * UNEVEN[:, 0, 0, 0], w2=weight(8, 5), k=1e3 * weight(6, 1),
    )  # fmt: skip
    feeds = {"x": weight(4, 6, 8, seed=5)}
    data = Dataset.from_arrays(feeds["x"])
    after, _ = check_pass(Equalize(objective="weights", guard=False), model, data=data, feeds=feeds)
    first, last = (node.inputs[1].values for node in after.graph.nodes if node.op == "MatMul")
    quotient = np.abs(first).max(axis=0) / np.abs(last).max(axis=1)
    assert quotient.max() / quotient.min() < 1.1


def test_product_of_channels_is_balanced_once() -> None:
    graph = "a = Conv(x, w1) b = Conv(x, w2) r = Relu(a) c = Mul(r, b) y = Conv(c, w3)"
    model = model_from(
        f"g (float[n,3,8,8] x) => (float[n,5,8,8] y) {{ {graph} }}",
        w1=weight(8, 3, 1, 1) * UNEVEN, w2=weight(8, 3, 1, 1, seed=1) * UNEVEN, w3=weight(5, 8, 1, 1),
    )  # fmt: skip
    _, result = check_pass(Equalize(objective="weights", guard=False), model, data=DATA, feeds={"x": X})
    assert result.counts == {"links scaled": 1}
    assert missed(result)[0] == "`c` has channels of both `a` and `b`"


@pytest.mark.parametrize("samples", [X[:1], np.zeros_like(X)], ids=["one", "zero"])
def test_poor_samples_do_no_harm(samples: np.ndarray) -> None:
    check_pass(Equalize(guard=False), separable(), data=Dataset.from_arrays(samples), feeds={"x": X})


def test_needs_data() -> None:
    with pytest.raises(PrunaError) as failure:
        PassManager.parse("equalize").run(separable())
    assert failure.value.diagnostic.code == "P006"


def test_must_stand_before_quantize() -> None:
    with pytest.raises(PrunaError):
        PassManager.parse("quantize,equalize")


@pytest.mark.slow
def test_trained_depthwise_network(shared: Path) -> None:
    """MobileNetV1 with LeakyReLU: every depthwise weight is read through one, and quantizes much better after it."""
    data = Dataset.load(shared / "data" / "imagenet-sample.yaml")
    model = Model.load(shared / "models" / "mobilenetv1_025_imagenet.onnx")
    PassManager.parse("O1").run(model)
    bound = bind(data, model)
    assert bound is not None
    evaluator = Evaluator(bound, model.clone())
    plain, equalized = model.clone(), model.clone()
    PassManager.parse("quantize<guard=false;samples=32>").run(plain, data=data)
    result = PassManager.parse("equalize<guard=false;samples=32>").run(equalized, data=data)
    assert result.stages[0].counts == {"links scaled": 13}
    assert evaluator.compare(equalized)[1] < 1e-5
    PassManager.parse("quantize<guard=false;samples=32>").run(equalized, data=data)
    assert evaluator.compare(equalized)[0] > evaluator.compare(plain)[0] + 2
