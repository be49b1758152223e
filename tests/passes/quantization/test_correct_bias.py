"""Biases that give back the means which rounding has moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, runtime_ops, samples, small_net, weights

from pruna_ir import registry
from pruna_ir.analysis import accuracy
from pruna_ir.analysis.qdq import stored
from pruna_ir.data import Dataset
from pruna_ir.decisions import DecisionLog
from pruna_ir.model import Model
from pruna_ir.passes.quantization import bias_shifts
from pruna_ir.passes.quantization.correct_bias import CorrectBias
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.runtime.capture import with_outputs
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.stages import Stages
from pruna_ir.testing import check_pass

QUANTIZE = "quantize<guard=false>"
CORRECT = "correct-bias<guard=false>"


def run(model: Model, text: str, **options: object) -> RunResult:
    return PassManager.parse(text).run(model, data=samples(), **options)  # type: ignore[arg-type]


def mean_errors(model: Model, result: RunResult, name: str, exact: str, axis: int) -> np.ndarray:
    assert result.quantization is not None
    reference = Session(with_outputs(result.quantization.reference, [exact])).run({"x": samples()})[exact]
    found = Session(with_outputs(model, [name]), optimize=False).run({"x": samples()})[name]
    others = tuple(index for index in range(found.ndim) if index != axis)
    return np.asarray(np.abs(found.mean(axis=others) - reference.mean(axis=others)))


@pytest.mark.parametrize(("name", "exact", "axis"), [("r1", "c1", 1), ("c2", "c2", 1), ("y", "y", 1)])
def test_means_are_those_of_the_float_model(name: str, exact: str, axis: int) -> None:
    """`r1` is what the kernel writes before its saturation, so the float model's `c1` is what it should be."""
    before, after = small_net(), small_net()
    results = [run(before, QUANTIZE), run(after, f"{QUANTIZE},{CORRECT}")]
    assert results[1].stages[1].counts["biases corrected"] >= 3
    left = mean_errors(after, results[1], name, exact, axis)
    moved = mean_errors(before, results[0], name, exact, axis)
    assert left.max() < 1e-4 < moved.max()


def test_kernel_without_bias_gets_one_and_stays_an_integer_kernel() -> None:
    model = build(
        [conv("c", "x", "w"), conv("y", "c", "w2")],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    run(model, f"{QUANTIZE},{CORRECT}")
    kernels = [node for node in model.graph.nodes if node.op == "Conv"]
    for kernel in kernels:
        bias = stored(kernel.inputs[2])
        assert bias is not None and bias.constant.dtype == np.int32
    assert runtime_ops(model)["QLinearConv"] == 2


def test_bias_behind_a_matmul_is_corrected_and_one_without_stays() -> None:
    node = onnx.helper.make_node
    model = build(
        [
            node("MatMul", ["x", "w"], ["m"], name="m"),
            node("Add", ["m", "b"], ["y"], name="y"),
            node("MatMul", ["x", "w2"], ["z"], name="z"),
        ],
        {"x": ["n", 3, 8, 8]},
        ["y", "z"],
        {"w": weights(0, 8, 8), "b": weights(1, 8), "w2": weights(2, 8, 8)},
    )
    result = run(model, f"{QUANTIZE},{CORRECT}")
    assert result.stages[1].counts == {"biases corrected": 1}
    assert mean_errors(model, result, "y", "y", 3).max() < 1e-4


def test_shared_bias_is_corrected_for_each_reader() -> None:
    model = build(
        [conv("c", "x", "w", "b"), conv("y", "c", "w2", "b")],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1), "b": weights(2, 4)},
    )
    result = run(model, f"{QUANTIZE},{CORRECT}")
    assert result.stages[1].counts == {"biases corrected": 2}
    for name in ("c", "y_float"):
        assert mean_errors(model, result, name, name.removesuffix("_float"), 1).max() < 1e-4


def test_float_biases_where_the_target_has_them() -> None:
    """Bias of the target in float: the correction is exact, and a new bias is a plain constant."""
    target = replace(registry.target("ort-cpu"), bias_dtype="float32")
    model = build([conv("y", "x", "w")], {"x": ["n", 3, 8, 8]}, ["y"], {"w": weights(0, 4, 3, 1, 1)})
    result = run(model, f"{QUANTIZE},{CORRECT}", target=target)
    bias = next(node for node in model.graph.nodes if node.op == "Conv").inputs[2]
    assert bias.values.dtype == np.float32 and bias.values.shape == (4,)
    assert mean_errors(model, result, "y_float", "y", 1).max() < 1e-6


def test_two_runs_give_the_same_and_a_second_pass_finds_nothing() -> None:
    first, again = small_net(), small_net()
    run(first, f"{QUANTIZE},{CORRECT}")
    result = run(again, f"{QUANTIZE},{CORRECT},{CORRECT}")
    assert [stage.changed for stage in result.stages] == [True, True, False]
    assert first.fingerprint() == again.fingerprint()


def test_nothing_quantized() -> None:
    _, result = check_pass(CorrectBias(), small_net(), data=Dataset.of(samples()))
    assert [str(remark.reason) for remark in result.remarks] == [
        "the float model is not known: nothing was quantized in this run"
    ]


def judged(monkeypatch: pytest.MonkeyPatch, sqnr: dict[int, float], drop: dict[int, float]) -> tuple[Model, RunResult]:
    """A corrected model where the guard sees these figures for so many corrected biases."""
    plain = small_net()
    run(plain, QUANTIZE)

    def corrected(model: Model) -> int:
        return sum("_bias_q" in name for name in model.graph.tensors())

    monkeypatch.setattr(accuracy.Evaluator, "compare", lambda self, model: (sqnr[corrected(model)], 0.0))
    monkeypatch.setattr(accuracy.Evaluator, "drop", lambda self, model: drop[corrected(model)])
    model = small_net()
    result = run(model, f"{QUANTIZE},correct-bias")
    assert (model.fingerprint() == plain.fingerprint()) != result.stages[1].changed
    return model, result


@pytest.mark.parametrize(
    ("sqnr", "drop", "counts", "reason"),
    [
        ([10, 10, 9, 11], [0, 0, 0, 0], {"biases corrected": 3}, ""),
        (
            [10, 11, 12, 10],
            [0, 0, 0, 0],
            {"biases corrected": 2},
            "only the first 2 of 3 are kept: the outputs have 10.0 dB",
        ),
        (
            [10, 11, 9, 9],
            [0, 0, 0, 0],
            {"biases corrected": 1},
            "only the first 1 of 3 are kept: the outputs have 9.0 dB",
        ),
        ([10, 10, 9, 8], [0, 0, 0, 0], {}, "taken back: the outputs have 8.0 dB SQNR with it, 10.0 dB without"),
        (
            [10, 10.1, 10.1, 10.2],
            [0, 0, 0, 0],
            {},
            "taken back: the outputs have 10.2 dB SQNR with it, 10.0 dB without",
        ),
        ([10, 11, 12, 13], [0, 0.5, 0.5, 0.5], {}, "drops by 50.0% with it, 0.0% without"),
        ([10, 11, 12, 13], [0.5, 0.5, 0.5, 0.5], {"biases corrected": 3}, ""),
    ],
)
def test_guard(
    sqnr: list[float], drop: list[float], counts: dict[str, int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = judged(monkeypatch, dict(enumerate(sqnr)), dict(enumerate(drop)))
    assert result.stages[1].counts == counts
    said = [str(remark.reason) for remark in result.remarks if remark.pass_name == "correct-bias"]
    assert len(said) == bool(reason) and all(reason in text for text in said)


def test_quantize_judges_what_it_corrects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much is lost without corrected biases: with them nothing stays in float, and a replay says the same."""

    def drop(_: object, model: Model, hopeless: float = 1.0) -> float:
        return 0.0 if any("_bias_q" in name for name in model.graph.tensors()) else 0.05

    monkeypatch.setattr(accuracy.Evaluator, "drop", drop)
    manager = PassManager.parse("quantize<correct-bias=true>")
    first, again = small_net(), small_net()
    result = manager.run(first, data=samples(), goal="size")
    said = [str(remark.reason) for remark in result.remarks]
    assert "accurate enough with corrected biases only" in said and not any("stays in float" in text for text in said)
    plain = small_net()
    PassManager.parse(QUANTIZE).run(plain, data=samples())
    PassManager.parse(f"{QUANTIZE},{CORRECT}").run(again, data=samples())
    assert first.fingerprint() == again.fingerprint() != plain.fingerprint()
    replayed = small_net()
    monkeypatch.setattr(accuracy.Evaluator, "drop", None)
    manager.run(replayed, data=samples(), goal="size", decisions=DecisionLog(result.decisions.entries, replaying=True))
    assert replayed.fingerprint() == first.fingerprint()


def test_trained_network_gains(shared: Path) -> None:
    """MobileNetV1: depthwise layers of few weights, whose means move most. On samples that no mean was taken from."""
    original = Model.load(shared / "models" / "mobilenetv1_025_imagenet.onnx")
    data = Dataset.load(shared / "data" / "imagenet-sample.yaml").bind(original.inputs())
    evaluator = accuracy.Evaluator(data, original)
    quality = []
    for text in (QUANTIZE, f"{QUANTIZE},correct-bias<samples=64;guard=false>"):
        model = original.clone()
        PassManager.parse(f"O1,{text.replace('guard=false', 'guard=false;samples=16', 1)}").run(model, data=data)
        quality.append(evaluator.compare(model)[0])
    assert quality[1] > quality[0] + 0.5


@pytest.mark.parametrize(
    ("count", "first"), [(40, 0), (96, accuracy.COMPARED_SAMPLES), (300, accuracy.COMPARED_SAMPLES)]
)
def test_means_are_taken_over_samples_that_the_guard_does_not_compare(
    count: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def spy(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]], threads: int) -> Stages:
        seen.extend(batch["x"] for batch in batches)
        return Stages(proto, batches, threads)

    monkeypatch.setattr(bias_shifts, "Stages", spy)
    data = np.random.default_rng(0).standard_normal((count, 3, 8, 8)).astype(np.float32)
    PassManager.parse(f"{QUANTIZE},correct-bias<guard=false>").run(small_net(), data=data)
    assert (np.concatenate(seen) == data[first : first + 64]).all()
