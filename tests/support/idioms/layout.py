"""Idioms that move values and compute nothing: layouts, shapes, parts, types."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto

from idioms.builder import Builder

_FAR = np.iinfo(np.int64).max


def _shape(b: Builder, low: int = 2, high: int = 4) -> tuple[int, ...]:
    """Two to four small dimensions."""
    return tuple(b.size(low, high) for _ in range(b.size(2, 4)))


def _permutation(b: Builder, rank: int) -> list[int]:
    return b.draw(st.permutations(range(rank)))


def two_transposes(b: Builder) -> str:
    """Transpose -> Transpose, where the second may undo the first, or where both reverse the axes."""
    shape = _shape(b)
    first = _permutation(b, len(shape))
    second = b.pick([first.index(axis) for axis in range(len(shape))], _permutation(b, len(shape)))
    x = b.source(*shape)
    if b.chance(5):
        return b.op("Transpose", b.between(b.op("Transpose", x)))
    return b.op("Transpose", b.between(b.op("Transpose", x, perm=first)), perm=second)


def elementwise_between_transposes(b: Builder) -> str:
    """Transposes before elementwise nodes, and one behind them that undoes those."""
    shape = _shape(b)
    perm = _permutation(b, len(shape))
    back = [perm.index(axis) for axis in range(len(shape))]
    moved = [shape[axis] for axis in perm]
    t = b.op("Transpose", b.source(*shape), perm=perm)
    for _ in range(b.size(1, 3)):
        kind = b.pick("unary", "constant", "itself", "other")
        if kind == "unary":
            t = b.op(b.pick("Sigmoid", "Tanh", "LeakyRelu", "Exp"), b.between(t))
            continue
        if kind == "constant":
            sizes = [size if b.chance(2) else 1 for size in moved]
            other = b.constant(b.values(*sizes[b.size(0, len(sizes)) :], low=0.5))
        elif kind == "itself":
            other = b.op("Softsign", b.between(t))
        else:
            other = b.op("Transpose", b.source(*shape), perm=b.pick(perm, perm, back))
        if kind != "other" or b.nodes[-1].attribute[0].ints == perm:
            t = b.op(b.pick("Add", "Mul", "Max"), *b.order(b.between(t), other))
    return b.op("Transpose", b.between(t), perm=back)


def two_reshapes(b: Builder) -> str:
    """Two of Reshape, Flatten, Squeeze and Unsqueeze in a row; the second may bring the first shape back."""
    shape = (b.size(1, 3), b.pick(1, 2, 4), b.pick(1, 3))
    x = b.source(*shape)
    return _changes_shape(b, b.between(_changes_shape(b, x, shape)), None, before=shape)


def _changes_shape(b: Builder, x: str, shape: tuple[int, ...] | None, before: tuple[int, ...] | None = None) -> str:
    kind = b.pick("Reshape", "Flatten", "Unsqueeze", "Squeeze", "back")
    if kind == "Flatten":
        return b.op("Flatten", x, axis=b.pick(0, 1))
    if kind == "Unsqueeze":
        return b.op("Unsqueeze", x, b.indices(b.pick(0, 1, -1)))
    if kind == "Squeeze" and shape is not None and 1 in shape:
        return b.op("Squeeze", x, b.indices(shape.index(1)))
    if before is not None and kind in ("back", "Squeeze"):
        return b.op("Reshape", x, b.indices(-1, *before[1:]))
    return b.op("Reshape", x, b.indices(*b.pick((0, -1), (-1,), (1, -1, 1), (-1, 1))))


def reduction_and_axes(b: Builder) -> str:
    """A reduction, and behind it a node that adds the axes that it dropped, drops those that it kept, or others."""
    shape = (b.size(1, 3), b.pick(1, 3), b.size(1, 4))
    op = b.pick("ReduceMean", "ReduceSum", "ReduceMax", "ReduceProd", "ReduceL2", "ReduceSumSquare", "ArgMax", "ArgMin")
    x, keeps = b.source(*shape), b.size(0, 1)
    if op.startswith("Arg"):
        axes = [b.pick(0, 2, -2)]
        t = b.op(op, x, axis=axes[0], keepdims=keeps)
    elif b.chance(4):
        axes, t = [0, 1, 2], b.op(op, x, keepdims=keeps)
    else:
        axes = b.pick([1], [-1], [1, 2], [-2, 0])
        t = b.axes_op(op, x, axes, since=13 if op == "ReduceSum" else 18, keepdims=keeps)
    kept = {axis for axis in range(3) if axis not in axes and axis - 3 not in axes}
    kind = b.pick("axes", "axes", "axes", "Reshape", "Flatten")
    if kind == "Flatten":
        t = b.op("Flatten", b.between(t), axis=b.pick(0, 1) if kept or keeps else 0)
    elif kind == "Reshape":
        sizes = [shape[axis] if axis in kept else 1 for axis in range(3) if axis in kept or not keeps]
        t = b.op("Reshape", b.between(t), b.indices(*(b.pick([-1, *sizes[1:]], sizes) if sizes else [])))
    elif keeps:
        t = b.op("Squeeze", b.between(t), b.indices(*axes))
    else:
        t = b.op("Unsqueeze", b.between(t), b.indices(*b.pick(axes, axes, [0])))
    return b.op("Cast", t, to=TensorProto.FLOAT) if op.startswith("Arg") else t


def two_casts(b: Builder) -> str:
    """Cast -> Cast, of which the first may lose something."""
    x = b.source(b.size(1, 3), b.size(1, 4), low=-3, high=3)
    floats = (TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE)
    integers = (TensorProto.INT8, TensorProto.INT32, TensorProto.INT64)
    start, middle, end = b.pick(*floats, *integers), b.pick(*floats, *integers), b.pick(*floats, *integers)
    if b.chance(2):  # small integers, which all of the types hold
        x = b.op("Round", x)
    cast = b.op("Cast", b.op("Cast", x, to=start), to=middle)
    return b.op("Cast", b.op("Cast", b.between(cast), to=end), to=TensorProto.FLOAT)


def _slice(b: Builder, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
    more = [b.indices(step)] if step != 1 or b.chance(2) else []
    return b.op("Slice", x, b.indices(start), b.indices(end), b.indices(axis), *more)


def two_slices(b: Builder) -> str:
    """Slice -> Slice, of the same axis or of others, with steps, from the end, backwards."""
    x = b.source(b.size(1, 3), b.size(5, 8), b.size(5, 8))
    first = _slice(b, x, b.pick(1, 2, -1), b.pick(0, 1, -4), b.pick(4, 5, _FAR, -1), b.pick(1, 1, 2))
    start, end, step = b.pick((0, _FAR, 1), (1, 3, 1), (0, 3, 2), (0, -1, 1), (-1, -_FAR, -1))
    return _slice(b, b.between(first), b.pick(1, 2, -2), start, end, step)


def nested_concats(b: Builder) -> str:
    """A Concat that reads a Concat, along the same axis as written from the front or from the back."""
    rows, columns = b.size(1, 3), b.size(1, 3)
    parts = [b.source(rows, columns) for _ in range(b.size(2, 3))]
    inner = b.between(b.op("Concat", *parts, axis=b.pick(1, -1)))
    others = [b.source(rows, columns * (1 if index else len(parts))) for index in range(b.size(1, 2))]
    return b.op("Concat", *b.order(inner, *others), axis=b.pick(1, 1, -1))


def slice_of_concat(b: Builder) -> list[str]:
    """A Slice that takes out of a Concat what one of its inputs brought in, or something else."""
    rows, widths = b.size(1, 3), [b.size(1, 3) for _ in range(b.size(2, 3))]
    joined = b.between(b.op("Concat", *[b.source(rows, width) for width in widths], axis=b.pick(1, -1)))
    part = b.size(0, len(widths) - 1)
    start, end = sum(widths[:part]), sum(widths[: part + 1])
    if b.chance(4):
        end = start + 1
    total = sum(widths)
    ends = [_slice(b, joined, b.pick(1, -1), b.pick(start, start - total), end)]
    if b.chance(3):
        ends.append(b.op("Sigmoid", joined))
    return ends


def nothing(b: Builder) -> str:
    """A node that leaves its input as it is, or seems to."""
    shape = (b.size(1, 3), b.size(2, 3), b.pick(1, 4))
    x = b.source(*shape)
    rank = len(shape)
    done = {
        "mul": lambda: b.op("Mul", *b.order(x, b.number(b.pick(1.0, 1.0, 0.5)))),
        "add": lambda: b.op(
            "Add", *b.order(x, b.constant(np.zeros(b.pick((), (1,), (1, 1, 1), (2, 1, 1, 1)), b.dtype)))
        ),
        "div": lambda: b.op("Div", x, b.number(1.0)),
        "sub": lambda: b.op("Sub", *b.pick((x, b.number(0.0)), (b.number(0.0), x))),
        "pow": lambda: b.op("Pow", b.op("Sigmoid", x), b.number(1.0)),
        "cast": lambda: b.op("Cast", x, to=TensorProto.FLOAT),
        "transpose": lambda: b.op("Transpose", x, perm=b.pick([0, 1, 2], [0, 2, 1], [2, 1, 0])),
        "reshape": lambda: b.op(
            "Reshape", x, b.indices(*b.pick((0, 0, 0), (0, -1, shape[2]), (-1, *shape[1:]), shape[::-1]))
        ),
        "flatten": lambda: b.op("Flatten", b.op("Reshape", x, b.indices(-1, shape[2])), axis=1),
        "expand": lambda: b.op("Expand", x, b.indices(*b.pick((1,), (1, 1, 1), shape[1:], (2, 1, 1, 1)))),
        "tile": lambda: b.op("Tile", x, b.indices(*b.pick((1, 1, 1), (1, 1, 2)))),
        "slice": lambda: _slice(b, x, b.size(0, 2), 0, b.pick(_FAR, 2)),
        "gather": lambda: b.op("Gather", x, b.indices(*range(b.pick(shape[1], 1))), axis=1),
        "pad": lambda: b.op("Pad", x, b.indices(*([0] * (2 * rank - 1)), b.pick(0, 0, 1))),
        "concat": lambda: b.op("Concat", x, axis=1),
        "sum": lambda: b.op(b.pick("Sum", "Max", "Min", "Mean"), x),
        "clip": lambda: b.op("Clip", x, b.number(np.finfo(b.dtype).min, shapes=[()]), b.number(np.inf, shapes=[()])),
        "twice": lambda: _twice(b, x, b.pick("Relu", "Abs", "Ceil", "Round", "Floor", "Sign", "Neg")),
        "clipped": lambda: b.op("Relu", b.between(b.op("Clip", x, b.number(b.pick(0.0, 0.25, -1.0), shapes=[()])))),
        "split": lambda: b.op("Split", x, b.indices(shape[1]), axis=1),
    }
    return done[b.pick(*done)]()


def _twice(b: Builder, x: str, op: str) -> str:
    return b.op(op, b.between(b.op(op, x)))


def scalar_chain(b: Builder) -> str:
    """Two products or quotients, or two sums or differences, with scalar constants."""
    products = b.chance(2)
    x = b.source(b.size(1, 3), b.size(2, 4), low=0.25 if products else -4.0, high=4.0)
    small = 2e-2 if b.dtype == np.float16 else 2e-3  # the results keep all digits of their type
    for place in range(2):
        op, value = (
            (b.pick("Mul", "Div"), b.pick(0.25, 1.5, small)) if products else (b.pick("Add", "Sub"), b.pick(0.1, 3.0))
        )
        operands = [b.between(x) if place else x, b.number(value)]
        x = b.op(op, *(b.order(*operands) if b.chance(2) else operands))
    return x


def two_clips(b: Builder) -> str:
    """Clip or Relu, then Clip or Relu; limits may be left out, or the wrong way round."""
    x = b.source(b.size(1, 3), b.size(2, 5), low=-4, high=8)
    return _clip(b, b.between(_clip(b, x)))


def _clip(b: Builder, x: str) -> str:
    if b.chance(4):
        return b.op("Relu", x)
    low = "" if b.chance(4) else b.number(b.pick(-1.0, 0.0, 0.5), shapes=[()])
    high = [] if b.chance(4) else [b.number(b.pick(1.0, 6.0, 6.0, -0.5), shapes=[()])]
    return b.op("Clip", x, low, *high)


def nodes_between_reshapes(b: Builder) -> str:
    """Reshape -> nodes that work element by element or on the last axes -> Reshape, often back to the first shape."""
    shape = (b.size(1, 2), b.size(2, 3), b.size(2, 4), b.size(2, 4))
    x = b.source(*shape)
    t = b.between(b.op("Reshape", x, b.indices(-1, shape[3]))) if b.chance(3) else b.op("Flatten", x, axis=3)
    for _ in range(b.size(1, 3)):
        kind = b.pick("unary", "constant", "Softmax", "MatMul", "mean", "itself")
        if kind == "unary":
            t = b.op(b.pick("Sigmoid", "Tanh", "Exp"), b.between(t))
        elif kind == "constant":
            t = b.op("Mul", *b.order(b.between(t), b.constant(b.values(*b.pick((shape[3],), (), (1, 1)), low=0.5))))
        elif kind == "Softmax":
            t = b.op("Softmax", b.between(t), axis=b.pick(1, -1, -1, 0))
        elif kind == "MatMul":
            t = b.op("MatMul", b.between(t), b.constant(b.values(shape[3], shape[3])))
        elif kind == "mean":
            t = b.op("Add", t, b.axes_op("ReduceMean", b.between(t), [-1], keepdims=1))
        else:
            t = b.op("Add", *b.order(t, b.op("Softsign", b.between(t))))
    target = b.pick(shape, (-1, *shape[1:]), (-1, *shape[1:]), (shape[0] * shape[1], *shape[2:]))
    return b.op("Reshape", b.between(t), b.indices(*target))


def rolled(b: Builder) -> str:
    """A Concat of Slices of one tensor: its second part before its first, or other parts."""
    rows, length = b.size(1, 3), b.size(4, 8)
    x, cut = b.source(rows, length, 2), b.size(1, 3)
    parts = [(cut, _FAR), (0, cut)]
    if b.chance(3):
        parts = b.order((0, cut), (cut, 3), (-1, _FAR))
    slices = [b.between(_slice(b, x, b.pick(1, 1, -2), start, end)) for start, end in parts]
    return b.op("Concat", *slices, axis=b.pick(1, -2))


def stack(b: Builder) -> list[str]:
    """Queries, keys and values stacked along an axis of their own, which is moved to the front and taken apart."""
    batch, length, heads, width = b.size(1, 2), b.size(2, 3), b.size(1, 3), b.size(2, 3)
    count = b.pick(3, 3, 2)
    x = b.source(batch, length, count * heads * width)
    first = b.pick(-1, batch) if b.sizes == "static" else -1
    t = b.between(b.op("Reshape", x, b.indices(first, length, count, heads, width)))
    perm = b.pick([2, 0, 3, 1, 4], [2, 0, 3, 1, 4], [2, 1, 0, 3, 4], [2, 3, 0, 1, 4])
    t = b.between(b.op("Transpose", t, perm=perm))
    if b.chance(4):
        sizes = b.indices(*[1] * count)
        parts = b.ops("Split", t, sizes, outputs=count, axis=0)
        return [b.op("Squeeze", b.between(part), b.indices(0)) for part in parts]
    used = range(count - 1) if b.chance(6) else range(count)
    return [b.op("Gather", t, b.number(index, np.int64, shapes=[()]), axis=0) for index in used]
