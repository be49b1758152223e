"""Integers in packages: scales bit for bit, weights as they are stored, and what computes in 16 bits beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

pytest.importorskip("coremltools")

from mil_nodes import agrees, kinds, written
from onnx_text import weight
from single_nodes import Fixed, node

from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.check import check_scales
from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

IMAGES = weight(16, 3, 8, 8, seed=5)


def network(pipeline: str = "quantize<guard=false>", target: str = "coreml") -> Model:
    """A small network, quantized."""
    from onnx_text import model_from

    text = """g (float[1,3,8,8] image) => (float[1,4] scores) {
        c = Conv <pads = [1,1,1,1]> (image, w, b)
        r = Relu (c)
        p = GlobalAveragePool (r)
        f = Flatten (p)
        scores = Gemm (f, head)
    }"""
    model = model_from(text, w=weight(8, 3, 3, 3), b=weight(8, seed=1), head=weight(8, 4, seed=2))
    PassManager.parse(pipeline).run(model, data=Dataset.of(IMAGES), target=target)
    return model


@pytest.mark.parametrize("compute", ["fp16", "fp32"])
def test_scales_are_the_same_bits(compute: str, tmp_path: Path) -> None:
    model = network()
    session = written(model, tmp_path, compute=compute)
    assert check_scales(model, session.package).result.startswith("of ")
    found = kinds(session)
    assert found.count("quantize") == found.count("dequantize") > 2
    names = {op.outputs[0].name for op in session.program.function.operations if op.op_type == "quantize"}
    wanted = {node.outputs[0].name for node in model.graph.nodes if node.op == "QuantizeLinear"}
    assert names == {name.replace(".", "_").replace("/", "_") for name in wanted}


def test_weights_are_stored_in_integers(tmp_path: Path) -> None:
    session = written(network(), tmp_path)
    constants = [op for op in session.program.function.operations if op.op_type == "constexpr_affine_dequantize"]
    assert [op.inputs["quantized_data"].val.dtype for op in constants] == [np.int8, np.int8]
    assert [op.inputs["quantized_data"].shape for op in constants] == [(8, 3, 3, 3), (4, 8)]


def test_the_network_agrees() -> None:
    agrees(network(), {"image": IMAGES[:1]})


@pytest.mark.parametrize(("target", "floats"), [("coreml", "fp16"), ("tflite", "fp32")])
def test_16_bits_where_they_hold_the_scales(target: str, floats: str, tmp_path: Path) -> None:
    """Core ML's table has scales that they hold."""
    from coremltools.converters.mil.mil.types import builtin_to_string

    model = network(target=target)
    session = written(model, tmp_path, compute="fp16")
    types = {
        op.op_type: {builtin_to_string(var.dtype) for var in op.outputs} for op in session.program.function.operations
    }
    assert types["conv"] == types["dequantize"] == {floats}
    assert check_scales(model, session.package).result.startswith("of ")


def in_blocks(dtype: Any, axis: int = 0) -> tuple[Model, dict[str, np.ndarray]]:
    """A product with a matrix of which every four values have a scale."""
    random = np.random.default_rng(0)
    integers = random.integers(0 if "u" in np.dtype(dtype).name else -7, 8, (8, 6))
    shape = (2, 6) if axis == 0 else (8, 3)
    scales = random.uniform(0.01, 0.1, shape).astype(np.float32)
    zeros = random.integers(0, 5, shape)
    stored = [
        onnx.numpy_helper.from_array(integers.astype(dtype), "w"),
        onnx.numpy_helper.from_array(scales, "s"),
        onnx.numpy_helper.from_array(zeros.astype(dtype), "z"),
    ]
    size = 4 if axis == 0 else 2
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=axis, block_size=size),
        onnx.helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    values = [onnx.helper.make_tensor_value_info(name, 1, [3, n]) for name, n in (("x", 8), ("y", 6))]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], stored)
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    return Model.load(proto), {"x": weight(3, 8)}


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4, np.int8, np.uint8])
@pytest.mark.parametrize("axis", [0, 1])
def test_blocks(dtype: Any, axis: int, tmp_path: Path) -> None:
    model, feeds = in_blocks(dtype, axis)
    assert agrees(model, feeds, ios=18)[0] == "linear"
    session = written(model, tmp_path, ios=18)
    stored = next(op for op in session.program.function.operations if op.op_type == "constexpr_blockwise_shift_scale")
    assert stored.inputs["scale"].shape == ((6, 2) if axis == 0 else (3, 8))


def test_blocks_need_ios_18(tmp_path: Path) -> None:
    model, _ = in_blocks(np.int8)
    with pytest.raises(PrunaError) as failure:
        written(model, tmp_path)
    assert "coreml<ios=18>" in failure.value.diagnostic.notes[0]


def test_activations_need_ios_17(tmp_path: Path) -> None:
    with pytest.raises(PrunaError) as failure:
        written(network(), tmp_path, ios=16)
    assert len(failure.value.diagnostic.notes) > 3 and "coreml<ios=17>" in failure.value.diagnostic.notes[0]


def test_weights_alone_on_ios_16() -> None:
    model = network("quantize-weights<bits=8;block=0;guard=false>")
    assert "quantize" not in agrees(model, {"image": IMAGES[:1]}, ios=16)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("constant", [True, False])
def test_every_scale(dtype: str, constant: bool) -> None:
    """Scales that are computed, and types without an operator, become arithmetic."""
    data = np.array([[-3.0, 0.25, 0.35, 700.0], [1e6, -1e6, 0.5, 2.5]], np.float32)
    scale, zero = np.array(0.5, np.float32), np.array(3, dtype)
    parameters = [Fixed(scale, np.float32), Fixed(zero, dtype)] if constant else [scale, zero]
    found = agrees(*node("QuantizeLinear", data, *parameters, opset=21))
    assert ("quantize" in found) == (constant and dtype != "int16")
    info = np.iinfo(dtype)
    integers = np.array([[info.min, info.max, 0, 3]], dtype)
    found = agrees(*node("DequantizeLinear", integers, *parameters, opset=21))
    assert ("dequantize" in found) == (constant and dtype != "int16")


def test_a_scale_for_each_channel() -> None:
    data, scales = weight(2, 3, 4), np.array([0.1, 0.02, 0.3], np.float32)
    agrees(*node("QuantizeLinear", data, Fixed(scales, np.float32), Fixed([1, 2, 3], np.int8), axis=1))
    agrees(*node("QuantizeLinear", data, scales, np.array([1, 2, 3], np.int8), axis=1))


def test_operators_on_integers_become_quantized_ones(tmp_path: Path) -> None:
    """QLinearConv and its like are written as Q/DQ before."""
    scale, zero = Fixed(np.float32(0.0625), np.float32), Fixed(3, np.uint8)
    x = np.random.default_rng(0).integers(0, 255, (1, 2, 5, 5), np.uint8)
    w = Fixed(np.random.default_rng(1).integers(-9, 9, (3, 2, 3, 3)), np.int8)
    model, feeds = node("QLinearConv", x, scale, zero, w, scale, Fixed(0, np.int8), scale, zero, opset=17)
    session = written(model, tmp_path)
    assert {"quantize", "conv", "dequantize"} <= set(kinds(session))
    assert check_scales(CoremlBackend().legalize(model), session.package).result.startswith("of ")
    agrees(model, feeds)
