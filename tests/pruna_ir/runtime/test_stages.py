"""Running a model piece by piece."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx_text import model_from
from small_graphs import build, samples, small_net

from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.capture import with_outputs
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.stages import Stages

BATCHES = [{"x": samples(4)}, {"x": samples(16)[4:7]}]


def quantized() -> Model:
    model = small_net()
    PassManager.parse("quantize<guard=false>").run(model, data=samples())
    return model


@pytest.mark.parametrize("model", [small_net(), quantized()], ids=["float", "quantized"])
def test_values_are_those_of_the_whole_model(model: Model) -> None:
    proto = model.to_proto()
    names = [name for node in proto.graph.node for name in node.output if node.op_type != "DequantizeLinear"]
    whole = Session(with_outputs(proto, names), optimize=False)
    stages = Stages(proto, BATCHES)
    for name in names[::2]:
        for feeds, found in zip(BATCHES, stages.run_to(name), strict=True):
            np.testing.assert_array_equal(found, whole.run(feeds)[name])


def test_shift_is_seen_by_what_comes_after() -> None:
    model = model_from("g (float[n,3,8,8] x) => (float[n,3,8,8] y) { a = Neg(x) b = Relu(a) y = Add(b, a) }")
    stages = Stages(model.to_proto(), BATCHES)
    list(stages.run_to("a"))
    stages.shift("a", np.full((1, 3, 1, 1), 2.0, np.float32))
    for feeds, found in zip(BATCHES, stages.run_to("y"), strict=True):
        shifted = 2.0 - feeds["x"]
        np.testing.assert_allclose(found, np.maximum(shifted, 0) + shifted, rtol=1e-6)


def test_going_back_is_an_error() -> None:
    stages = Stages(small_net().to_proto(), BATCHES)
    list(stages.run_to("k"))
    with pytest.raises(ValueError, match="before the last stop"):
        list(stages.run_to("c1"))


def test_what_nobody_reads_any_more_is_dropped_and_integers_are_kept_as_such() -> None:
    stages = Stages(quantized().to_proto(), BATCHES)
    list(stages.run_to("k"))
    assert {name: value.dtype.name for name, value in stages._live[0].items()} == {
        "r1_q": "uint8",
        "c2_q": "uint8",
    }


def test_subgraphs_read_what_was_kept() -> None:
    then, other = (
        onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["a"], [op])], op, [], [onnx.helper.make_tensor_value_info(op, 1, None)]
        )
        for op in ("Neg", "Abs")
    )
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["a"]),
        onnx.helper.make_node("Tanh", ["a"], ["t"]),
        onnx.helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other),
        onnx.helper.make_node("Add", ["y", "t"], ["z"]),
    ]
    model = build(nodes, {"x": ["n", 3, 8, 8]}, ["z"], {"flag": np.array(True)})
    stages = Stages(model.to_proto(), BATCHES)
    list(stages.run_to("t"))
    for feeds, found in zip(BATCHES, stages.run_to("z"), strict=True):
        a = np.maximum(feeds["x"], 0)
        np.testing.assert_allclose(found, np.tanh(a) - a, atol=1e-6)
