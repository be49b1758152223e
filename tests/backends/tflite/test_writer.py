"""The bytes of a file: what is shared, how data is aligned, versions of operators, signature and metadata."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from onnx_text import model_from, weight

from pruna_ir.backends.tflite import writer
from pruna_ir.backends.tflite.legalize import legalize
from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.program import Binding, Operator, Program, Quantization, Tensor
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.backends.tflite.versions import version_of
from pruna_ir.backends.tflite.writer import options_table, pack, write
from pruna_ir.diagnostics import PrunaError

FLOAT, INT8 = np.dtype(np.float32), np.dtype(np.int8)


def relus(count: int = 1, data: np.ndarray | None = None) -> Program:
    """x -> RELU -> ... -> y, behind the addition of a constant if there is one."""
    tensors = [Tensor(f"t{index}", (2, 3), FLOAT) for index in range(count + 1)]
    operators = [Operator("RELU", [a], [b]) for a, b in pairwise(tensors)]
    if data is not None:
        constant = Tensor("c", data.shape, data.dtype, data=data)
        operators[0] = Operator("ADD", [tensors[0], constant], [tensors[1]], {"fusedActivationFunction": "NONE"})
    return Program([Binding("x", tensors[0])], [Binding("y", tensors[-1])], operators)


def parsed(content: bytes) -> Any:
    from ai_edge_litert.schema_py_generated import Model

    return Model.GetRootAs(content)


def test_the_signature_has_the_names_of_onnx() -> None:
    signature = parsed(write(relus())).SignatureDefs(0)
    assert signature.SignatureKey() == b"serving_default"
    assert (signature.Inputs(0).Name(), signature.Outputs(0).Name()) == (b"x", b"y")


def test_metadata_and_description() -> None:
    made = relus()
    made.metadata["notes"] = b"hello"
    model = parsed(write(made))
    assert model.Metadata(0).Name() == b"notes" and model.Description() == b"pruna-opt"
    assert model.Buffers(model.Metadata(0).Buffer()).DataAsNumpy().tobytes() == b"hello"


@pytest.mark.parametrize("size", [1, 3, 5, 17, 33])
def test_data_is_aligned_for_vector_instructions(size: int) -> None:
    content = write(relus(1, np.arange(size * 3, dtype=np.float32).reshape(size, 3)[:1]))
    model = parsed(content)
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if not buffer.DataIsNone():
            vector = buffer._tab.Vector(buffer._tab.Offset(4))
            assert vector % 16 == 0


def test_data_that_lies_in_another_order_is_brought_in_order() -> None:
    values = weight(3, 2).T
    assert not values.flags.c_contiguous
    content = write(relus(1, values))
    model = parsed(content)
    tensor = next(t for t in (model.Subgraphs(0).Tensors(i) for i in range(3)) if t.Name() == b"c")
    stored = model.Buffers(tensor.Buffer()).DataAsNumpy().view(np.float32).reshape(2, 3)
    np.testing.assert_array_equal(stored, values)
    found = LiteSession(content).run({"t0": np.zeros((2, 3), np.float32)})
    np.testing.assert_array_equal(next(iter(found.values())), values)


def test_the_first_buffer_is_empty() -> None:
    assert parsed(write(relus())).Buffers(0).DataIsNone()


def test_equal_codes_and_scales_are_written_once() -> None:
    sizes = [len(write(relus(count))) for count in (10, 20)]
    assert parsed(write(relus(20))).OperatorCodesLength() == 1
    assert sizes[1] - sizes[0] < 10 * 100

    def quantized(channels: int, tensors: int) -> int:
        scale = np.linspace(0.1, 0.2, channels).astype(np.float32)
        params = Quantization(scale, np.zeros(channels, np.int64))
        made = relus(tensors)
        for item in made.tensors():
            item.quantization = params
        return len(write(made))

    assert quantized(1000, 20) - quantized(1000, 10) < 10 * 100


def test_a_file_that_would_be_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LARGEST_FILE", 2**20 + 100)
    with pytest.raises(PrunaError, match=r"E006.*0\.00 GB") as caught:
        pack(relus(1, weight(100, 3)))
    assert "float16" in caught.value.diagnostic.help


def test_every_operator_with_options_finds_its_table() -> None:
    from ai_edge_litert.schema_py_generated import BuiltinOperator, BuiltinOptions

    names = [name for name in vars(BuiltinOperator) if not name.startswith("_")]
    assert options_table("CONV_2D") == "Conv2DOptions" and options_table("REDUCE_MAX") == "ReducerOptions"
    assert options_table("TOPK_V2") == "TopKV2Options" and options_table("RELU") is None
    assert all(options_table(name) is None or hasattr(BuiltinOptions, options_table(name) or "") for name in names)


def test_an_unknown_option_is_a_mistake() -> None:
    made = relus(1, weight(2, 3))
    made.operators[0].options["colour"] = 1
    with pytest.raises(AssertionError, match="colour"):
        write(made)


def tensor(dtype: str, *shape: int, scales: int = 0) -> Tensor:
    params = Quantization(np.full(scales, 0.5, np.float32), np.zeros(scales, np.int64)) if scales else None
    return Tensor("t", shape or (1, 4, 4, 8), np.dtype(dtype), params)


@pytest.mark.parametrize(
    ("code", "inputs", "output", "options", "version"),
    [
        ("CONV_2D", ["float32", "float32"], "float32", {}, 1),
        ("CONV_2D", ["int8", "int8"], "int8", {}, 3),
        ("DEPTHWISE_CONV_2D", ["float32", "float32"], "float32", {"dilationHFactor": 2}, 2),
        ("DEPTHWISE_CONV_2D", ["int8", "int8"], "int8", {}, 3),
        ("FULLY_CONNECTED", ["float32", "float32", "float32"], "float32", {}, 1),
        ("FULLY_CONNECTED", ["float32", "float32", "float32"], "float32", {"keepNumDims": True}, 5),
        ("FULLY_CONNECTED", ["float32", "float32"], "float32", {}, 6),
        ("FULLY_CONNECTED", ["int8", "int8", "int32"], "int8", {}, 4),
        ("ADD", ["int8", "int8"], "int8", {}, 2),
        ("ADD", ["int16", "int16"], "int16", {}, 3),
        ("MAX_POOL_2D", ["int8"], "int8", {}, 2),
        ("SOFTMAX", ["int16"], "int16", {}, 3),
        ("RESIZE_BILINEAR", ["int8", "int32"], "int8", {"halfPixelCenters": True}, 3),
        ("RESIZE_NEAREST_NEIGHBOR", ["float32", "int32"], "float32", {}, 1),
        ("BROADCAST_TO", ["float32", "int32"], "float32", {}, 2),
        ("BROADCAST_TO", ["int8", "int32"], "int8", {}, 3),
        ("DEQUANTIZE", ["float16"], "float32", {}, 3),
        ("QUANTIZE", ["float32"], "int8", {}, 1),
        ("QUANTIZE", ["float32"], "int16", {}, 2),
        ("SPLIT", ["int32", "int8"], "int8", {}, 2),
        ("CAST", ["int8"], "float32", {}, 3),
        ("RELU", ["float32"], "float32", {}, 1),
        ("SIN", ["float32"], "float32", {}, 1),
    ],
)
def test_versions(code: str, inputs: list[str], output: str, options: dict[str, Any], version: int) -> None:
    assert version_of(Operator(code, [tensor(item) for item in inputs], [tensor(output)], options)) == version


def test_versions_that_shapes_and_scales_decide() -> None:
    def version(code: str, *inputs: Tensor) -> int:
        return version_of(Operator(code, [*inputs], [tensor("int8", scales=1)]))

    float_data = tensor("float32")
    assert version("CONV_2D", tensor("int8"), tensor("int8", 4, 3, 3, 4)) == 6
    assert version("CONV_2D", float_data, tensor("int8", scales=8)) == 5
    assert version("CONV_2D", float_data, tensor("int8", scales=1)) == 2
    assert version("FULLY_CONNECTED", float_data, tensor("int8", scales=8), float_data) == 12
    assert version("TRANSPOSE", tensor("float32", 1, 2, 3, 4, 5)) == 4
    assert version("TRANSPOSE", tensor("float32", 1, 2, 3, 4, 5, 6)) == 6
    assert version("PAD", tensor("float32", 1, 2, 3, 4, 5)) == 4
    assert version("SUB", tensor("float32", 1, 2, 3, 4, 5), tensor("float32", 5)) == 3
    assert version("MUL", tensor("int8", scales=1), tensor("int8", scales=1)) == 2
    assert version("DEQUANTIZE", tensor("int8", scales=8)) == 5


def test_a_constant_that_two_nodes_share_is_stored_once() -> None:
    text = "g (float[2,64] x) => (float[2,64] y) { a = MatMul(x, w) b = MatMul(a, w) y = MatMul(b, v) }"
    same = weight(64, 64)
    made = lower(legalize(model_from(text, w=same, v=same.copy())))
    assert len([item for item in made.tensors() if item.data is not None and item.data.size == 4096]) == 1


def test_zeros_of_both_signs_are_two_constants() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { y = Div(x, a) z = Div(x, b) }"
    made = lower(legalize(model_from(text, a=np.array([0.0, 1], np.float32), b=np.array([-0.0, 1], np.float32))))
    assert len([item for item in made.tensors() if item.data is not None]) == 2
