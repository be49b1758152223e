"""Pooling with gaps in its windows, place by place."""

from __future__ import annotations

import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.decomposition.write_out_dilated_pooling import WriteOutDilatedPooling
from pruna_ir.testing import check_pass, missed, ops

PAST_THE_END = "windows go past the end, or are padded automatically"


def pooling(call: str, result: str, x: str = "float[2,3,9,10]") -> Model:
    """One pooling."""
    return model_from(f"g ({x} x) => ({result} y) {{ y = {call}(x) }}", opset=19)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ("kernel_shape=[2,2], dilations=[2,2]", "7,8"),
        ("kernel_shape=[3,2], dilations=[2,3], strides=[2,1]", "3,7"),
        ("kernel_shape=[2,2], dilations=[3,2], pads=[1,0,1,1]", "8,9"),
        ("kernel_shape=[2,2], dilations=[3,2], pads=[1,0,1,1], strides=[2,2]", "4,5"),
    ],
)
def test_fires(op: str, attributes: str, size: str) -> None:
    after, result = check_pass(WriteOutDilatedPooling(), pooling(f"{op}<{attributes}>", f"float[2,3,{size}]"))
    assert result.counts == {"write-out-dilated-pooling": 1}
    assert op not in ops(after)


def test_padding_that_counts() -> None:
    call = "AveragePool<kernel_shape=[2,2], dilations=[3,2], pads=[1,0,1,1], count_include_pad=1>"
    check_pass(WriteOutDilatedPooling(), pooling(call, "float[2,3,8,9]"))


def test_integers() -> None:
    call = "MaxPool<kernel_shape=[2,2], dilations=[2,2], pads=[1,1,1,1]>"
    check_pass(WriteOutDilatedPooling(), pooling(call, "int8[2,3,9,10]", "int8[2,3,9,10]"))


@pytest.mark.parametrize(
    ("call", "size", "reasons"),
    [
        ("kernel_shape=[2,2]", "8,9", []),
        ("kernel_shape=[2,2], dilations=[2,2], ceil_mode=1", "7,8", [PAST_THE_END]),
        ('kernel_shape=[2,2], dilations=[2,2], auto_pad="SAME_UPPER"', "9,10", [PAST_THE_END]),
        ("kernel_shape=[8,7], dilations=[1,2], pads=[5,5,5,5]", "12,8", ["a window has 56 places"]),
    ],
)
def test_stays(call: str, size: str, reasons: list[str]) -> None:
    after, result = check_pass(WriteOutDilatedPooling(), pooling(f"MaxPool<{call}>", f"float[2,3,{size}]"))
    assert ops(after) == ["MaxPool"]
    assert missed(result) == reasons


def test_unknown_shapes_stay() -> None:
    model = pooling("MaxPool<kernel_shape=[2,2], dilations=[2,2]>", "float[n,3,7,8]", "float[n,3,9,10]")
    after, result = check_pass(WriteOutDilatedPooling(), model)
    assert ops(after) == ["MaxPool"]
    assert missed(result) == ["the shape of `x` is not known"]
