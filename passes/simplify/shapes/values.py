"""What small integer tensors hold: a table from operator to a function on arrays of numbers and expressions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.simplify.shapes import symbolic
from pruna_ir.passes.simplify.shapes.symbolic import Entry, Expr, is_known, operation

# An array of entries (of NumPy's type `object`): the elements of a tensor.
Entries = np.ndarray
# Elements that a tensor may have to be looked at one by one.
MOST_ENTRIES = 64
# Types that are calculated with.
TYPES = tuple(map(np.dtype, (np.int64, np.int32, np.float32, np.float64, np.bool_)))

_Inputs = Sequence[Entries | None]


def array(entries: Any) -> Entries:
    """An array of entries from a (nested) list, or from numbers."""
    if isinstance(entries, Expr | int | float | np.number | np.bool_):
        found = np.empty((), object)
        found[()] = entries
        return found
    return np.array(entries, object)


def known(entries: Entries | None) -> list[int] | None:
    """The elements as whole numbers, flat, if all are."""
    if entries is None or not all(isinstance(entry, int | np.integer) for entry in entries.flat):
        return None
    return [int(entry) for entry in entries.flat]


def compute(node: gs.Node, inputs: _Inputs) -> Entries | None:
    """The elements of a node's first output from those of its inputs; None if they cannot be told."""
    function = _TABLE.get(node.op)
    dtype = _dtype(node.outputs[0])
    if function is None or dtype is None or not inputs or inputs[0] is None:
        return None
    try:
        with np.errstate(all="ignore"):
            found = function(node, inputs)
    except (IndexError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        return None  # not valid ONNX, or an input that must be known is not
    if found is None or found.size > MOST_ENTRIES:
        return None
    return found if all(_fits(entry, dtype) for entry in found.flat) else None


def to_values(entries: Entries | None, dtype: Any) -> np.ndarray | None:
    """The tensor's values in its type, if all elements are known."""
    if entries is None or not all(is_known(entry) for entry in entries.flat):
        return None
    return np.array(entries.tolist(), dtype).reshape(entries.shape)


def stored(values: np.ndarray) -> Entries:
    """The elements of a constant."""
    found = np.empty(values.shape, object)
    for index in np.ndindex(found.shape):
        found[index] = from_number(values[index], values.dtype)
    return found


def _dtype(tensor: gs.Tensor) -> np.dtype | None:
    """The type, if it is one that is calculated with here."""
    if tensor.dtype is None or isinstance(tensor.dtype, int):
        return None
    dtype = np.dtype(tensor.dtype)
    return dtype if dtype in TYPES else None


def _fits(entry: Entry, dtype: np.dtype) -> bool:
    if dtype.kind != "i" or isinstance(entry, Expr):
        return True
    limits = np.iinfo(dtype)
    return bool(limits.min <= entry <= limits.max)


def _axis(node: gs.Node, default: int = 0) -> int:
    return int(node.attrs.get("axis", default))


def _needed(entries: Entries | None) -> list[int]:
    """The elements of an input without whose values nothing can be told."""
    numbers = known(entries)
    if numbers is None:
        raise ValueError("not known")
    return numbers


def _given(inputs: _Inputs, index: int) -> list[int] | None:
    """The elements of an optional input, None if it is left out; ValueError if they are not known."""
    return _needed(inputs[index]) if index < len(inputs) and inputs[index] is not MISSING else None


# Stands for an optional input that is left out; None stands for one of which nothing is known.
MISSING: Entries = np.empty(0, object)


def _gather(node: gs.Node, inputs: _Inputs) -> Entries:
    chosen = np.array(_needed(inputs[1]), np.int64).reshape(inputs[1].shape)  # type: ignore[union-attr]
    return array(np.take(inputs[0], chosen, _axis(node)))  # type: ignore[arg-type]


def _slice(node: gs.Node, inputs: _Inputs) -> Entries:
    data = inputs[0]
    assert data is not None
    starts, ends = _needed(inputs[1]), _needed(inputs[2])
    axes, steps = _given(inputs, 3) or list(range(len(starts))), _given(inputs, 4) or [1] * len(starts)
    cut = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # ONNX clamps a start or end before the first element to it, or behind all where it counts backwards.
        cut[axis] = slice(start, None if step < 0 and end < -data.shape[axis] else end, step)
    return data[tuple(cut)]


def _concat(node: gs.Node, inputs: _Inputs) -> Entries | None:
    return np.concatenate(inputs, _axis(node)) if all(part is not None for part in inputs) else None  # type: ignore[arg-type]


def _squeeze(_: gs.Node, inputs: _Inputs) -> Entries:
    axes = _given(inputs, 1)
    return np.squeeze(inputs[0], None if axes is None else tuple(axes))  # type: ignore[arg-type]


def _unsqueeze(_: gs.Node, inputs: _Inputs) -> Entries:
    return np.expand_dims(inputs[0], tuple(_needed(inputs[1])))  # type: ignore[arg-type]


def _reshape(node: gs.Node, inputs: _Inputs) -> Entries | None:
    data, target = inputs[0], _needed(inputs[1])
    assert data is not None
    if 0 in target:
        return None
    return data.reshape(target)


def _transpose(node: gs.Node, inputs: _Inputs) -> Entries:
    return np.transpose(inputs[0], node.attrs.get("perm"))  # type: ignore[arg-type]


def _expand(_: gs.Node, inputs: _Inputs) -> Entries:
    data, target = inputs[0], _needed(inputs[1])
    assert data is not None
    return _small(np.broadcast_shapes(data.shape, tuple(target)), data)


def _small(shape: Sequence[int], filling: Entries) -> Entries:
    if np.prod(shape) > MOST_ENTRIES:
        raise ValueError("too large")
    return np.broadcast_to(filling, shape).copy()


def _constant_of_shape(node: gs.Node, inputs: _Inputs) -> Entries:
    value = node.attrs.get("value")
    filling = 0.0 if value is None else np.asarray(value.values).reshape(-1)[0]
    dtype = np.dtype(np.float32) if value is None else np.dtype(value.dtype)
    return _small(_needed(inputs[0]), array(from_number(filling, dtype)))


def _range(node: gs.Node, inputs: _Inputs) -> Entries:
    start, limit, delta = (_needed(part)[0] for part in inputs)
    numbers = range(start, limit, delta)
    if len(numbers) > MOST_ENTRIES:
        raise ValueError("too large")
    return array(list(numbers))


def from_number(value: Any, dtype: np.dtype) -> Entry:
    """A stored number as an entry."""
    kinds: Mapping[str, Callable[[Any], Entry]] = {"b": bool, "i": int, "f": dtype.type}
    return kinds[dtype.kind](value)


def _cast(node: gs.Node, inputs: _Inputs) -> Entries | None:
    dtype = _dtype(node.outputs[0])
    source = _dtype(node.inputs[0])
    if dtype is None or source is None:
        return None
    return _each(lambda entry: _cast_entry(entry, source, dtype), inputs[0])


def _cast_entry(entry: Entry, source: np.dtype, dtype: np.dtype) -> Entry:
    if not isinstance(entry, Expr):
        return from_number(source.type(entry).astype(dtype), dtype)
    if source.kind == "i" and dtype.kind == "i":
        return entry  # sizes fit into either type
    return operation("Cast", str(dtype), entry)


def _elementwise(exact: Callable[..., Entry], floating: Callable[..., Any]) -> Callable[[gs.Node, _Inputs], Any]:
    """A function of numbers applied with broadcasting: `exact` to whole ones, `floating` to known floats."""

    def function(node: gs.Node, inputs: _Inputs) -> Entries | None:
        if any(part is None for part in inputs):
            return None
        is_float = _dtype(node.inputs[0]) in TYPES[2:4]

        def one(*entries: Entry) -> Entry:
            if not is_float:
                return exact(*entries)
            if all(map(is_known, entries)):
                return floating(*entries)  # type: ignore[no-any-return]
            return operation(node.op, str(node.inputs[0].dtype), *entries)

        return _each(one, *inputs)

    return function


def _each(function: Callable[..., Entry], *inputs: Entries | None) -> Entries:
    parts = np.broadcast_arrays(*inputs)  # type: ignore[arg-type]
    found = np.empty(parts[0].shape, object)
    for index in np.ndindex(found.shape):
        found[index] = function(*(part[index] for part in parts))
    return found


def _fold(function: Callable[[Entry, Entry], Entry]) -> Callable[..., Entry]:
    def folded(*entries: Entry) -> Entry:
        total = entries[0]
        for entry in entries[1:]:
            total = function(total, entry)
        return total

    return folded


def _comparison(name: str, answer: Callable[[int, int], bool]) -> Callable[[gs.Node, _Inputs], Any]:
    def exact(first: Entry, second: Entry) -> Entry:
        order = symbolic.compare(first, second)
        return operation(name, first, second) if order is None else answer(order, 0)

    return _elementwise(exact, lambda first, second: bool(answer(first, second)))


def _logical(name: str, exact: Callable[..., bool]) -> Callable[[gs.Node, _Inputs], Any]:
    def function(*entries: Entry) -> Entry:
        return bool(exact(*entries)) if all(map(is_known, entries)) else operation(name, *entries)

    return _elementwise(function, exact)


def _where(node: gs.Node, inputs: _Inputs) -> Entries | None:
    if any(part is None for part in inputs):
        return None

    def one(condition: Entry, first: Entry, second: Entry) -> Entry:
        if first == second and type(first) is type(second):
            return first
        return (
            operation("Where", condition, first, second) if not is_known(condition) else first if condition else second
        )

    return _each(one, *inputs)


def _reduction(function: Callable[[Entry, Entry], Entry]) -> Callable[[gs.Node, _Inputs], Any]:
    def reduce(node: gs.Node, inputs: _Inputs) -> Entries | None:
        data = inputs[0]
        if data is None or _dtype(node.inputs[0]) not in TYPES[:2] or data.ndim != 1 or not data.size:
            return None
        axes = node.attrs.get("axes") or _given(inputs, 1)
        if not axes and node.attrs.get("noop_with_empty_axes", 0):
            return data
        total = _fold(function)(*data)
        return array([total]) if node.attrs.get("keepdims", 1) else array(total)

    return reduce


def _modulo(node: gs.Node, inputs: _Inputs) -> Entries | None:
    if node.attrs.get("fmod", 0) or any(part is None for part in inputs) or _dtype(node.outputs[0]) not in TYPES[:2]:
        return None
    return _each(symbolic.remainder, *inputs)


def _identity(_: gs.Node, inputs: _Inputs) -> Entries | None:
    return inputs[0]


def _absolute(entry: Entry) -> Entry:
    if not isinstance(entry, Expr):
        return abs(entry) if isinstance(entry, int) else entry
    return entry if symbolic.lowest(entry) >= 0 else operation("Abs", entry)


_TABLE: Mapping[str, Callable[[gs.Node, _Inputs], Entries | None]] = {
    "Abs": _elementwise(_absolute, abs),
    "Add": _elementwise(symbolic.add, operator.add),
    "And": _logical("And", operator.and_),
    "Cast": _cast,
    "Ceil": _elementwise(lambda entry: entry, np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _elementwise(symbolic.divide, operator.truediv),
    "Equal": _comparison("Equal", operator.eq),
    "Expand": _expand,
    "Floor": _elementwise(lambda entry: entry, np.floor),
    "Gather": _gather,
    "Greater": _comparison("Greater", operator.gt),
    "GreaterOrEqual": _comparison("GreaterOrEqual", operator.ge),
    "Identity": _identity,
    "Less": _comparison("Less", operator.lt),
    "LessOrEqual": _comparison("LessOrEqual", operator.le),
    "Max": _elementwise(_fold(symbolic.larger), lambda *entries: np.maximum.reduce(entries)),
    "Min": _elementwise(_fold(symbolic.smaller), lambda *entries: np.minimum.reduce(entries)),
    "Mod": _modulo,
    "Mul": _elementwise(symbolic.multiply, operator.mul),
    "Neg": _elementwise(symbolic.negative, operator.neg),
    "Not": _logical("Not", operator.not_),
    "Or": _logical("Or", operator.or_),
    "Range": _range,
    "ReduceMax": _reduction(symbolic.larger),
    "ReduceMin": _reduction(symbolic.smaller),
    "ReduceProd": _reduction(symbolic.multiply),
    "ReduceSum": _reduction(symbolic.add),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _elementwise(symbolic.subtract, operator.sub),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
OPERATORS = frozenset(_TABLE)
