"""Rules of operators whose output numbers, orders or counts indices: a cut would change what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.rule import AxisRule, barrier

_DATA = 0
_BARRIERS = {
    "has indices that are not known": "GatherElements GatherND ScatterElements ScatterND",
    "has an output whose size depends on values": "Compress NonZero Unique",
    "compares boxes": "NonMaxSuppression",
    "makes an axis of the numbers that it reads": "OneHot",
    "makes a random or a windowed signal": "Bernoulli DFT EyeLike MelWeightMatrix Multinomial STFT",
    "orders steps by lengths": "ReverseSequence",
    "inverts a matrix or its determinant": "Det Inverse",
}


def _along(axes: Callable[[gs.Node], Iterable[int]], why: str) -> AxisRule:
    """A rule for an operator that keeps some axes whole and hands the others on, one to one."""

    def relate(at: NodeAxes) -> None:
        labels = at.input(_DATA)
        whole = {axis % len(labels) for axis in axes(at.node)}
        for axis in whole:
            at.protect(labels[axis], at.reason(why))
        kept = at.node.op not in ("ArgMax", "ArgMin") or at.node.attrs.get("keepdims", 1)
        for index in range(len(at.node.outputs)):
            written: list[Labels] = []
            for axis, held in enumerate(labels):
                if kept or axis not in whole:
                    written.append(None if axis in whole else held)
            at.write(written, index)

    return AxisRule(relate)


def _first(node: gs.Node) -> Iterable[int]:
    return [node.attrs.get("axis", 0)]


def _last(node: gs.Node) -> Iterable[int]:
    return [node.attrs.get("axis", -1)]


RULES: dict[str, AxisRule] = {
    **{op: barrier(why) for why, ops in _BARRIERS.items() for op in ops.split()},
    "ArgMax": _along(_first, "numbers the indices of this axis"),
    "ArgMin": _along(_first, "numbers the indices of this axis"),
    "TopK": _along(_last, "orders the indices of this axis"),
    "Trilu": _along(lambda node: [-2, -1], "tells its indices apart by their numbers"),
}
