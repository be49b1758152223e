"""Rules of operators that compute each element of their output from the elements at its place, which broadcast."""

from __future__ import annotations

from collections.abc import Sequence

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.remarks import Reason

_UNARY = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Elu Erf Exp Floor"
    " Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink"
    " Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu com.microsoft::Gelu"
    " com.microsoft::QuickGelu"
)
_SEVERAL = (
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max"
    " Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor"
)


def broadcast(at: NodeAxes, operands: Sequence[tuple[Sequence[int | str | None], Sequence[Labels]]]) -> list[Labels]:
    """The labels of what operands, each a shape and its labels, broadcast to; those of one place go together.

    An axis of size 1 says nothing of the others. One whose size is not known may be 1, or may not: what it meets stays.
    """
    rank = max((len(shape) for shape, _ in operands), default=0)
    written: list[Labels] = []
    for place in range(-rank, 0):
        met = [(shape[place], labels[place]) for shape, labels in operands if len(shape) >= -place]
        sizes = [labels for size, labels in met if size != 1]
        first = sizes[0] if sizes else None
        for labels in sizes[1:]:
            if first is not None or labels is not None:
                at.equate(first, labels)
        written.append(None if any(labels is None for labels in sizes) else first)
    return written


def broadcast_inputs(at: NodeAxes) -> Reason | None:
    """All inputs broadcast to every output."""
    operands = [(at.shape(index), at.input(index)) for index in range(len(at.node.inputs)) if at.has(index)]
    axes = broadcast(at, operands)
    for index in range(len(at.node.outputs)):
        at.write(axes, index)
    return None


def first_input(at: NodeAxes) -> Reason | None:
    """The outputs are as the first input; no axis of the others matters: scalars, or an example of a type."""
    axes = [at.input(index) for index in range(len(at.node.inputs)) if at.has(index)]
    for index in range(len(at.node.outputs)):
        at.write(axes[0], index)
    return None


def _dropout(at: NodeAxes) -> Reason | None:
    training = at.constant(2)
    if at.has(2) and (training is None or training.any()):
        return at.reason("is in training mode")
    return first_input(at)


RULES = {
    "Dropout": AxisRule(_dropout),
    **dict.fromkeys(_UNARY.split(), AxisRule(first_input)),
    **dict.fromkeys(_SEVERAL.split(), AxisRule(broadcast_inputs)),
}
