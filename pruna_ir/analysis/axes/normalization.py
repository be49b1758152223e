"""Rules of operators that divide by what they compute over axes: norms and softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.elementwise import broadcast
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule, Relate
from pruna_ir.analysis.axes.signature import Signature
from pruna_ir.remarks import Reason

_BATCH = Signature("X[n c ...] S[c] B[c] M[c] V[c] -> Y[n c ...]")
_CHANNELS = Signature("X[n c ...] S[c] B[c] -> Y[n c ...]")


def normalizes(axes: Callable[[gs.Node, int], Iterable[int]]) -> Relate:
    """A rule for an operator that normalizes its first input over axes, told from the node and the rank.

    Scale and bias broadcast. Statistics, the further outputs, have size 1 on those axes.
    """

    def relate(at: NodeAxes) -> Reason | None:
        over = {axis % len(at.shape(0)) for axis in axes(at.node, len(at.shape(0)))}
        written = broadcast(at, [(at.shape(index), at.input(index)) for index in range(3) if at.has(index)])
        at.write(written)
        for index in range(1, len(at.node.outputs)):
            at.write([None if axis in over else labels for axis, labels in enumerate(written)], index)
        for axis in over:
            at.reduce(written[axis])
        return None

    return relate


def _batch_norm(at: NodeAxes) -> Reason | None:
    if at.node.attrs.get("training_mode", 0):
        return at.reason("is in training mode")
    return _BATCH(at)


def _instance_norm(at: NodeAxes) -> Reason | None:
    refusal = _CHANNELS(at)
    if refusal is None:
        for labels in at.input(0)[2:]:
            at.reduce(labels)
    return refusal


def _group_norm(at: NodeAxes) -> Reason | None:
    """Every group loses the channels of the same places; groups of one channel go as a whole."""
    channels, groups = at.input(0)[1], at.node.attrs["num_groups"]
    if channels is not None:
        if len(channels) > groups:
            at.equate(channels.reshape(groups, -1), channels.reshape(groups, -1)[0])
        at.reduce(channels)
    for index in (1, 2):
        at.equate(channels, at.input(index)[0])
    for labels in at.input(0)[2:]:
        at.reduce(labels)
    at.write(at.input(0))
    return None


def _recount(node: gs.Node, repair: Repair) -> None:
    channels = repair.output(1)
    if channels is not None and len(channels) == node.attrs["num_groups"]:
        node.attrs["num_groups"] = int(channels.sum())


def _last(node: gs.Node, rank: int) -> Iterable[int]:
    return range(node.attrs.get("axis", -1) % rank, rank)


def _one(node: gs.Node, rank: int) -> Iterable[int]:
    return [node.attrs.get("axis", -1)]


_LAYER = AxisRule(normalizes(_last))
_ALONG = AxisRule(normalizes(_one))
RULES = {
    "BatchNormalization": AxisRule(_batch_norm),
    "InstanceNormalization": AxisRule(_instance_norm),
    "GroupNormalization": AxisRule(_group_norm, repair=_recount),
    "LayerNormalization": _LAYER,
    "RMSNormalization": _LAYER,
    "SimplifiedLayerNormalization": _LAYER,
    "com.microsoft::SimplifiedLayerNormalization": _LAYER,
    "MeanVarianceNormalization": AxisRule(normalizes(lambda node, rank: node.attrs.get("axes", [0, 2, 3]))),
    "LpNormalization": _ALONG,
    "Softmax": _ALONG,
    "LogSoftmax": _ALONG,
    "Hardmax": _ALONG,
}
