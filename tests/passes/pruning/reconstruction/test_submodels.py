"""Some nodes of a model as a model of their own."""

from __future__ import annotations

import numpy as np
import onnx
from small_graphs import samples, small_net

from pruna_ir.passes.pruning.reconstruction.submodels import submodel
from pruna_ir.runtime.capture import with_outputs
from pruna_ir.runtime.session import Session


def test_parts_give_what_the_whole_gives() -> None:
    proto = small_net().to_proto()
    wanted = Session(with_outputs(proto, ["r1", "k", "y"])).run({"x": samples(3)})
    behind = [node for node in proto.graph.node if node.output[0] not in ("c1", "r1")]
    part = Session(submodel(proto, behind, {"r1": wanted["r1"], "x": samples(3)}, ["k", "y"]))
    assert [spec.name for spec in part.inputs] == ["r1"]
    for name, values in part.run({"r1": wanted["r1"]}).items():
        np.testing.assert_allclose(values, wanted[name], rtol=1e-5, atol=1e-6)


def test_more_constants_come_before_values_of_their_name() -> None:
    proto = small_net().to_proto()
    last = onnx.NodeProto()
    last.CopyFrom(proto.graph.node[-1])
    last.input[2] = "other"
    features = np.ones((2, 8), np.float32)
    plain = Session(submodel(proto, [proto.graph.node[-1]], {"f": features}, ["y"])).run({"f": features})["y"]
    other = onnx.numpy_helper.from_array(np.arange(10, dtype=np.float32), "other")
    model = submodel(proto, [last], {"f": features, "other": features}, ["y"], [other])
    bias = onnx.numpy_helper.to_array(next(one for one in proto.graph.initializer if one.name == "b3"))
    np.testing.assert_allclose(Session(model).run({"f": features})["y"], plain - bias + np.arange(10), rtol=1e-5)
    assert [value.name for value in model.graph.input] == ["f"]
