"""Rules of operators that move axes, or trade channels for positions: Transpose, Squeeze, DepthToSpace and the like."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.remarks import Reason

_DATA, _AXES = 0, 1
_BATCH, _CHANNELS = 0, 1
_MIXED = "moves positions between this axis and the channels"


def _transpose(at: NodeAxes) -> None:
    axes = at.input(_DATA)
    order = at.node.attrs.get("perm") or range(len(axes))[::-1]
    at.write([axes[axis] for axis in order])


def _squeezed(node: gs.Node) -> set[int] | None:
    """The axes that a Squeeze removes; without a list of them, all of size 1, if every size is known."""
    shape = node.inputs[_DATA].shape
    if len(node.inputs) > _AXES and not node.inputs[_AXES].is_empty():
        listed = constant_of(node.inputs[_AXES])
        return None if listed is None else {int(axis) % len(shape) for axis in listed.values}
    if not all(isinstance(size, int) for size in shape):
        return None
    return {axis for axis, size in enumerate(shape) if size == 1}


def _squeeze(at: NodeAxes) -> Reason | None:
    removed = _squeezed(at.node)
    if removed is None:
        return at.reason("removes axes that are not known")
    at.write([labels for axis, labels in enumerate(at.input(_DATA)) if axis not in removed])
    return None


def _repair_squeeze(node: gs.Node, repair: Repair) -> None:
    """Name the axes: others may have size 1 now."""
    repair.set_constant(_AXES, np.array(sorted(_squeezed(node) or ()), np.int64))


def _unsqueeze(at: NodeAxes) -> Reason | None:
    listed, axes = at.constant(_AXES), list(at.input(_DATA))
    if listed is None:
        return at.reason("adds axes that are not known")
    rank = len(axes) + listed.size
    for axis in sorted(int(axis) % rank for axis in listed.ravel()):
        axes.insert(axis, None)
    at.write(axes)
    return None


def _depth_to_space(at: NodeAxes) -> None:
    """Blocks of channels become the positions of one channel: the same of every block goes together."""
    axes, block = at.input(_DATA), at.node.attrs["blocksize"] ** 2
    channels = axes[_CHANNELS]
    if channels is not None:
        columns = at.node.attrs.get("mode", "DCR") == "CRD"
        grid = channels.reshape(-1, block).T if columns else channels.reshape(block, -1)
        at.equate(grid, grid[:1])
        channels = grid[0]
    _write_planes(at, channels)


def _space_to_depth(at: NodeAxes) -> None:
    """Every channel comes once for each position in a block."""
    channels, block = at.input(_DATA)[_CHANNELS], at.node.attrs["blocksize"] ** 2
    if channels is None:
        channels = at.fixed(block, at.reason("makes it of positions"))
        _write_planes(at, channels)
    else:
        together = at.node.attrs.get("mode", "DCR") == "CRD"  # since operator set 28
        _write_planes(at, np.repeat(channels, block) if together else np.tile(channels, block))


def _write_planes(at: NodeAxes, channels: Labels) -> None:
    batch, _, *planes = at.input(_DATA)
    for labels in planes:
        at.protect(labels, at.reason(_MIXED))
    at.write([batch, channels, *(None for _ in planes)])


RULES: dict[str, AxisRule] = {
    "DepthToSpace": AxisRule(_depth_to_space),
    "SpaceToDepth": AxisRule(_space_to_depth),
    "Squeeze": AxisRule(_squeeze, repair=_repair_squeeze),
    "Transpose": AxisRule(_transpose),
    "Unsqueeze": AxisRule(_unsqueeze),
}
