"""The Q/DQ that is written, and the numbers that come out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from small_graphs import build, conv, runtime_ops, samples, small_net, weights

from pruna_ir.calibration import Range, Scheme, collect
from pruna_ir.calibration.ranges import solve
from pruna_ir.model import Model
from pruna_ir.passes.quantization.insert import insert_qdq
from pruna_ir.passes.quantization.kernel import Bounds
from pruna_ir.passes.quantization.plan import make_plan
from pruna_ir.passes.quantization.scale_groups import fit
from pruna_ir.runtime.session import Session
from pruna_ir.targets import Target
from pruna_ir.targets.ort_cpu import ARM, X86, X86_VNNI

node = onnx.helper.make_node
UINT8 = Scheme(np.dtype(np.uint8))


def quantize(model: Model, feeds: dict[str, np.ndarray], target: Target = X86_VNNI) -> Model:
    quantized = model.clone()
    plan = make_plan(quantized.graph, target)
    statistics = collect(model, [feeds], plan.calibrated())
    ranges = {name: solve(record, target.activations) for name, record in statistics.items()}
    insert_qdq(quantized.graph, plan, target, ranges)
    quantized.check()
    return quantized


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(expected - found).sum()))


def constant(model: Model, name: str) -> np.ndarray:
    values = model.graph.tensors()[name].values
    assert isinstance(values, np.ndarray)
    return values


def scales_of(model: Model) -> dict[str, gs.Constant]:
    """The scale of each activation, by the name of the tensor."""
    return {n.inputs[0].name: n.inputs[1] for n in model.graph.nodes if n.op == "QuantizeLinear"}


@pytest.mark.parametrize("target", [X86_VNNI, X86, ARM], ids=lambda target: str(target.name))
def test_numbers_stay_close(target: Target) -> None:
    model, feeds = small_net(), {"x": samples()}
    found = Session(quantize(model, feeds, target), optimize=False).run(feeds)["y"]
    assert sqnr(Session(model).run(feeds)["y"], found) > 30


def test_everything_becomes_integer_kernels() -> None:
    ops = runtime_ops(quantize(small_net(), {"x": samples()}))
    assert ops["QLinearConv"] == 2 and ops["QLinearAdd"] == 1 and ops["QGemm"] == 1
    assert ops["DequantizeLinear"] == 0 and ops["QuantizeLinear"] == 1


def test_interface_is_kept() -> None:
    model = small_net()
    quantized = quantize(model, {"x": samples()})
    assert (quantized.inputs(), quantized.outputs()) == (model.inputs(), model.outputs())


def test_graph_output_that_a_kernel_writes_keeps_its_name() -> None:
    model = build([conv("y", "x", "w")], {"x": [1, 3, 4, 4]}, ["y"], {"w": weights(0, 4, 3, 1, 1)})
    feeds = {"x": samples(1)[:, :, :4, :4]}
    quantized = quantize(model, feeds)
    assert [tensor.name for tensor in quantized.graph.outputs] == ["y"]
    assert quantized.graph.outputs[0].inputs[0].op == "DequantizeLinear"
    assert sqnr(Session(model).run(feeds)["y"], Session(quantized).run(feeds)["y"]) > 30


def test_one_pair_for_all_readers() -> None:
    quantized = quantize(small_net(), {"x": samples()})
    pairs = [n for n in quantized.graph.nodes if n.op == "QuantizeLinear" and n.name.startswith("r1")]
    assert len(pairs) == 1
    assert {reader.name for reader in pairs[0].o().outputs[0].outputs} == {"c2", "a"}


def test_bias_is_integer_in_units_of_its_products() -> None:
    model, feeds = small_net(), {"x": samples()}
    quantized = quantize(model, feeds)
    assert constant(quantized, "b1_q").dtype == np.int32
    unit = constant(quantized, "x_scale") * constant(quantized, "w1_scale")
    np.testing.assert_array_equal(constant(quantized, "b1_scale"), unit)
    restored = constant(quantized, "b1_q") * constant(quantized, "b1_scale")
    np.testing.assert_allclose(restored, constant(model, "b1"), atol=float(unit.max()) / 2 * 1.001)


def test_bias_that_would_overflow_widens_the_weights_scale() -> None:
    w, b = weights(0, 4, 3, 1, 1), np.array([1e6, 0.1, -1e6, 0], np.float32)
    w[0] *= 1e-8
    model = build([conv("c", "x", "w", "b")], {"x": [1, 3, 4, 4]}, ["c"], {"w": w, "b": b})
    feeds = {"x": samples(1)[:, :, :4, :4]}
    quantized = quantize(model, feeds)
    restored = constant(quantized, "b_q").astype(np.float64) * constant(quantized, "b_scale")
    np.testing.assert_allclose(restored, b, rtol=1e-6, atol=1e-2)


def test_channel_of_zeros_keeps_its_bias() -> None:
    w, b = weights(0, 4, 3, 1, 1), np.array([0.01, 0.5, 1, 2], np.float32)
    w[0] = 0
    model = build([conv("c", "x", "w", "b")], {"x": [1, 3, 4, 4]}, ["c"], {"w": w, "b": b})
    quantized = quantize(model, {"x": 100 * samples(1)[:, :, :4, :4]})
    restored = constant(quantized, "b_q") * constant(quantized, "b_scale")
    units = constant(quantized, "b_scale")
    assert units[0] == units[1:].min()  # not the large unit that a scale of its own would give it
    np.testing.assert_allclose(restored[0], 0.01, atol=float(units[0]) / 2)


def test_shared_weight_is_stored_once() -> None:
    model = build([conv("c", "x", "w"), conv("d", "c", "w")], {"x": [1, 4, 4, 4]}, ["d"], {"w": weights(0, 4, 4, 1, 1)})
    quantized = quantize(model, {"x": np.ones((1, 4, 4, 4), np.float32)})
    stored = [n for n in quantized.graph.nodes if n.op == "DequantizeLinear" and isinstance(n.inputs[0], gs.Constant)]
    assert len(stored) == 1


def test_shared_bias_gets_the_scale_of_each_reader() -> None:
    """Two convolutions with one bias: its integers are in units that differ, so it is stored for each."""
    model = build(
        [conv("c", "x", "w", "b"), conv("d", "c", "w", "b")],
        {"x": [1, 4, 4, 4]},
        ["d"],
        {"w": weights(0, 4, 4, 1, 1), "b": weights(1, 4)},
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 4, 4, 4)).astype(np.float32)}
    quantized = quantize(model, feeds)
    assert runtime_ops(quantized)["QLinearConv"] == 2
    assert sqnr(Session(model).run(feeds)["d"], Session(quantized).run(feeds)["d"]) > 30


def test_moving_ops_share_the_scale_of_their_input() -> None:
    model = build(
        [conv("c", "x", "w"), node("MaxPool", ["c"], ["m"], name="m", kernel_shape=[2, 2]), conv("d", "m", "w2")],
        {"x": [1, 3, 4, 4]},
        ["d"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    quantized = quantize(model, {"x": samples(1)[:, :, :4, :4]})
    scales = scales_of(quantized)
    assert scales["m"] is scales["c"] is not scales["x"]  # stored once, too


def joined(*more: onnx.NodeProto) -> tuple[Model, dict[str, gs.Constant]]:
    """Two layers, the second with values five times as large, joined for a third; and the scale of each activation."""
    model = build(
        [
            conv("c", "x", "w"),
            conv("d", "x", "w2"),
            node("Relu", ["c"], ["cr"]),
            node("Relu", ["d"], ["dr"]),
            node("Concat", ["cr", "dr"], ["j"], name="j", axis=1),
            conv("e", "j", "w3"),
            *more,
        ],
        {"x": [1, 3, 4, 4]},
        ["e", *(one.output[0] for one in more)],
        {
            "w": weights(0, 4, 3, 1, 1),
            "w2": 5 * weights(1, 4, 3, 1, 1),
            "w3": weights(2, 4, 8, 1, 1),
            "w4": weights(3, 4, 4, 1, 1),
        },
    )
    quantized = quantize(model, {"x": samples(1)[:, :, :4, :4]})
    return quantized, scales_of(quantized)


def test_what_is_written_for_a_concat_has_its_scale() -> None:
    quantized, scales = joined()
    assert scales["j"] is scales["dr"] is scales["cr"] is not scales["x"]
    assert not any(one.op in ("Relu", "Clip") for one in quantized.graph.nodes)
    assert runtime_ops(quantized)["QLinearConv"] == 3


@pytest.mark.parametrize("read", ["cr", "dr"])
def test_concat_holds_its_inputs_and_copies_the_widest(read: str) -> None:
    """What others read as well keeps its own scale."""
    _, scales = joined(node("MaxPool", [read], ["p"], kernel_shape=[2, 2]), conv("f", "p", "w4"))
    assert scales["j"].values == scales["dr"].values
    assert (scales["cr"].values < scales["j"].values) == (read == "cr")


def test_scales_are_scalars() -> None:
    """ONNX Runtime does not fuse element-wise ops whose scale is a vector of one element."""
    quantized = quantize(small_net(), {"x": samples()})
    assert constant(quantized, "x_scale").shape == () and constant(quantized, "w1_scale").shape == (8,)


@pytest.mark.parametrize("high", [6.0, 1.0, 0.1, 3.3])
def test_fitted_range_never_passes_the_clip(high: float) -> None:
    params = fit(UINT8, Range(-2.0, 50.0), Bounds(0.0, high))
    assert params.zero_point == 0
    assert np.float32(255) * params.scale <= np.float32(high)
    assert np.float32(255) * params.scale >= np.float32(high) * (1 - 1e-5)


def test_fitted_range_of_a_signed_clip() -> None:
    params = fit(UINT8, Range(-9.0, 9.0), Bounds(-1.0, 1.0))
    top = (np.float32(255) - np.float32(params.zero_point)) * params.scale
    bottom = (np.float32(0) - np.float32(params.zero_point)) * params.scale
    assert -1 <= bottom < 0 < top <= 1


def test_fitted_range_of_a_clip_that_ends_near_zero_keeps_the_other_end() -> None:
    """The zero point that rounding would give needs a scale 15 % smaller: another one costs almost nothing."""
    params = fit(UINT8, Range(-2.0, 50.0), Bounds(-0.04, 6.0))
    low, high = (float((np.float32(end) - np.float32(params.zero_point)) * params.scale) for end in (0, 255))
    assert -0.04 <= low <= 0 and 5.97 < high <= 6.0


@pytest.mark.parametrize("bounds", [Bounds(0.0, 6.0), Bounds(-1.0, 0.0), Bounds(0.0), Bounds(-1e-20, 1e-20)])
def test_fitted_range_of_zeros_lies_within_the_bounds(bounds: Bounds) -> None:
    for found in (Range(0.0, 1.0), Range(0.0, 0.0), Range(-1.0, 0.0)):
        params = fit(UINT8, found, bounds)
        low, high = (float((np.float32(end) - np.float32(params.zero_point)) * params.scale) for end in (0, 255))
        assert params.scale > 0 and bounds.low <= low <= 0 <= high <= bounds.high


def test_weight_read_along_two_axes_is_stored_for_each() -> None:
    """The matrix is symmetric, so the scales are the same numbers either way; what they belong to is not."""
    w = weights(0, 6, 6)
    model = build(
        [node("Gemm", ["x", "w"], ["a"]), node("Gemm", ["a", "w"], ["y"], transB=1)],
        {"x": [4, 6]},
        ["y"],
        {"w": (w + w.T) * np.geomspace(0.1, 10, 6).astype(np.float32)[:, None] * np.geomspace(0.1, 10, 6, dtype="f4")},
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)}
    quantized = quantize(model, feeds)
    assert {n.attrs.get("axis") for n in quantized.graph.nodes if n.name.startswith("w_")} == {0, 1}
    assert sqnr(Session(model).run(feeds)["y"], Session(quantized).run(feeds)["y"]) > 25


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,), (1, 1), ()])
def test_bias_in_every_shape_that_gemm_spreads_over_its_rows(shape: tuple[int, ...]) -> None:
    bias = 5 * np.asarray(weights(1, *shape), np.float32)
    model = build([node("Gemm", ["x", "w", "b"], ["y"])], {"x": [4, 6]}, ["y"], {"w": weights(0, 6, 5), "b": bias})
    feeds = {"x": np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)}
    assert sqnr(Session(model).run(feeds)["y"], Session(quantize(model, feeds)).run(feeds)["y"]) > 30


def test_names_that_are_taken() -> None:
    """A tensor and a node that already have the names which the new ones would get."""
    model = build(
        [conv("y", "x", "w"), node("Tanh", ["y"], ["y_float"], name="x_Q")],
        {"x": [1, 3, 4, 4]},
        ["y", "y_float"],
        {"w": weights(0, 4, 3, 1, 1)},
    )
    feeds = {"x": samples(1)[:, :, :4, :4]}
    found = Session(quantize(model, feeds)).run(feeds)
    for name, expected in Session(model).run(feeds).items():
        assert sqnr(expected, found[name]) > 30


@pytest.mark.parametrize("op", ["Add", "Mul", "Concat"])
def test_tensor_that_an_op_reads_twice(op: str) -> None:
    attributes: dict[str, Any] = {"axis": 2} if op == "Concat" else {}
    model = build(
        [conv("c", "x", "w"), node(op, ["c", "c"], ["j"], **attributes), conv("y", "j", "w2")],
        {"x": [1, 3, 4, 4]},
        ["y"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    feeds = {"x": samples(1)[:, :, :4, :4]}
    quantized = quantize(model, feeds)
    assert sqnr(Session(model).run(feeds)["y"], Session(quantized).run(feeds)["y"]) > 25
    assert runtime_ops(quantized)[op] == 0


def test_inputs_and_weights_that_are_outputs_stay_what_they_are() -> None:
    graph = onnx.helper.make_graph(
        [conv("y", "x", "w")],
        "outputs",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])],
        [onnx.helper.make_tensor_value_info(n, 1, [4, 3, 1, 1] if n == "w" else [1, s, 4, 4]) for n, s in _OUTPUTS],
        [onnx.numpy_helper.from_array(weights(0, 4, 3, 1, 1), "w")],
    )
    model = Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9))
    feeds = {"x": samples(1)[:, :, :4, :4]}
    found = Session(quantize(model, feeds)).run(feeds)
    np.testing.assert_array_equal(found["x"], feeds["x"])
    np.testing.assert_array_equal(found["w"], weights(0, 4, 3, 1, 1))


_OUTPUTS = [("y", 4), ("x", 3), ("w", 4)]


def test_scale_of_a_whole_weight() -> None:
    """A target without scales for each channel, with a bias that would overflow one channel's units."""
    whole = replace(X86_VNNI, weights=replace(X86_VNNI.weights, axis=None))
    b = np.array([1, -2, 0, 3], np.float32)
    model = build([conv("y", "x", "w", "b")], {"x": [1, 3, 4, 4]}, ["y"], {"w": weights(0, 4, 3, 1, 1), "b": b})
    feeds = {"x": samples(1)[:, :, :4, :4]}
    quantized = quantize(model, feeds, whole)
    assert constant(quantized, "w_scale").shape == constant(quantized, "b_scale").shape == ()
    assert sqnr(Session(model).run(feeds)["y"], Session(quantized).run(feeds)["y"]) > 30


def test_depthwise_weights_keep_all_bits_where_others_cannot() -> None:
    """Without VNNI only kernels that add products in pairs overflow 16 bits."""
    model = build(
        [
            conv("c", "x", "w"),
            conv("d", "c", "wd", group=6, pads=[1, 1, 1, 1]),
            conv("g", "d", "wg", group=2),
            conv("y", "g", "wp"),
        ],
        {"x": [1, 3, 8, 8]},
        ["y"],
        {
            "w": weights(0, 6, 3, 1, 1),
            "wd": weights(1, 6, 1, 3, 3),
            "wg": weights(2, 6, 3, 1, 1),
            "wp": weights(3, 4, 6, 1, 1),
        },
    )
    largest = {
        target.name: [
            int(np.abs(constant(quantize(model, {"x": samples(1)}, target), f"{name}_q").astype(int)).max())
            for name in ("w", "wd", "wg", "wp")
        ]
        for target in (X86, X86_VNNI)
    }
    assert largest == {"ort-x86": [63, 127, 63, 63], "ort-x86-vnni": [127, 127, 127, 127]}


def test_zero_points_are_stored_once_and_biases_have_none() -> None:
    model = quantize(small_net(), {"x": samples()})
    dequantizers = [node for node in model.graph.nodes if node.op == "DequantizeLinear"]
    stored = [node for node in dequantizers if isinstance(node.inputs[0], gs.Constant)]
    assert {len(node.inputs) for node in stored if node.inputs[0].dtype == np.int32} == {2}
    zero_points = {id(node.inputs[2]): node.inputs[2] for node in dequantizers if len(node.inputs) > 2}.values()
    found = [(tensor.values.dtype, tensor.values.tobytes(), tensor.shape) for tensor in zero_points]
    assert len(found) == len(set(found)) < len(dequantizers)
