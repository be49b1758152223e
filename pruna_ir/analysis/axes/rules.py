"""The rules of all operators."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes import (
    attention,
    choosing,
    einsum,
    elementwise,
    joining,
    moving,
    normalization,
    quantized,
    recurrent,
    reductions,
    repeating,
    reshaping,
    sampling,
    selecting,
    weighted,
)
from pruna_ir.analysis.axes.rule import AxisRule, barrier
from pruna_ir.model.scoping import bodies_of
from pruna_ir.pipeline.rules import op_key

RULES: dict[str, AxisRule] = {
    **weighted.RULES,
    **elementwise.RULES,
    **normalization.RULES,
    **reductions.RULES,
    **joining.RULES,
    **moving.RULES,
    **reshaping.RULES,
    **selecting.RULES,
    **repeating.RULES,
    **einsum.RULES,
    **attention.RULES,
    **recurrent.RULES,
    **quantized.RULES,
    **choosing.RULES,
    **sampling.RULES,
}
_UNKNOWN = barrier("is an operator without an axis rule")
_BODIES = barrier("has bodies, which are not cut")


def rule_of(node: gs.Node) -> AxisRule:
    """The rule of a node; that of operators without one protects all that they touch."""
    if bodies_of(node):
        return _BODIES
    return RULES.get(op_key(node), _UNKNOWN)
