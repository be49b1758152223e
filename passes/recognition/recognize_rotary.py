"""x * cos + (x rotated by a quarter turn) * sin -> RotaryEmbedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.recognition.attention_heads import BATCH, HEADS, SIZE, TOKENS, Heads, find_heads
from pruna_ir.passes.recognition.insertion import Surroundings, surroundings
from pruna_ir.passes.simplify.shapes.symbolic import Entry
from pruna_ir.pipeline.patterns import Op, Pattern, Value, find, misfit, scalar
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, producer
from pruna_ir.remarks import Reason

_X = Value("x")
_TURNED = Op("Concat", Op("Neg", Op("Slice", _X, ..., name="upper")), Op("Slice", _X, ..., name="lower"), name="turned")
_ROTARY: Pattern = Op("Add", Op("Mul", _X, Value("cos")), Op("Mul", _TURNED, Value("sin")))

_ANGLES = ("cos", "sin")
# Through which the two halves of a last axis stay as equal as they were.
_UNARY = ("Cos", "Sin", "Cast", "Identity", "Neg")


@dataclass(frozen=True)
class RecognizeRotary(Rule):
    """Find the rotary embedding of positions, of which the two halves of each head are the coordinates.

        before   x * cos + Concat(-x[..., size/2:], x[..., :size/2]) * sin     x[batch, heads, tokens, size]
                     cos, sin [batch or 1, 1, tokens, size], their halves equal
        after    RotaryEmbedding(x, cos[..., :size/2], sin[..., :size/2])

    Where x comes from a linear layer, the embedding moves before the transpose that puts the heads before the tokens,
    so that `recognize-attention` finds the heads behind it.

    Does not fire below opset 23, if the halves of cos or sin are not known to be equal, if they are not the same for
    all heads, if the size is not known or odd, or if a tensor inside of the idiom is an output of the graph or has
    other users, or if x is not float32. Open dimensions that meet are taken to be equal, as broadcasting asks of all
    but 1.
    """

    name: ClassVar[str] = "recognize-rotary"
    roots: ClassVar[tuple[str, ...]] = _ROTARY.roots
    makes: ClassVar[tuple[str, int] | None] = ("RotaryEmbedding", 23)
    requires: ClassVar[frozenset[str]] = frozenset({"Neg"})

    def match(self, root: gs.Node) -> Match | None:
        return find(_ROTARY, root)

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        reason = misfit(match, rewriter)
        if reason is not None:
            return reason
        x, analysis = match["x"], surroundings(rewriter).analysis
        dims = analysis.dims(x)
        if x.dtype != np.float32:
            return Reason("`{}` holds {}, not float32", x.name, x.dtype)
        if dims is None or len(dims) != 4:
            return Reason("`{}` does not have the dimensions batch, heads, tokens and size", x.name)
        size = dims[-1]
        if not isinstance(size, int) or size % 2:
            return Reason("the last dimension of `{}` is {}, not a number with two halves", x.name, x.shape[-1])
        if not _turns(match, size):
            return Reason("`{}` is not made of the halves of `{}`", match["turned"].outputs[0].name, x.name)
        for name in _ANGLES:
            reason = _unfit(match[name], dims, analysis.dims(match[name]))
            if reason is not None:
                return reason
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        root, x, around = match["root"], match["x"], surroundings(rewriter)
        heads = find_heads(x, (BATCH, HEADS, TOKENS, SIZE), around.analysis)
        output, shape = root.outputs[0], root.outputs[0].shape or [None] * 4
        if isinstance(heads, Heads) and (heads.swapped or heads.scale != 1):
            heads = Reason("its layout is another")
        data = x if isinstance(heads, Reason) else heads.packed(around, root)
        inputs = [data, *(_half(match[name], data, root, around) for name in _ANGLES)]
        if isinstance(heads, Reason):
            last = gs.Node("RotaryEmbedding", name=root.name, inputs=inputs)
        else:
            wide = [shape[0], shape[2], heads.heads * heads.size]
            turned = around.insert("RotaryEmbedding", inputs, wide, root, {"num_heads": heads.heads})
            turned.inputs[0].name = root.name
            target = around.constant("heads", [0, 0, heads.heads, heads.size])
            split = around.insert("Reshape", [turned, target], [shape[0], shape[2], *target.values[2:].tolist()], root)
            last = gs.Node("Transpose", attrs={"perm": [0, 2, 1, 3]}, inputs=[split])
        rewriter.insert(last, before=root)
        for node in match["nodes"]:
            rewriter.erase(node)
        last.outputs.append(output)
        around.analysis.visit(last)
        for tensor in (x, match["cos"], match["sin"]):
            if not tensor.outputs and not rewriter.is_output(tensor):
                rewriter.erase_unread(tensor)
        rewriter.touch(last)


def _turns(match: Match, size: int) -> bool:
    """Whether the halves of the last axis change places."""
    axis = match["turned"].attrs.get("axis")
    bounds = [_bounds(match[name], size) for name in ("upper", "lower")]
    return axis in (-1, 3) and bounds == [(size // 2, size), (0, size // 2)]


def _bounds(cut: gs.Node, size: int) -> tuple[int, int] | None:
    """Where a Slice of the last axis begins and ends; None if it is another one."""
    given = [None if tensor.is_empty() else scalar(tensor) for tensor in cut.inputs[1:]]
    if len(given) < 3 or None in given[:3] or given[2] not in (-1, 3) or (len(given) > 3 and given[3] != 1):
        return None
    start, end, _ = slice(int(given[0] or 0), int(given[1] or 0)).indices(size)
    return start, end


def _unfit(angle: gs.Tensor, x: Sequence[Entry], dims: Sequence[Entry] | None) -> Reason | None:
    """Why a cosine or sine is not one of each position and pair of coordinates."""
    if dims is None or len(dims) not in (2, 4) or (len(dims) == 4 and dims[1] != 1):
        return Reason("`{}` is not known to be the same for all heads", angle.name)
    if dims[-1] != x[-1] or (dims[-2] == 1) != (x[-2] == 1):
        return Reason("`{}` of shape {} is broadcast over the tokens or their coordinates", angle.name, angle.shape)
    if len(dims) == 4 and x[0] == 1 and dims[0] != 1:
        return Reason("`{}` of shape {} adds to the batch", angle.name, angle.shape)
    if not _has_equal_halves(angle):
        return Reason("the halves of `{}` are not known to be equal", angle.name)
    return None


def _has_equal_halves(tensor: gs.Tensor) -> bool:
    """Whether the two halves of the last axis hold the same."""
    if isinstance(tensor, gs.Constant):
        half = tensor.shape[-1] // 2
        return bool(np.array_equal(tensor.values[..., :half], tensor.values[..., half:]))
    node = producer(tensor)
    if node is None:
        return False
    if node.op == "Concat":
        last = node.attrs["axis"] in (-1, len(tensor.shape or ()) - 1)
        return last and len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]
    if node.op in _UNARY:
        return _has_equal_halves(node.inputs[0])
    if node.op in ("Mul", "Div") and scalar(node.inputs[1]) is not None:
        return _has_equal_halves(node.inputs[0])
    if node.op == "Unsqueeze" and isinstance(node.inputs[1], gs.Constant) and tensor.shape is not None:
        axes = [int(axis) % len(tensor.shape) for axis in node.inputs[1].values.reshape(-1)]
        return len(tensor.shape) - 1 not in axes and _has_equal_halves(node.inputs[0])
    return False


def _half(angle: gs.Tensor, data: gs.Tensor, root: gs.Node, around: Surroundings) -> gs.Tensor:
    """The first half of a cosine or sine, [batch, tokens, size / 2]; layers share it."""
    size = angle.shape[-1]

    def halve() -> gs.Tensor:
        if isinstance(angle, gs.Constant):
            values = np.asarray(angle.values)[..., : size // 2]
            return around.constant(angle.name, values.reshape((-1, *values.shape[-2:])))
        limits = [around.constant("limit", [at]) for at in (0, size // 2, -1)]
        half = around.insert("Slice", [angle, *limits], [*angle.shape[:-1], size // 2], root)
        axis, op = (1, "Squeeze") if len(angle.shape) == 4 else (0, "Unsqueeze")
        own = [angle.shape[0] if op == "Squeeze" else 1, angle.shape[-2], size // 2]
        return around.insert(op, [half, around.constant("axis", [axis])], own, root)

    half = around.once("half", [angle], root, halve)
    own, wanted = around.analysis.dims(half), around.analysis.dims(data)
    if own is None or wanted is None or own[0] == wanted[0]:
        return half

    def repeat() -> gs.Tensor:
        batch = around.insert("Shape", [data], [1], root, {"start": 0, "end": 1}, np.int64)
        target = around.insert("Concat", [batch, around.constant("ones", [1, 1])], [3], root, {"axis": 0})
        return around.insert("Expand", [half, target], [None, *half.shape[1:]], root)

    return around.once(("repeated", wanted[0]), [half], root, repeat)
