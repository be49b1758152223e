"""How a shape that a node reads as its target follows a cut of the node's output."""

from __future__ import annotations

import numpy as np

from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.analysis.axes.repair import Repair


def follow_output(repair: Repair, index: int) -> None:
    """Change the target shape, input `index`, to the new sizes of the first output.

    Entries that stand for a size without saying it (0 and -1 of Reshape, 1 of Expand) are right as they are.
    """
    node, rank = repair.node, len(repair.node.outputs[0].shape)
    held = constant_of(node.inputs[index])
    entries = None if held is None else np.asarray(held.values)
    length = node.inputs[index].shape[0]
    changed = {}
    for axis in range(rank):
        mask, entry = repair.output(axis), axis - (rank - length)  # Expand aligns shapes at their ends
        if mask is not None and not mask.all() and entry >= 0 and (entries is None or entries[entry] == len(mask)):
            changed[entry] = int(mask.sum())
    repair.set_sizes(index, changed)
