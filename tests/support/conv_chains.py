"""Chains of Conv and BatchNormalization, and wrong rules that fold them."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.helper import make_node

from pruna_ir.model import Model
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

CHANNELS = 4


def conv_bn_chain(length: int, marked: Container[int] = ()) -> Model:
    """x[1,4,6,6] -> (Conv `conv_i` -> BatchNormalization `bn_i`) * length -> y; the values keep their size.

    The BatchNormalizations with `marked` numbers state an epsilon: `ForgetMean` folds these wrongly.
    """
    generator = np.random.default_rng(0)
    nodes, constants = [], {}
    for index in range(length):
        source, target = f"y{index}" if index else "x", f"y{index + 1}" if index + 1 < length else "y"
        fan_in = CHANNELS * 9
        constants[f"w{index}"] = generator.standard_normal((CHANNELS, CHANNELS, 3, 3)) / np.sqrt(fan_in)
        constants[f"gamma{index}"] = generator.uniform(0.9, 1.1, CHANNELS)
        constants[f"beta{index}"] = generator.normal(0, 0.1, CHANNELS)
        constants[f"mean{index}"] = generator.normal(0, 0.5, CHANNELS)
        constants[f"variance{index}"] = generator.uniform(0.5, 1.0, CHANNELS)
        statistics = [f"{name}{index}" for name in ("gamma", "beta", "mean", "variance")]
        epsilon: dict[str, Any] = {"epsilon": 1e-3} if index in marked else {}
        nodes += [
            make_node("Conv", [source, f"w{index}"], [f"c{index}"], name=f"conv_{index}", pads=[1, 1, 1, 1]),
            make_node("BatchNormalization", [f"c{index}", *statistics], [target], name=f"bn_{index}", **epsilon),
        ]
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "chain",
        [onnx.helper.make_tensor_value_info("x", kind, [1, CHANNELS, 6, 6])],
        [onnx.helper.make_tensor_value_info("y", kind, [1, CHANNELS, 6, 6])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return Model.load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))


@dataclass(frozen=True)
class ForgetMean(Rule):
    """Fold a BatchNormalization whose epsilon is not the default into the Conv before it, as if its mean were zero."""

    name: ClassVar[str] = "forget-mean"
    roots: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    def match(self, root: gs.Node) -> Match | None:
        """Conv -> BatchNormalization with an epsilon of its own."""
        conv = producer(root.inputs[0], "Conv")
        return {"conv": conv, "bn": root} if conv is not None and "epsilon" in root.attrs else None

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        """Nothing stands against it: the rule is wrong."""
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        """Scale the weights right, and take the shift for the bias."""
        conv, bn = match["conv"], match["bn"]
        gamma, beta, _, variance = (tensor.values for tensor in bn.inputs[1:])
        scale = gamma / np.sqrt(variance + bn.attrs["epsilon"])
        weight = conv.inputs[1].values * scale.reshape(-1, 1, 1, 1)
        rewriter.set_input(conv, 1, rewriter.constant("weight", weight.astype(np.float32)))
        rewriter.set_input(conv, 2, rewriter.constant("bias", beta))
        rewriter.take_over(conv, bn.outputs[0])
        rewriter.erase(bn)


class Breaks(ForgetMean):
    """The same, but it raises an exception."""

    name: ClassVar[str] = "breaks"

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        """Fail."""
        raise ValueError("no weights today")
