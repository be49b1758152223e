"""LpPool and GlobalLpPool as means of powers."""

from __future__ import annotations

import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.decomposition.write_out_lp_pool import WriteOutLpPool
from pruna_ir.testing import check_pass, missed, ops


def pooling(call: str, shape: str = "2,3,6,7", opset: int = 18) -> Model:
    """One pooling."""
    return model_from(f"g (float[{shape}] x) => (float[a,b,c,d] y) {{ y = {call}(x) }}", opset=opset)


@pytest.mark.parametrize(
    "attributes",
    ["kernel_shape=[2,3]", "kernel_shape=[3,3], p=3", "kernel_shape=[2,2], p=1, strides=[2,2], pads=[0,1,1,0]"],
)
def test_fires(attributes: str) -> None:
    after, result = check_pass(WriteOutLpPool(), pooling(f"LpPool<{attributes}>"))
    assert result.counts == {"write-out-lp-pool": 1}
    assert "AveragePool" in ops(after)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_over_all(p: int) -> None:
    after, _ = check_pass(WriteOutLpPool(), pooling(f"GlobalLpPool<p={p}>"))
    assert "GlobalAveragePool" in ops(after)


def test_windows_past_the_end_stay() -> None:
    after, result = check_pass(WriteOutLpPool(), pooling("LpPool<kernel_shape=[4,4], strides=[3,3], ceil_mode=1>"))
    assert ops(after) == ["LpPool"]
    assert missed(result) == ["windows go past the end"]


def test_unknown_shapes_stay() -> None:
    after, result = check_pass(WriteOutLpPool(), pooling("GlobalLpPool", "n,3,6,7"))
    assert ops(after) == ["GlobalLpPool"]
    assert missed(result) == ["the shape of `x` is not known"]
