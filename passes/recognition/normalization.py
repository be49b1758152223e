"""Normalization written as arithmetic: its patterns, and the axes that it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.parameters import not_foldable
from pruna_ir.passes.recognition.idioms import inverse_root, over_root, plus, square
from pruna_ir.passes.recognition.recognition import Recognition, elementwise
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Scalar, Value, maybe, scalar
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match
from pruna_ir.remarks import Reason

_X = Value("x")

_PARAMETERS = ("scale", "bias")


def _mean(of: Pattern, name: str) -> Pattern:
    return Op("ReduceMean", of, ..., name=name)


_MEAN = _mean(_X, "mean")
_CENTERED = Op("Sub", _X, _MEAN)
# Of the deviations (from the mean as computed once more), or as the difference of two means, which cancels digits that
# the operators keep. Some exporters reduce to fewer dimensions and restore them.
_DEVIATIONS = OneOf(_CENTERED, Op("Sub", _X, _mean(_X, "mean_again")))
_DIFFERENCE = Op("Sub", _mean(square(_X), "variance"), square(_MEAN))
_VARIANCE = OneOf(
    maybe("Reshape", _mean(square(_DEVIATIONS), "variance"), ..., name="restored"),
    _DIFFERENCE,
    Op("Max", _DIFFERENCE, Scalar(0)),
)


def _with_epsilon(variance: Pattern) -> Pattern:
    return plus(variance, Scalar(name="epsilon"))


def _factor(variance: Pattern) -> Pattern:
    """The scale over the standard deviation: how JAX and TensorFlow apply both at once."""
    return Op("Mul", inverse_root(_with_epsilon(variance)), Value("scale"))


# x without its mean, over its standard deviation; the same with a scale, and with scale and bias in TensorFlow's form.
STANDARDIZED = over_root(_CENTERED, _with_epsilon(_VARIANCE))
SCALED = Op("Mul", _CENTERED, _factor(_VARIANCE))
SHIFTED = Op("Add", Op("Mul", _X, _factor(_VARIANCE)), Op("Sub", Value("bias"), Op("Mul", _MEAN, _factor(_VARIANCE))))
# x over the root of its mean square, and the same with a scale.
_MEAN_SQUARE = _mean(square(_X), "variance")
OVER_MEAN_SQUARE = OneOf(over_root(_X, _with_epsilon(_MEAN_SQUARE)), Op("Mul", _X, _factor(_MEAN_SQUARE)))


def normalized_axes(match: Match) -> list[int] | Reason:
    """The axes that a match of one of the patterns normalizes over, or why no operator does that."""
    x = match["x"]
    if x.shape is None:
        return Reason("the shape of `{}` is not known", x.name)
    restored = match.get("restored")
    found = [
        reduced_axes(match[name], len(x.shape), keeps=name != "variance" or restored is None)
        for name in ("mean", "mean_again", "variance")
        if name in match
    ]
    axes = found[0]
    problem = next((other for other in found if isinstance(other, Reason)), None)
    if problem is not None or isinstance(axes, Reason):
        return problem or axes
    if any(other != axes for other in found):
        return Reason("the mean is over axes {}, the variance over {}", axes, found[-1])
    if restored is not None and not _restores(restored.outputs[0], x, axes):
        name, shape = restored.outputs[0].name, restored.outputs[0].shape
        return Reason("`{}` of shape {} is not known to be `{}` reduced", name, shape, x.name)
    return elementwise(match) or axes


def is_spatial(match: Match, axes: list[int]) -> bool:
    """Whether a match is over all axes behind the channels: what image networks do, and others hardly do."""
    shape = match["x"].shape
    return axes == list(range(2, len(shape))) and (len(shape) > 3 or not isinstance(shape[-1], int))


@dataclass(frozen=True)
class OverLastAxes(Recognition):
    """Base of rules for the operators that normalize over the last axes, and have a scale of their shape."""

    def refusal(self, match: Match) -> Reason | None:
        axes = normalized_axes(match)
        shape = axes if isinstance(axes, Reason) else _trailing_shape(match["x"], axes)
        if isinstance(shape, Reason):
            return shape
        match["shape"] = shape
        parameters = [match[name] for name in _PARAMETERS if name in match]
        return not_foldable(parameters) or next(filter(None, (_misshapen(one, shape) for one in parameters)), None)

    def inputs(self, match: Match, rewriter: Rewriter) -> Sequence[gs.Tensor]:
        x, shape = match["x"], match["shape"]
        if "scale" not in match:
            return [x, rewriter.constant(f"{x.name}_scale", np.ones(shape, x.dtype))]
        given = [match[name] for name in _PARAMETERS if name in match]
        values = [np.broadcast_to(_trimmed(one.values, len(shape)), shape) for one in given]
        return [x, *(rewriter.constant(old.name, new) for old, new in zip(given, values, strict=True))]

    def attributes(self, match: Match) -> Mapping[str, Any]:
        return {"axis": -len(match["shape"]), "epsilon": scalar(match["epsilon"])}


def _misshapen(parameter: gs.Constant, shape: list[int]) -> Reason | None:
    """Why a parameter cannot be broadcast to the normalized shape."""
    sizes = list(parameter.shape)
    added, own = sizes[: -len(shape)], sizes[-len(shape) :]
    wanted = shape[len(shape) - len(own) :]
    if all(size == 1 for size in added) and all(size in (1, full) for size, full in zip(own, wanted, strict=True)):
        return None
    return Reason("`{}` of shape {} is no scale or bias over {}", parameter.name, sizes, shape)


def _trimmed(values: np.ndarray, rank: int) -> np.ndarray:
    """Without leading dimensions of size one beyond a rank."""
    return values.reshape(values.shape[max(values.ndim - rank, 0) :])


def _trailing_shape(x: gs.Tensor, axes: list[int]) -> list[int] | Reason:
    """The sizes of the axes, which must be the last ones."""
    rank = len(x.shape)
    if axes != list(range(rank - len(axes), rank)):
        return Reason("the normalized axes {} are not the last ones of {}", axes, rank)
    for axis in axes:
        if not isinstance(x.shape[axis], int):
            return Reason("the size of axis {} of `{}` is not known", axis, x.name)
    if 0 in x.shape:
        return Reason("`{}` is empty", x.name)
    return [x.shape[axis] for axis in axes]


def _restores(tensor: gs.Tensor, x: gs.Tensor, axes: Sequence[int]) -> bool:
    """Whether a tensor, of as many elements as `x` reduced over the axes, is sure to have its shape."""
    expected = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    if tensor.shape is None or len(tensor.shape) != len(expected):
        return False
    unknown = [axis for axis, size in enumerate(expected) if not isinstance(size, int)]
    known = all(tensor.shape[axis] == size for axis, size in enumerate(expected) if axis not in unknown)
    return known and len(unknown) < 2 and 0 not in expected


def reduced_axes(node: gs.Node, rank: int, *, keeps: bool = True) -> list[int] | Reason:
    """The axes that a reduction of a tensor of a rank is over; it must keep the dimensions, or drop them."""
    if bool(node.attrs.get("keepdims", 1)) != keeps:
        return Reason("`{}` {} the dimensions that it reduces", node.outputs[0].name, "drops" if keeps else "keeps")
    axes = node.attrs.get("axes")
    if len(node.inputs) > 1 and not node.inputs[1].is_empty():
        if not isinstance(node.inputs[1], gs.Constant):
            return Reason("`{}` is not a constant", node.inputs[1].name)
        axes = np.asarray(node.inputs[1].values).reshape(-1).tolist()
    if rank == 0 or (not axes and node.attrs.get("noop_with_empty_axes", 0)):
        return Reason("`{}` reduces nothing", node.outputs[0].name)
    return sorted(axis % rank for axis in axes) if axes else list(range(rank))
