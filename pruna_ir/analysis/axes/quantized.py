"""Rules of operators on integers: scales and zero points of an axis go with its indices."""

from __future__ import annotations

from collections.abc import Sequence

from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.analysis.axes.signature import Signature
from pruna_ir.remarks import Reason

_DATA, _SCALE, _ZERO = 0, 1, 2


def _linear(at: NodeAxes) -> Reason | None:
    """One scale for all, one for each index of an axis, or one for each block of an axis."""
    axes = at.input(_DATA)
    for index in (_SCALE, _ZERO):
        if at.has(index) and at.node.attrs.get("block_size", 0):
            _tie_blocks(at, index)
        elif _is_several(at, index):
            at.equate(axes[at.node.attrs.get("axis", 1)], at.input(index)[0])
    at.write(axes)
    return None


def _tie_blocks(at: NodeAxes, index: int) -> None:
    blocked = at.node.attrs.get("axis", 1) % len(at.shape(_DATA))
    for axis, (labels, scales) in enumerate(zip(at.input(_DATA), at.input(index), strict=True)):
        if axis == blocked:
            for each in (labels, scales):
                at.protect(each, at.reason("has a scale for each block of it"))
        else:
            at.equate(labels, scales)


def _dynamic(at: NodeAxes) -> None:
    """The scale comes from the extremes of all values."""
    for labels in at.input(_DATA):
        at.reduce(labels)
    for index, axes in enumerate((at.input(_DATA), (), ())):
        at.write(axes, index)


def _layer(form: str, single: Sequence[int], each: Sequence[int]) -> AxisRule:
    """A layer by the signature of its operands, of which `single` are one number and `each` may be one a column."""

    def relate(at: NodeAxes) -> Reason | None:
        if at.node.attrs.get("group", 1) != 1:
            return at.reason("has groups, which are not cut in integers")
        if any(_is_several(at, index) for index in single):
            return at.reason("has several scales where it is cut by one")
        spelled = form
        for index in each:
            spelled = spelled.replace(f"@{index}", "o" if _is_several(at, index) else "*")
        return Signature(spelled)(at)

    return AxisRule(relate)


def _is_several(at: NodeAxes, index: int) -> bool:
    return at.has(index) and at.shape(index) not in ((), (1,))


_LINEAR = AxisRule(_linear)
RULES: dict[str, AxisRule] = {
    "ConvInteger": _layer("X[n c *] W[o c *] xz[*] wz[@3] -> Y[n o *]", (2,), (3,)),
    "DequantizeLinear": _LINEAR,
    "DynamicQuantizeLinear": AxisRule(_dynamic),
    "MatMulInteger": _layer("A[... m k] B[k o] az[*] bz[@3] -> Y[... m o]", (2,), (3,)),
    "QLinearConv": _layer(
        "X[n c *] xs[*] xz[*] W[o c *] ws[@4] wz[@5] ys[*] yz[*] B[o] -> Y[n o *]", (1, 2, 6, 7), (4, 5)
    ),
    "QLinearMatMul": _layer(
        "A[... m k] as[*] az[*] B[k o] bs[@4] bz[@5] ys[*] yz[*] -> Y[... m o]", (1, 2, 6, 7), (4, 5)
    ),
    "QuantizeLinear": _LINEAR,
}
