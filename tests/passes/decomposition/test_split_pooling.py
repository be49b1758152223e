"""Pooling over three axes as two poolings."""

from __future__ import annotations

import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.decomposition.split_pooling import SplitPooling
from pruna_ir.testing import check_pass, missed, ops


def pooling(call: str, outputs: str = "y", shape: str = "2,3,5,6,7") -> Model:
    """One pooling; ONNX says nothing of its results here."""
    values = ", ".join(f"{'float' if name == 'y' else 'int64'}[a,b,c,d,e] {name}" for name in outputs.split(", "))
    return model_from(f"g (float[{shape}] x) => ({values}) {{ {outputs} = {call}(x) }}")


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes",
    [
        "kernel_shape=[2,3,2]",
        "kernel_shape=[2,3,2], strides=[2,1,2], pads=[1,0,1,0,1,1]",
        "kernel_shape=[2,3,2], strides=[2,2,2], ceil_mode=1",
        'kernel_shape=[2,3,2], strides=[2,2,2], auto_pad="SAME_UPPER"',
    ],
)
def test_fires(op: str, attributes: str) -> None:
    after, result = check_pass(SplitPooling(), pooling(f"{op}<{attributes}>"))
    assert result.counts == {"split-pooling": 1}
    assert ops(after) == ["Reshape", op, "Reshape", op, "Reshape"]


def test_padding_that_counts() -> None:
    call = "AveragePool<kernel_shape=[2,3,2], pads=[1,0,1,0,1,1], count_include_pad=1>"
    check_pass(SplitPooling(), pooling(call))


def test_dilations() -> None:
    check_pass(SplitPooling(), pooling("MaxPool<kernel_shape=[2,2,2], dilations=[1,2,3]>"))


def test_two_axes_stay() -> None:
    model = model_from("g (float[2,3,5,6] x) => (float[a,b,c,d] y) { y = MaxPool<kernel_shape=[2,2]>(x) }")
    assert ops(check_pass(SplitPooling(), model)[0]) == ["MaxPool"]


def test_places_stay() -> None:
    after, result = check_pass(SplitPooling(), pooling("MaxPool<kernel_shape=[2,3,2]>", "y, places"))
    assert ops(after) == ["MaxPool"]
    assert missed(result) == ["the places are asked for"]


def test_unknown_shapes_stay() -> None:
    after, result = check_pass(SplitPooling(), pooling("MaxPool<kernel_shape=[2,3,2]>", shape="n,3,5,6,7"))
    assert ops(after) == ["MaxPool"]
    assert missed(result) == ["the shape of `x` is not known"]
