"""Tuning: ranges move where that helps the outputs on samples that were not searched on, with all that must follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, runtime_ops, samples, small_net, weights

from pruna_ir import registry
from pruna_ir.analysis.qdq import params_of, stored
from pruna_ir.calibration import Range
from pruna_ir.model import Model
from pruna_ir.passes.quantization.tune_ranges import worst_first
from pruna_ir.passes.quantization.tuning.knobs import find_knobs, turn
from pruna_ir.passes.quantization.tuning.simulation import Simulation
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.runtime.session import Session

CLIPPED = "quantize<ranges=percentile80;guard=false>"


def sqnr(model: Model, original: Model, data: np.ndarray) -> float:
    wanted, found = (Session(item).run({"x": data})["y"] for item in (original, model))
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


def tuned(pipeline: str = f"{CLIPPED},tune-ranges", data: Any = None, **options: Any) -> tuple[Model, RunResult]:
    model = small_net()
    result = PassManager.parse(pipeline).run(model, data=samples(64) if data is None else data, **options)
    return model, result


def quantized(pipeline: str = CLIPPED, target: str = "ort-x86-vnni") -> Model:
    model = small_net()
    PassManager.parse(pipeline).run(model, data=samples(), target=registry.target(target))
    return model


def test_ranges_that_clip_too_much_are_opened() -> None:
    model, result = tuned()
    clipped, _ = tuned(CLIPPED)
    unseen = np.random.default_rng(7).standard_normal((32, 3, 8, 8)).astype(np.float32)
    assert sqnr(model, small_net(), unseen) > sqnr(clipped, small_net(), unseen) + 6
    assert result.stages[1].counts["ranges tuned"] > 0
    assert runtime_ops(model) == runtime_ops(clipped)


def test_biases_count_in_the_new_units() -> None:
    model, _ = tuned()
    before = {node.name: node for node in small_net().graph.nodes}
    convolutions = [node for node in model.graph.nodes if node.op in ("Conv", "Gemm") and len(node.inputs) > 2]
    assert len(convolutions) == 2
    for node in convolutions:
        bias, weight = (stored(node.inputs[index]) for index in (2, 1))
        assert bias is not None and weight is not None
        activation, scales, steps = (
            params_of(item) for item in (node.inputs[0].inputs[0], weight.dequantize, bias.dequantize)
        )
        assert activation is not None and scales is not None and steps is not None
        np.testing.assert_array_equal(steps.scale, activation.scale * scales.scale)
        wanted = before[node.name].inputs[2].values
        np.testing.assert_allclose(bias.values(), wanted, atol=float(steps.scale.max()))


def test_same_data_same_model() -> None:
    assert tuned()[0].fingerprint() == tuned()[0].fingerprint()


def test_tries_bound_the_search() -> None:
    _, few = tuned(f"{CLIPPED},tune-ranges<tries=1>")
    assert not few.stages[1].changed
    _, more = tuned(f"{CLIPPED},tune-ranges<tries=20>")
    assert 0 < more.stages[1].counts["ranges tuned"] < 8


def test_patience_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []

    def count(*arguments: object) -> float:
        runs.append(arguments)
        return 1.0

    monkeypatch.setattr(Simulation, "sqnr", count)
    tuned(f"{CLIPPED},tune-ranges<patience=1>")
    few = len(runs)
    tuned(f"{CLIPPED},tune-ranges<patience=4>")
    assert 2 < few < len(runs) - few


def test_nothing_quantized() -> None:
    model, result = tuned("tune-ranges")
    assert model.fingerprint() == small_net().fingerprint()
    assert "no activation is quantized" in str(result.remarks[0].reason)


def test_one_sample_checks_nothing() -> None:
    clipped, _ = tuned(CLIPPED, samples(1))
    model, result = tuned(data=samples(1))
    assert model.fingerprint() == clipped.fingerprint()
    assert any("there must be two at least" in str(remark.reason) for remark in result.remarks)


def test_what_the_runtime_does_not_confirm_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from pruna_ir.analysis.accuracy import Evaluator

    clipped, _ = tuned(CLIPPED)
    monkeypatch.setattr(Evaluator, "compare", lambda *_: (10.0, 0.0))
    model, result = tuned()
    assert model.fingerprint() == clipped.fingerprint()
    assert any("taken back" in str(remark.reason) for remark in result.remarks)


def test_what_only_helps_the_samples_searched_on_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Simulation.sqnr

    def liar(self: Simulation, expected: Any, changed: Any) -> float:
        """Any change helps the first half, none the second."""
        first = expected[0][0]["x"][0, 0, 0, 0] == samples(64)[0, 0, 0, 0]
        return plain(self, expected, {}) + (
            len(changed) + sum(float(p.scale) for p in changed.values()) if first else 0
        )

    clipped, _ = tuned(CLIPPED)
    monkeypatch.setattr(Simulation, "sqnr", liar)
    assert tuned(f"{CLIPPED},tune-ranges<tries=60>")[0].fingerprint() == clipped.fingerprint()


def test_ranges_end_where_an_absorbed_function_clips() -> None:
    """What was a Relu and a Clip to 6 are the ends of ranges now: no turn may pass them."""
    model, _ = tuned()
    by_name = {pair.tensors[0]: pair for pair in find_knobs(model.graph, registry.target("ort-cpu"), {})}
    assert by_name["r1"].range[0] == 0.0
    assert by_name["k"].range[0] == 0.0 and np.float32(by_name["k"].range[1]) <= 6.0


def test_simulation_is_the_model() -> None:
    """With the parameters as they are it computes what the Q/DQ graph says."""
    model, data = quantized(), samples(8)
    knobs = find_knobs(model.graph, registry.target("ort-x86-vnni"), {})
    simulation = Simulation(model, knobs, Session(small_net()), 1)
    expected = simulation.expect([{"x": data}])
    plain = Session(model, optimize=False).run({"x": data})["y"]
    wanted = expected[0][1]["y"]
    noise = 10 * np.log10(np.square(wanted).sum() / np.square(plain - wanted).sum())
    assert simulation.sqnr(expected, {}) == pytest.approx(noise, abs=0.05)


def test_turning_writes_what_was_simulated() -> None:
    model, data = quantized(), samples(8)
    knobs = find_knobs(model.graph, registry.target("ort-x86-vnni"), {})
    simulation = Simulation(model, knobs, Session(small_net()), 1)
    expected = simulation.expect([{"x": data}])
    low, high = knobs[1].range
    params = knobs[1].turned(low * 0.7, high * 0.7)
    assert params is not None
    simulated = simulation.sqnr(expected, {1: params})
    turn(model.graph, [(knobs[1], params)])
    model.check("test")
    again = Simulation(model, find_knobs(model.graph, registry.target("ort-x86-vnni"), {}), Session(small_net()), 1)
    assert again.sqnr(expected, {}) == pytest.approx(simulated, abs=0.05)


def pooled() -> Model:
    """x -> Conv -> MaxPool -> Conv, and a Sigmoid."""
    node = onnx.helper.make_node
    return build(
        [
            conv("c", "x", "w", pads=[1, 1, 1, 1]),
            node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2]),
            conv("d", "p", "w2"),
            node("Sigmoid", ["d"], ["s"]),
            conv("y", "s", "w2"),
        ],
        {"x": [1, 3, 8, 8]},
        ["y"],
        {"w": weights(0, 4, 3, 3, 3), "w2": weights(1, 4, 4, 1, 1)},
    )


def test_scales_that_must_be_equal_have_one_knob() -> None:
    model = pooled()
    PassManager.parse("quantize<guard=false>").run(model, data=samples(), target=registry.target("ort-x86-vnni"))
    knobs = [knob.tensors for knob in find_knobs(model.graph, registry.target("ort-x86-vnni"), {})]
    assert ["c", "p"] in knobs
    assert sum(map(len, knobs)) == 6


def test_scales_that_a_kernel_fixes_are_no_knobs() -> None:
    model = pooled()
    target = registry.target("tflite")
    PassManager.parse("quantize<guard=false>").run(model, data=samples(), target=target)
    assert target.ops["Sigmoid"].fixed is not None
    names = [name for knob in find_knobs(model.graph, target, {}) for name in knob.tensors]
    assert "s" not in names and "d" in names


def test_without_statistics_ranges_only_shrink() -> None:
    knob = find_knobs(quantized().graph, registry.target("ort-x86-vnni"), {})[0]
    low, high = knob.range
    assert knob.turned(low * 2, high * 2) is None
    smaller = knob.turned(low / 2, high / 2)
    assert smaller is not None and float(smaller.scale) < float(knob.params.scale)


def test_statistics_limit_how_far_ranges_open() -> None:
    model = small_net()
    records = PassManager.parse(CLIPPED).run(model, data=samples()).statistics
    assert records is not None
    knob = next(k for k in find_knobs(model.graph, registry.target("ort-cpu"), records) if k.tensors == ["x"])
    wide = knob.turned(-1000.0, 1000.0)
    assert wide is not None
    found: Range = knob.scheme.range(wide)
    assert records["x"].minimum <= np.float32(found.minimum) and np.float32(found.maximum) <= records["x"].maximum


def test_biases_keep_their_32_bits() -> None:
    model = quantized()
    reader = next(node for node in model.graph.nodes if node.name == "c1")
    bias = stored(reader.inputs[2])
    assert bias is not None
    bias.constant.values = np.full(8, 2**30, np.int32)
    knob = next(k for k in find_knobs(model.graph, registry.target("ort-x86-vnni"), {}) if k.tensors == ["x"])
    low, high = knob.range
    assert knob.turned(low * 0.6, high * 0.6) is not None
    assert knob.turned(low * 0.4, high * 0.4) is None


def test_symmetric_ranges_stay_symmetric() -> None:
    target = registry.target("tensorrt")
    model, _ = tuned(target=target)
    assert target.activations.symmetric
    for knob in find_knobs(model.graph, target, {}):
        assert not knob.params.zero_point.any()


def test_worst_tensors_come_first() -> None:
    model = small_net()
    records = PassManager.parse("quantize<ranges=minmax;guard=false>").run(model, data=samples()).statistics
    assert records is not None
    knobs = find_knobs(model.graph, registry.target("ort-cpu"), records)
    turn(model.graph, [(knobs[2], knobs[2].turned(*(end * 0.1 for end in knobs[2].range)) or knobs[2].params)])
    assert worst_first(knobs, records, {})[0] == 2
    squashed = dict.fromkeys(knobs[2].tensors, np.zeros_like)
    assert worst_first(knobs, records, squashed)[0] != 2
    assert worst_first(knobs, {}, {}) == list(range(len(knobs)))
