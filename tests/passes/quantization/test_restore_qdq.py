"""Operators on integers as float operators between Q/DQ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from small_graphs import samples, small_net

from pruna_ir.model import Model
from pruna_ir.passes.quantization.restore_qdq import RestoreQdq
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass, missed, ops


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.feeds = iter([{"x": sample[None]} for sample in samples()])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def steps(before: Model, after: Model, feeds: dict[str, np.ndarray], step: float) -> float:
    """The largest difference of the outputs in quantization steps, with and without the runtime's fusions."""
    expected = Session(before, optimize=False).run(feeds)
    found = [Session(after, optimize=optimize).run(feeds) for optimize in (False, True)]
    return max(
        float(np.abs(one[name].astype(float) - expected[name]).max()) / step for one in found for name in expected
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
def test_model_of_onnxruntimes_quantizer(tmp_path: Path, signed: bool, per_channel: bool) -> None:
    small_net().save(tmp_path / "float.onnx")
    kind = QuantType.QInt8 if signed else QuantType.QUInt8
    made = tmp_path / "int8.onnx"
    quantize_static(
        tmp_path / "float.onnx",
        made,
        Reader(),
        QuantFormat.QOperator,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    model = Model.load(made)
    after, result = check_pass(RestoreQdq(), model)
    assert result.counts == {"integer operators": 6} and not missed(result)
    assert [op for op in ops(after) if "Linear" not in op] == [
        "Conv",
        "Conv",
        "Add",
        "GlobalAveragePool",
        "Flatten",
        "Gemm",
    ]
    scale = next(float(node.inputs[1].values) for node in reversed(after.graph.nodes) if node.op == "DequantizeLinear")
    assert steps(model, after, {"x": samples()}, scale) <= 1.01


ONE = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
g (uint8[1,2,4,4] x) => (uint8[OUT] y)
<float s = {0.1}, uint8 z = {100}, float t = {0.05}, uint8 u = {120}> { BODY }"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = com.microsoft.QLinearSigmoid(x, s, z, t, u)", "Sigmoid"),
        ("y = com.microsoft.QLinearLeakyRelu <alpha = 0.2> (x, s, z, t, u)", "LeakyRelu"),
        ("y = com.microsoft.QLinearAdd(x, s, z, x, s, z, t, u)", "Add"),
        ("y = com.microsoft.QLinearMul(x, s, z, x, s, z, t, u)", "Mul"),
        ("y = com.microsoft.QLinearConcat <axis = 1> (t, u, x, s, z, x, t, u)", "Concat"),
        ("y = com.microsoft.QLinearAveragePool <kernel_shape = [2, 2]> (x, s, z, t, u)", "AveragePool"),
        ("y = com.microsoft.QLinearGlobalAveragePool(x, s, z, t, u)", "GlobalAveragePool"),
        ("y = QLinearMatMul(x, s, z, x, s, z, t, u)", "MatMul"),
    ],
)
def test_operators_of_the_runtime(body: str, expected: str) -> None:
    shapes = {"Concat": "1,4,4,4", "AveragePool": "1,2,3,3", "GlobalAveragePool": "1,2,1,1"}
    text = ONE.replace("OUT", shapes.get(expected, "1,2,4,4")).replace("BODY", body)
    model = Model.from_text(text)
    after, _ = check_pass(RestoreQdq(), model)
    assert [op for op in ops(after) if op not in ("QuantizeLinear", "DequantizeLinear")] == [expected]
    feeds = {"x": np.random.default_rng(0).integers(0, 256, (1, 2, 4, 4)).astype(np.uint8)}
    assert steps(model, after, feeds, 1.0) <= 1


def test_scales_computed_at_run_time_stay(tmp_path: Path) -> None:
    small_net().save(tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    _, result = check_pass(RestoreQdq(), Model.load(tmp_path / "int8.onnx"))
    assert not result.changed and set(missed(result)) == {"stays: its scale is computed at run time"}


def test_other_layout_stays() -> None:
    text = ONE.replace("OUT", "1,1,1,4").replace(
        "BODY", "y = com.microsoft.QLinearGlobalAveragePool <channels_last = 1> (x, s, z, t, u)"
    )
    _, result = check_pass(RestoreQdq(), Model.from_text(text))
    assert not result.changed and missed(result) == ["stays: channels_last is 1"]


def test_float_model_stays_as_it_is() -> None:
    assert not check_pass(RestoreQdq(), small_net())[1].changed


def test_quantize_says_what_is_there_already() -> None:
    model = small_net()
    PassManager.parse("quantize<guard=false>").run(model, data=samples())
    result = PassManager.parse("quantize<guard=false>").run(model, data=samples())
    said = [str(remark.reason) for remark in result.remarks if not remark.node]
    assert said == ["6 Q/DQ pairs and 0 operators on integers are there already, and stay"]
