"""What an operator says about axes: how those of its inputs and outputs relate, and how it follows a cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pruna_ir.remarks import Reason

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from pruna_ir.analysis.axes.node_axes import NodeAxes
    from pruna_ir.analysis.axes.repair import Repair

Relate = Callable[["NodeAxes"], Reason | None]


@dataclass(frozen=True)
class AxisRule:
    """The rule of one operator.

    `relate` reads the labels of the inputs, says which go together, and writes those of the outputs; or it returns why
    it cannot, and then every axis that the node touches is protected with that reason.
    `settle` runs after every node of the graph has been related, in graph order, and may say more about labels that
    exist: it can ask which are protected by then.
    `repair` changes the node's attributes and shape constants after indices were cut. Constants that carry labels have
    been sliced by then; nodes without cut axes are not asked.
    """

    relate: Relate
    settle: Callable[[NodeAxes], None] | None = None
    repair: Callable[[gs.Node, Repair], None] | None = None


def barrier(why: str) -> AxisRule:
    """A rule that protects all that a node touches; `why` continues a sentence: "`topk_3` (TopK) ..."."""
    return AxisRule(lambda at: at.reason(why))
