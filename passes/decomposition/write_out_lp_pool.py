"""LpPool and GlobalLpPool as means of powers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body
from pruna_ir.passes.fusion.static_shapes import static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class WriteOutLpPool(Rule):
    """Write a pooling by the p-norm as the root of the mean of powers, times how many they are.

        before   LpPool<p=2>(x)
        after    Pow(Mul(AveragePool<count_include_pad=1>(Pow(Abs(x), 2)), 9), 1/2)

    Does not fire if a shape is not known, nor on windows that go past the end (`ceil_mode`).
    """

    name: ClassVar[str] = "write-out-lp-pool"
    roots: ClassVar[tuple[str, ...]] = ("LpPool", "GlobalLpPool")

    def match(self, root: gs.Node) -> Match | None:
        return {"node": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        node = match["node"]
        if static_shape(node.inputs[0]) is None:
            return Reason("the shape of `{}` is not known", node.inputs[0].name)
        if node.attrs.get("ceil_mode", 0):
            return Reason("windows go past the end")
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        body, power = Body(rewriter, node), int(node.attrs.get("p", 2))
        x = body("Abs", node.inputs[0])
        dtype = x.dtype
        powers = x if power == 1 else body("Pow", x, body.constant(power, dtype))
        if node.op == "GlobalLpPool":
            count = math.prod(x.shape[2:])
            means = body("GlobalAveragePool", powers)
        else:
            count = math.prod(node.attrs["kernel_shape"])
            attributes = {name: value for name, value in node.attrs.items() if name not in ("p", "ceil_mode")}
            means = body("AveragePool", powers, count_include_pad=1, **attributes)
        total = body("Mul", means, body.constant(count, dtype))
        body.finish(total if power == 1 else body("Pow", total, body.constant(1 / power, dtype)))
