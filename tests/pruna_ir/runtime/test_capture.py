"""Inner tensors: right values, whatever the rounds, and the model left alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from pruna_ir.runtime import Session, capture, float_tensors, with_outputs, written_tensors
from pruna_ir.runtime.capture import partition

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x) => (float[N, 4] y)
{
    a = Relu (x)
    b = Exp (a)
    shape = Shape (b)
    c = Reshape (b, shape)
    y = Neg (c)
}
"""


@pytest.fixture
def proto() -> onnx.ModelProto:
    return onnx.parser.parse_model(TEXT)


def batches(count: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [{"x": generator.standard_normal((2, 4), np.float32)} for _ in range(count)]


def test_tensors_that_nodes_write(proto: onnx.ModelProto) -> None:
    assert written_tensors(proto) == ["a", "b", "shape", "c", "y"]
    assert float_tensors(proto) == ["a", "b", "c", "y"]
    assert float_tensors(onnx.shape_inference.infer_shapes(proto)) == ["a", "b", "c", "y"]


def test_with_outputs_copies(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString()
    copy = with_outputs(proto, ["x", "b", "y"])
    assert [value.name for value in copy.graph.output] == ["b", "y"]
    assert proto.SerializeToString() == before


@pytest.mark.parametrize("limit", [1 << 30, 64, 1])
@pytest.mark.parametrize("optimize", [True, False])
def test_values_do_not_depend_on_the_rounds(proto: onnx.ModelProto, limit: int, optimize: bool) -> None:
    seen: dict[tuple[int, str], np.ndarray] = {}
    calls = []

    def receive(batch: int, values: dict[str, np.ndarray]) -> None:
        calls.append(batch)
        for name, value in values.items():
            assert (batch, name) not in seen
            seen[batch, name] = value.copy()

    feeds = batches(3)
    assert capture(proto, iter(feeds), ["a", "b", "y"], receive, limit=limit, optimize=optimize) == 3
    rounds = {1 << 30: 1, 64: 2, 1: 3}[limit]
    assert len(calls) == 3 * rounds
    assert len(seen) == 9
    for index, feed in enumerate(feeds):
        np.testing.assert_array_equal(seen[index, "a"], np.maximum(feed["x"], 0))
        np.testing.assert_array_equal(seen[index, "y"], Session(proto).run(feed)["y"])


def test_no_batch_is_no_call(proto: onnx.ModelProto) -> None:
    assert capture(proto, [], ["a"], lambda batch, values: pytest.fail("called")) == 0


def test_partition_keeps_the_limit_and_the_order() -> None:
    sizes = {"a": 3, "b": 4, "c": 4, "d": 20, "e": 1}
    assert partition(sizes, 8) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert partition(sizes, 100) == [["a", "b", "c", "d", "e"]]
    assert partition({}, 8) == []
