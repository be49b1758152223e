"""The quantize pass as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, samples, small_net, weights

from pruna_ir.calibration import Statistics
from pruna_ir.decisions import DecisionLog
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.targets.host import host_kind

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


def test_int16_activations() -> None:
    model, data = small_net(), samples()
    expected = Session(model).run({"x": data})["y"]
    text = "quantize<target=tflite;activations=int16;guard=false>,lint-qdq<target=tflite-int16;strict=true>"
    result = PassManager.parse(text).run(model, data=data)
    found = Session(model).run({"x": data})["y"]
    assert model.opset == 21 and any("raised from 17 to 21" in str(remark.reason) for remark in result.remarks)
    integers = [node.outputs[0].dtype for node in model.graph.nodes if node.op == "QuantizeLinear"]
    assert set(integers) == {np.dtype(np.int16)}
    assert 10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()) > 35


def test_int16_beside_int8() -> None:
    """What a first pass leaves in float a second one takes with wider activations; what is in integers stays."""
    model, float_model = small_net(), small_net()
    first = "quantize<target=tflite;exclude=[c2];guard=false>"
    PassManager.parse(first).run(model, data=samples())
    kernels = sum(node.op == "QuantizeLinear" for node in model.graph.nodes)
    narrow = Session(model, optimize=False).run({"x": samples()})["y"]
    text = "quantize<target=tflite;activations=int16;guard=false>,lint-qdq<target=tflite;strict=true>"
    result = PassManager.parse(text).run(model, data=samples())
    assert result.stages[0].counts == {"integer kernels": 1}
    written = [node.inputs[2].values.dtype for node in model.graph.nodes if node.op == "QuantizeLinear"]
    assert (written.count(np.int8), written.count(np.int16)) == (kernels, 2)
    (conv2,) = (node for node in model.graph.nodes if node.name == "c2")
    pair = conv2.inputs[0].inputs[0], conv2.inputs[0].inputs[0].inputs[0].inputs[0]
    assert [node.op for node in pair] == ["DequantizeLinear", "QuantizeLinear"]
    assert pair[1].inputs[0].inputs[0].op == "DequantizeLinear"  # of 8 bits: requantized, not rounded anew
    wanted = Session(float_model).run({"x": samples()})["y"]
    wide = Session(model, optimize=False).run({"x": samples()})["y"]
    assert np.square(wide - wanted).mean() < 1.5 * np.square(narrow - wanted).mean() < 0.001 * np.square(wanted).mean()


def test_int16_activations_where_there_are_no_kernels() -> None:
    with pytest.raises(PrunaError) as failure:
        PassManager.parse("quantize<target=coreml;activations=int16>").run(small_net(), data=samples())
    assert failure.value.diagnostic.code == "P004" and "Core ML" in str(failure.value)


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


def two_inputs() -> Model:
    """x -> Conv -> Add(mask) -> Conv -> y, with the mask an input of the model."""
    return build(
        [
            conv("c", "x", "w", pads=[1, 1, 1, 1]),
            onnx.helper.make_node("Add", ["c", "mask"], ["a"]),
            conv("y", "a", "w2"),
        ],
        {"x": [1, 3, 8, 8], "mask": [1, 1, 8, 8]},
        ["y"],
        {"w": weights(0, 4, 3, 3, 3), "w2": weights(1, 4, 4, 1, 1)},
    )


@pytest.mark.parametrize(
    ("values", "reason", "kernels"),
    [
        (0.0, "`mask` is zero in all calibration samples: its range is unknown", 2),
        (np.finfo(np.float32).min, "`mask` holds 3.4e+38, as good as infinite", 1),
    ],
)
def test_masks_stay_float(values: float, reason: str, kernels: int) -> None:
    """8 bits for both a mask and what it is added to hold neither; and samples of full length do not show a mask."""
    model = two_inputs()
    mask = np.zeros((1, 1, 8, 8), np.float32)
    mask[..., 4:] = values
    feeds = [{"x": sample[None], "mask": mask} for sample in samples(4)]
    result = PassManager.parse(ALL).run(model, data=feeds)
    assert [str(r.reason) for r in result.remarks if r.node == "a"] == [f"stays in float: {reason}"]
    assert result.stages[0].counts == {"integer kernels": kernels}


def test_kernels_are_counted_as_they_end_up() -> None:
    """Without the convolutions nothing is left for the ops between them."""
    result = PassManager.parse("quantize<exclude=[op:Conv];guard=false>").run(small_net(), data=samples())
    assert result.stages[0].counts == {"integer kernels": 1}
    stay = {remark.node: str(remark.reason) for remark in result.remarks if remark.kind == "missed"}
    assert stay["a"] == stay["p"] == "stays in float: it has no weights and nothing before it runs in integers"


def test_speed_is_measured_only_where_the_target_of_the_pass_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("timed for another processor")

    monkeypatch.setattr("pruna_ir.passes.quantization.guard.compare", forbidden)
    elsewhere = "ort-x86" if host_kind() == "arm" else "ort-arm"
    assert PassManager.parse(f"quantize<target={elsewhere}>").run(small_net(), data=samples()).changed


def test_bug_of_the_runtime_costs_a_region_not_the_run() -> None:
    """ONNX Runtime makes an integer kernel of a dilated AveragePool between Q/DQ, and then refuses its own node."""
    node = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            conv("c", "x", "w"),
            node("AveragePool", ["c"], ["p"], kernel_shape=[2, 2], dilations=[2, 2]),
            conv("y", "p", "w2"),
        ],
        "dilated",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 4, 6, 6])],
        [
            onnx.numpy_helper.from_array(values, name)
            for name, values in {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)}.items()
        ],
    )
    model = Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9))
    result = PassManager.parse("quantize").run(model, data=samples(), goal="size")
    Session(model)
    missed = [str(remark.reason) for remark in result.remarks if "region" in str(remark.reason)]
    assert any(reason.endswith("with it the model does not run, or gives no numbers") for reason in missed)


def test_subgraphs_say_that_they_stay_float() -> None:
    then, other = (
        onnx.helper.make_graph(
            [conv(name, "x", "w")], name, [], [onnx.helper.make_tensor_value_info(name, 1, [1, 4, 8, 8])]
        )
        for name in ("then", "other")
    )
    branches = onnx.helper.make_node("If", ["flag"], ["y"], name="if", then_branch=then, else_branch=other)
    model = build([branches], {"x": [1, 3, 8, 8]}, ["y"], {"w": weights(0, 4, 3, 1, 1), "flag": np.array(True)})
    result = PassManager.parse(ALL).run(model, data=samples())
    assert [str(remark) for remark in result.remarks] == ["missed [quantize] `if`: stays in float: sub-graphs do"]
