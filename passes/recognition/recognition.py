"""What recognition rules share: a pattern, the operator that it stands for, and what the types and shapes must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.pipeline.patterns import Pattern, find, misfit, replace
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason

FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Recognition(Rule):
    """A rule that puts one node, of the operator that `makes` names, in the place of what `pattern` finds.

    `refusal` says what else must hold; `inputs` and `attributes` are those of the new node.
    """

    pattern: ClassVar[Pattern]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "pattern" in vars(cls):
            cls.roots = cls.pattern.roots

    def possible(self, operators: Set[str]) -> bool:
        return self.pattern.possible(operators)

    def match(self, root: gs.Node) -> Match | None:
        return find(self.pattern, root)

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        return misfit(match, rewriter) or self.refusal(match)

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        if self.makes is None:
            raise TypeError(f"{self.name} does not say what it makes")
        replace(match, rewriter, self.makes[0], self.inputs(match, rewriter), self.attributes(match))

    def refusal(self, match: Match) -> Reason | None:
        """Why the operator would not compute the same."""
        return elementwise(match)

    def inputs(self, match: Match, rewriter: Rewriter) -> Sequence[gs.Tensor]:
        """The inputs of the new node."""
        return [match["x"]]

    def attributes(self, match: Match) -> Mapping[str, Any]:
        """The attributes of the new node."""
        return {}


def elementwise(match: Match, dtypes: Sequence[str] = ("float16", "float32")) -> Reason | None:
    """Why what a match computes is not of the type and shape of its `x`.

    A constant of one element adds dimensions if it has more of them than `x`.
    """
    x = match["x"]
    return unsuitable(x, dtypes) or _widened(x, match["nodes"])


def unsuitable(tensor: gs.Tensor, dtypes: Sequence[str] = FLOATS) -> Reason | None:
    """Why an operator for floating-point numbers cannot take a tensor."""
    kind = tensor.dtype
    if kind is None or isinstance(kind, int) or np.dtype(kind).name not in dtypes:
        return Reason("`{}` holds {}, not {}", tensor.name, kind, " or ".join(dtypes))
    return None


def _widened(x: gs.Tensor, nodes: Sequence[gs.Node]) -> Reason | None:
    constants = [tensor for node in nodes for tensor in node.inputs if isinstance(tensor, gs.Constant)]
    rank = 0 if x.shape is None else len(x.shape)
    for constant in constants:
        if len(constant.shape) > rank:
            shape = "unknown shape" if x.shape is None else f"shape {list(x.shape)}"
            return Reason(
                "`{}` of shape {} adds dimensions to `{}` of {}", constant.name, list(constant.shape), x.name, shape
            )
    return None
