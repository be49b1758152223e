"""The retarget-qdq pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir import registry
from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, Stored, integer_limits, params_of, stored
from pruna_ir.calibration.scheme import Scheme
from pruna_ir.diagnostics import error
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.integer_ops import DYNAMIC, MOVES, integer_op
from pruna_ir.passes.quantization.kernel import row_of
from pruna_ir.pipeline.options import option
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.pipeline.rewriter import Rewriter

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.targets import Target

_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))
# A diagnostic names so many obstacles.
_SHOWN = 8


@dataclass(frozen=True)
class RetargetQdq(Pass):
    """Give a quantized model the integer types of another target, without changing a number.

    Before:  x -> Q(scale, 130 in uint8) -> DQ -> Conv(DQ(w8), DQ(b32)) -> ...
    After:   x -> Q(scale, 2 in int8)    -> DQ -> Conv(DQ(w8), DQ(b32)) -> ...

    uint8 becomes int8, or the reverse, by moving zero points (and what is stored) by 128; biases become float where
    the target wants that. Everything else would round again, so it is refused, with all the places: zero points that
    a symmetric target does not have, weights outside of its range, scales computed at run time. Where the target wants
    its Q/DQ is another question: lint-qdq answers it.
    """

    name: ClassVar[str] = "retarget-qdq"
    effect: ClassVar[Effect] = Effect.EXACT

    target: str = option("", "target whose types the model gets; empty: the run's target")

    def run(self, model: Model, context: Context) -> PassResult:
        """Change the integer types of `model`, or raise Q001 with what cannot be changed exactly."""
        target = registry.target(self.target) if self.target else context.target
        obstacles = list(_obstacles(model.graph, target))
        if obstacles:
            more = [f"and {len(obstacles) - _SHOWN} more"] if len(obstacles) > _SHOWN else []
            help_text = f"quantize the float model for the target instead: quantize<target={target.name}>"
            message = f"the model cannot be retargeted to {target.name} without rounding again"
            raise error("Q001", message, help=help_text, notes=[*obstacles[:_SHOWN], *more])
        result = PassResult()
        mover = _Mover(model.graph, target)
        for node in list(model.graph.nodes):
            if node.op in (QUANTIZE, DEQUANTIZE):
                mover.move(node)
        mover.rewriter.commit()
        for what, times in mover.counts.items():
            result.count(what, times)
        return result


def _obstacles(graph: gs.Graph, target: Target) -> Iterator[str]:
    """What keeps a model from getting the target's types exactly, one line each."""
    interface = {id(tensor) for tensor in [*graph.inputs, *graph.outputs]}
    for node in graph.nodes:
        name = node_name(node)
        if node.op in DYNAMIC or integer_op(node) is not None:
            yield f"`{name}` ({node.op}) is no Q/DQ: restore-qdq comes first, where that is possible"
        if node.op not in (QUANTIZE, DEQUANTIZE):
            continue
        scheme, problem = _scheme(node, target), None
        if scheme is None:
            continue
        integers = node.outputs[0] if node.op == QUANTIZE else node.inputs[0]
        if params_of(node) is None:
            problem = "its scale or zero point is not constant"
        elif _dtype(node) != scheme.dtype and _dtype(node) not in _BYTES:
            problem = f"it is {_dtype(node).name}, not {scheme.dtype.name}"
        elif id(integers) in interface and _dtype(node) != scheme.dtype:
            problem = f"`{integers.name}`, of {_dtype(node).name}, is an input or output of the model"
        else:
            problem = _unfit(node, scheme)
        if problem is not None:
            yield f"`{name}`: {problem}"


def _scheme(node: gs.Node, target: Target) -> Scheme | None:
    """The target's scheme for what a node converts; None for what has none: biases, wider types that it accepts."""
    inside = stored(node.outputs[0]) if node.op == DEQUANTIZE else None
    if inside is not None:
        return None if inside.constant.dtype == np.int32 else _scheme_of_constant(node.outputs[0], target)
    known = params_of(node)
    dtype = target.activations.dtype if known is None else known.zero_point.dtype
    return None if dtype.itemsize > 1 and dtype.name in target.accepts else target.activations


def _scheme_of_constant(tensor: gs.Tensor, target: Target) -> Scheme | None:
    """That of the position at which an op with an integer kernel reads a constant; None if no such op does."""
    for reader in tensor.outputs:
        row = row_of(reader, target)
        if row is not None:
            at = next(index for index, read in enumerate(reader.inputs) if read is tensor)
            return target.weights if at == row.weight else target.activations
    return None


def _dtype(node: gs.Node) -> np.dtype:
    params = params_of(node)
    assert params is not None
    return params.zero_point.dtype


def _unfit(node: gs.Node, scheme: Scheme) -> str | None:
    """Why a pair or stored constant does not fit the scheme even when its type is changed."""
    params = params_of(node)
    assert params is not None
    zero = params.zero_point.astype(np.int64) + _moved(params.zero_point.dtype, scheme.dtype)
    if scheme.symmetric and (zero != scheme.middle).any():
        return f"its zero point would be {int(zero.reshape(-1)[0])}, the target wants {scheme.middle}"
    inside = stored(node.outputs[0]) if node.op == DEQUANTIZE else None
    if inside is None:
        return None
    values = _shifted(inside.constant.values, scheme.dtype).astype(np.int64)
    if values.size and (values.min() < scheme.lowest or values.max() > scheme.highest):
        holds = f"the target has {scheme.lowest} to {scheme.highest}"
        return f"its values would reach from {values.min()} to {values.max()}, {holds}"
    if params.scale.ndim and scheme.axis is None:
        return "it has a scale for each channel, the target one for all"
    return None


def _moved(before: np.dtype, after: np.dtype) -> int:
    return integer_limits(after)[0] - integer_limits(before)[0]


def _shifted(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.asarray((values.astype(np.int64) + _moved(values.dtype, dtype)).astype(dtype))


class _Mover:
    """Changes integer types; constants that several nodes share are made once."""

    def __init__(self, graph: gs.Graph, target: Target) -> None:
        self.rewriter, self.target = Rewriter(graph), target
        self.counts: dict[str, int] = {}
        self._made: dict[tuple[int, np.dtype], gs.Constant] = {}

    def move(self, node: gs.Node) -> None:
        """Change what a Q or DQ node converts to or from."""
        scheme = _scheme(node, self.target)
        inside = stored(node.outputs[0]) if node.op == DEQUANTIZE else None
        if scheme is None:
            if inside is not None and np.dtype(self.target.bias_dtype).kind == "f":
                self._to_float(node, inside)
            return
        if _dtype(node) == scheme.dtype:
            return
        self._retype(node, 2, scheme.dtype)
        if inside is not None:
            self._retype(node, 0, scheme.dtype)
        elif node.op == QUANTIZE:
            _retype_moved(node.outputs[0], scheme.dtype)
        self._count("stored constants" if inside is not None else "conversions")

    def _retype(self, node: gs.Node, position: int, dtype: np.dtype) -> None:
        if position == len(node.inputs):  # a zero point that is left out
            zero = np.zeros((), _dtype(node))
            self.rewriter.set_input(node, position, self.rewriter.constant("zero_point", _shifted(zero, dtype)))
            return
        old = node.inputs[position]
        key = (id(old), dtype)
        if key not in self._made:
            self._made[key] = self.rewriter.constant(old.name, _shifted(old.values, dtype))
        self.rewriter.set_input(node, position, self._made[key])

    def _to_float(self, node: gs.Node, inside: Stored) -> None:
        result = node.outputs[0]
        self.rewriter.redirect(result, self.rewriter.constant(inside.constant.name, inside.values()))
        self.rewriter.erase(node)
        self._count("biases in float")

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1


def _retype_moved(tensor: gs.Tensor, dtype: np.dtype) -> None:
    """Give a tensor in integers its new type, and those that movements make of it."""
    tensor.dtype = dtype
    for reader in tensor.outputs:
        if reader.op in MOVES:
            _retype_moved(reader.outputs[0], dtype)
