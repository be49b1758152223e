"""Weights that are rounded with the inputs of their layers in view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, samples, small_net, weights

from pruna_ir import registry
from pruna_ir.analysis import accuracy, gram
from pruna_ir.analysis.layers import Layer
from pruna_ir.calibration.scheme import Scheme
from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.quantization import round_weights
from pruna_ir.passes.quantization.round_weights import RoundWeights
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass, missed, run_pass

VNNI, NO_VNNI = registry.target("ort-x86-vnni"), registry.target("ort-x86")
AXES = {"w1": 0, "w2": 0, "w3": 0}  # of the output channels in `small_net`


@pytest.fixture(autouse=True)
def no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks with random weights decide by nearly equal scores, which any rounding turns: no damage to them."""
    monkeypatch.setattr(accuracy.Evaluator, "drop", lambda *_: 0.0)


def data() -> Dataset:
    return Dataset.of(samples(32))


def run(model: Model, **options: object) -> list[str]:
    """Run the pass on a target that does not depend on the host; the remarks."""
    result = run_pass(RoundWeights(**options), model, data=data(), target=VNNI)  # type: ignore[arg-type]
    return [str(remark.reason) for remark in result.remarks]


def sqnr(model: Model, reference: Model) -> float:
    expected, found = (Session(m).run({"x": samples(32)})["y"] for m in (reference, model))
    return float(10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()))


def values(model: Model, name: str) -> np.ndarray:
    return np.asarray(model.graph.tensors()[name].values)


@pytest.mark.parametrize("method", ["nearest", "gptq", "adaround"])
@pytest.mark.parametrize("scale", ["max", "mse"])
def test_keeps_the_promises_of_a_pass(method: str, scale: str) -> None:
    item = RoundWeights(method=method, scale=scale)  # type: ignore[arg-type]
    after, result = check_pass(item, small_net(), data=data(), target=VNNI)
    assert result.counts == {"weights rounded": 3}
    assert sqnr(after, small_net()) > 30


@pytest.mark.parametrize("method", ["nearest", "gptq", "adaround"])
@pytest.mark.parametrize("target", [VNNI, NO_VNNI], ids=["8 bits", "7 bits"])
def test_quantize_finds_the_same_integers_and_scales(method: str, target: object) -> None:
    """What is on the grid passes through the target's own rounding without a change, to the last bit."""
    model = small_net()
    run_pass(RoundWeights(method=method), model, data=data(), target=target)  # type: ignore[arg-type]
    bits = target.weights.bits  # type: ignore[attr-defined]
    for name, axis in AXES.items():
        scheme = Scheme(np.dtype(np.int8), symmetric=True, axis=axis, narrow=True, bits=bits)
        weight = values(model, name)
        params = scheme.of_weights(weight)
        integers = scheme.quantize(weight, params)
        np.testing.assert_array_equal(scheme.dequantize(integers, params), weight)
        assert (np.abs(integers).max(axis=tuple(range(1, weight.ndim))) == scheme.highest).all()


@pytest.mark.parametrize("target", sorted(registry.TARGETS))
def test_quantize_stores_the_rounded_weights(target: str) -> None:
    """What DequantizeLinear gives back is what the pass has written, whatever the target's table says."""
    model = build(
        [conv("c", "x", "v"), onnx.helper.make_node("Relu", ["c"], ["r"], name="r"), conv("y", "r", "w")],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"v": weights(0, 32, 3, 3, 3), "w": weights(1, 32, 32, 3, 3)},
    )
    table = registry.target(target)
    PassManager.parse("round-weights").run(model, data=samples(), target=table)
    rounded = model.clone()
    PassManager.parse("quantize<guard=false>").run(model, data=samples(), target=table)
    names = {"c": "v", "y": "w"}
    stored = [node for node in model.graph.nodes if node.name in names and node.inputs[1].inputs]
    assert stored
    for node in stored:
        integers, scale = node.inputs[1].inputs[0].inputs[:2]
        shape = [-1] + [1] * (integers.values.ndim - 1) if scale.values.ndim else []
        restored = integers.values.astype(np.float32) * scale.values.reshape(shape)
        np.testing.assert_array_equal(restored, values(rounded, names[node.name]))


def test_stored_weights_add_no_error() -> None:
    model = small_net()
    run(model)
    rounded = Session(model).run({"x": samples()})["y"]
    PassManager.parse("store-weights<share=1;guard=false>").run(model)
    np.testing.assert_allclose(Session(model).run({"x": samples()})["y"], rounded, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["gptq", "adaround"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_closer_to_the_float_model_than_nearest(method: str, bits: int) -> None:
    better, plain = small_net(), small_net()
    run(better, method=method, bits=bits)
    run(plain, method="nearest", bits=bits, correct_bias=False)
    assert sqnr(better, small_net()) > sqnr(plain, small_net()) + 2


def test_bits_make_a_coarser_grid() -> None:
    model = small_net()
    run(model, bits=4)
    for name in AXES:
        weight = values(model, name)
        steps = weight / np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True) * 7
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_more_bits_than_the_target_has_are_not_used() -> None:
    wide, own = small_net(), small_net()
    run_pass(RoundWeights(bits=8), wide, data=data(), target=NO_VNNI)
    run_pass(RoundWeights(), own, data=data(), target=NO_VNNI)
    assert wide.fingerprint() == own.fingerprint()


def test_means_of_the_outputs_stay() -> None:
    """One Conv without a bias: it gets one, and the mean of every channel over the samples is the float model's."""
    model = build([conv("y", "x", "w", pads=[1, 1, 1, 1])], {"x": ["n", 3, 8, 8]}, ["y"], {"w": weights(0, 4, 3, 3, 3)})
    shifted = samples(8) + 3
    expected = Session(model).run({"x": shifted})["y"]
    run_pass(RoundWeights(method="nearest", bits=3, guard=False), model, data=Dataset.of(shifted), target=VNNI)
    assert len(model.graph.nodes[0].inputs) == 3
    found = Session(model).run({"x": shifted})["y"]
    np.testing.assert_allclose(found.mean(axis=(0, 2, 3)), expected.mean(axis=(0, 2, 3)), atol=1e-5)
    assert np.abs(found - expected).max() > 0.1


def test_empty_bias_input_is_filled() -> None:
    gemm = onnx.helper.make_node("Gemm", ["x", "w", ""], ["y"], name="g")
    model = build([gemm], {"x": ["n", 6]}, ["y"], {"w": weights(0, 6, 4)})
    batch = np.random.default_rng(0).standard_normal((16, 6)).astype(np.float32) + 1
    run_pass(RoundWeights(method="nearest", guard=False), model, data=Dataset.of(batch), target=VNNI)
    assert [len(node.inputs) for node in model.graph.nodes] == [3]
    Session(model)


def test_excluded_nodes_keep_their_weights() -> None:
    model = small_net()
    run(model, exclude=("c2", "op:Gemm"))
    np.testing.assert_array_equal(values(model, "w2"), values(small_net(), "w2"))
    np.testing.assert_array_equal(values(model, "w3"), values(small_net(), "w3"))
    assert (values(model, "w1") != values(small_net(), "w1")).any()


def test_pattern_that_names_nothing_is_an_error() -> None:
    with pytest.raises(PrunaError) as failure:
        run(small_net(), exclude=("nothing*",))
    assert failure.value.diagnostic.code == "P004"


def test_needs_data() -> None:
    with pytest.raises(PrunaError) as failure:
        PassManager.parse("round-weights").run(small_net())
    assert failure.value.diagnostic.code == "P006"


def test_runs_after_fusion_and_before_quantization() -> None:
    for text in ("round-weights,fuse", "quantize,round-weights", "store-weights,round-weights"):
        with pytest.raises(PrunaError):
            PassManager.parse(text)


def test_shared_weight_is_rounded_for_both_layers() -> None:
    model = build(
        [conv("c", "x", "w"), conv("d", "x", "w", strides=[2, 2]), conv("y", "c", "v"), conv("z", "d", "v")],
        {"x": ["n", 3, 8, 8]},
        ["y", "z"],
        {"w": weights(0, 4, 3, 1, 1), "v": weights(1, 2, 4, 1, 1)},
    )
    after, result = check_pass(RoundWeights(), model, data=data(), target=VNNI)
    assert result.counts == {"weights rounded": 2}
    reads = {node.name: node.inputs[1].name for node in after.graph.nodes}
    assert reads == {"c": "w", "d": "w", "y": "v", "z": "v"}


def test_shared_bias_is_corrected_for_each_layer_alone() -> None:
    model = build(
        [conv("y", "x", "w", "b"), conv("z", "x", "v", "b")],
        {"x": ["n", 3, 8, 8]},
        ["y", "z"],
        {"w": weights(0, 4, 3, 1, 1), "v": weights(1, 4, 3, 1, 1), "b": weights(2, 4)},
    )
    run_pass(RoundWeights(method="nearest", guard=False), model, data=Dataset.of(samples(8) + 1), target=VNNI)
    biases = [node.inputs[2].values for node in model.graph.nodes]
    assert (biases[0] != biases[1]).any()


def test_matmul_takes_the_addition_behind_it_as_its_bias() -> None:
    node = onnx.helper.make_node
    model = build(
        [node("MatMul", ["x", "w"], ["m"], name="m"), node("Add", ["b", "m"], ["y"], name="a")],
        {"x": ["n", 3, 8, 8]},
        ["y"],
        {"w": weights(0, 8, 5), "b": weights(1, 5)},
    )
    before = model.clone()
    shifted = Dataset.of(samples(8) + 2)
    run_pass(RoundWeights(method="nearest", bits=3, guard=False), model, data=shifted, target=VNNI)
    expected, found = (Session(m).run({"x": samples(8) + 2})["y"] for m in (before, model))
    np.testing.assert_allclose(found.mean(axis=(0, 1, 2)), expected.mean(axis=(0, 1, 2)), atol=1e-5)
    assert (values(model, "b") != values(before, "b")).any()


@pytest.mark.parametrize(("alpha", "corrected"), [(1.0, True), (0.5, False)])
def test_scaled_gemm_keeps_its_bias(alpha: float, corrected: bool) -> None:
    gemm = onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="g", alpha=alpha)
    model = build([gemm], {"x": ["n", 6]}, ["y"], {"w": weights(0, 6, 4), "b": weights(1, 4)})
    samples_ = np.random.default_rng(0).standard_normal((16, 6)).astype(np.float32) + 1
    run_pass(RoundWeights(method="nearest", guard=False), model, data=Dataset.of(samples_), target=VNNI)
    assert (values(model, "b") != weights(1, 4)).any() == corrected


def other_reader(kind: str) -> Model:
    nodes = [conv("y", "x", "w")]
    outputs = ["y"]
    if kind == "op":
        nodes.append(onnx.helper.make_node("Tanh", ["w"], ["t"], name="t"))
        outputs.append("t")
    model = build(nodes, {"x": ["n", 3, 8, 8]}, outputs, {"w": weights(0, 4, 3, 1, 1)})
    if kind == "output":
        model.graph.outputs.append(model.graph.tensors()["w"])
    return model


@pytest.mark.parametrize("kind", ["op", "output"])
def test_weight_that_is_needed_as_it_is_stays(kind: str) -> None:
    result = run_pass(RoundWeights(), other_reader(kind), data=data(), target=VNNI)
    assert not result.changed
    assert missed(result) == ["its weight stays: `w` has other readers"]


def test_weight_that_is_not_finite_stays() -> None:
    model = build([conv("y", "x", "w")], {"x": ["n", 3, 8, 8]}, ["y"], {"w": weights(0, 4, 3, 1, 1)})
    model.graph.tensors()["w"].values = np.full((4, 3, 1, 1), np.inf, np.float32)
    result = run_pass(RoundWeights(guard=False), model, data=data(), target=VNNI)
    assert missed(result) == ["its weight stays: `w` is empty or not finite"]


def test_readers_that_divide_a_weight_differently() -> None:
    node = onnx.helper.make_node
    model = build(
        [node("Gemm", ["x", "w"], ["y"], name="g"), node("Gemm", ["x", "w"], ["z"], name="h", transB=1)],
        {"x": ["n", 4]},
        ["y", "z"],
        {"w": weights(0, 4, 4)},
    )
    result = run_pass(RoundWeights(), model, data=Dataset.of(weights(1, 8, 4)), target=VNNI)
    assert not result.changed
    assert missed(result)[0] == "its weight stays: its readers divide `w` into other channels"


def test_inputs_that_are_not_finite_leave_the_nearest() -> None:
    nodes = [onnx.helper.make_node("Exp", ["x"], ["e"], name="e"), conv("y", "e", "w")]
    model = build(nodes, {"x": ["n", 3, 8, 8]}, ["y"], {"w": weights(0, 4, 3, 1, 1)})
    plain = model.clone()
    run_pass(RoundWeights(guard=False), model, data=Dataset.of(samples(4) + 90), target=VNNI)
    run_pass(RoundWeights(method="nearest", correct_bias=False), plain, data=data(), target=VNNI)
    np.testing.assert_array_equal(values(model, "w"), values(plain, "w"))
    assert len(model.graph.nodes[1].inputs) == 2


def test_large_matrices_are_measured_in_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has a limit: with room for one matrix at a time the result is the same."""
    whole, parts = small_net(), small_net()
    run(whole)
    groups: list[int] = []

    def measured(model: Model, batches: object, layers: list[Layer], **options: object) -> dict[str, gram.Moments]:
        groups.append(len(layers))
        return gram.second_moments(model, batches, layers, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(round_weights, "second_moments", measured)
    monkeypatch.setattr(round_weights, "rounds", lambda groups: gram.rounds(groups, limit=1))
    run(parts)
    assert groups == [1, 1, 1]
    assert parts.fingerprint() == whole.fingerprint()


def test_rounded_model_reports_progress() -> None:
    told: list[tuple[str, int, int]] = []
    PassManager.parse("round-weights<samples=4>").run(
        small_net(), data=samples(), progress=lambda *step: told.append(step)
    )
    assert ("measuring inputs of layers", 4, 4) in told and ("rounding weights", 0, 3) in told


@pytest.mark.slow
def test_resnet20_at_4_bits_comes_closer_to_float(shared: Path) -> None:
    """Trained weights: measured 22.0 dB with GPTQ and 20.2 dB with AdaRound, 11.4 dB to nearest."""
    bound = Dataset.load(shared / "data" / "cifar10.yaml")
    quality = {}
    for method in ("nearest", "adaround", "gptq"):
        model = Model.load(shared / "models" / "resnet20_cifar10.onnx")
        PassManager.parse("O1").run(model)
        before = model.clone()
        options = f"method={method};bits=4;guard=false;correct-bias=false;exclude=[/conv1/Conv,/linear/Gemm]"
        PassManager.parse(f"round-weights<{options}>").run(model, data=bound)
        quality[method] = accuracy.Evaluator(bound.bind(before.inputs()), before).compare(model)[0]
    assert quality["adaround"] > quality["nearest"] + 6
    assert quality["gptq"] > quality["nearest"] + 8
