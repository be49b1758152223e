"""Rules of attention: Attention and RotaryEmbedding.

Where heads share an axis with their sizes, one of the two is cut: the same indices of every head, or whole heads if the
analysis splits axes at the outermost factor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.remarks import Reason

_QUERY, _KEY, _VALUE, _MASK, _PAST_KEY, _PAST_VALUE, _LENGTHS = range(7)
_OUTPUT, _PRESENT_KEY, _PRESENT_VALUE, _SCORES = range(4)
_HEADS = {_QUERY: "q_num_heads", _KEY: "kv_num_heads", _VALUE: "kv_num_heads"}
_X, _COS, _SIN, _POSITIONS = range(4)


class _Heads:
    """The axes of an operand [batch, heads, tokens, size] or [batch, tokens, heads * size]."""

    def __init__(self, at: NodeAxes, index: int, packed_count: str) -> None:
        axes, shape = at.input(index), at.shape(index)
        self.packed = len(axes) == 3
        self.batch = axes[0]
        self.count: int | None
        self.heads: Labels
        self.sizes: Labels
        if not self.packed:
            self.heads, self.tokens, self.sizes = axes[1:]
            self.count = shape[1] if isinstance(shape[1], int) else None
            return
        self.count, self.tokens, self.heads, self.sizes = at.node.attrs.get(packed_count), axes[1], None, None
        if axes[2] is not None and self.count is not None:
            grid = axes[2].reshape(self.count, -1)
            if at.options.split == "outer":
                at.equate(grid, grid[:, :1])
                self.heads = grid[:, 0]
            else:
                at.equate(grid, grid[:1])
                self.sizes = grid[0]


def _attention(at: NodeAxes) -> Reason | None:
    """Sizes of queries and keys are contracted; those of values, and the heads of queries, are those of the output."""
    query, key, value = (_Heads(at, index, name) for index, name in _HEADS.items())
    if not query.count or not key.count or query.count % key.count or key.count != value.count:
        return at.reason("has numbers of heads that are not known, or do not fit")
    if not query.packed == key.packed == value.packed:
        return at.reason("has operands of different ranks")
    for other in (key, value):
        at.equate(query.batch, other.batch)
        if key.count > 1:
            shared = None if other.heads is None else np.repeat(other.heads, query.count // key.count)
            at.equate(query.heads, shared)
    at.equate(query.sizes, key.sizes)
    if query.sizes is not None and key.sizes is not None:
        at.contract(*((index, 2 if operand.packed else 3) for index, operand in ((_QUERY, query), (_KEY, key))))
    for operand in (query, key, value):
        at.protect(operand.tokens, at.reason("mixes tokens"))
    _relate_rest(at, query, key, value)
    _write(at, _packed_output(at, query, value) if query.packed else [query.batch, query.heads, None, value.sizes])
    return None


def _packed_output(at: NodeAxes, query: _Heads, value: _Heads) -> Sequence[Labels]:
    count, width = query.count or 1, (at.output_shape() or (None,))[-1]
    joined: Labels = None
    if query.heads is not None and isinstance(width, int):
        joined = np.repeat(query.heads, width // count)
    elif value.sizes is not None:
        joined = np.tile(value.sizes, count)
    return [query.batch, None, joined]


def _relate_rest(at: NodeAxes, query: _Heads, key: _Heads, value: _Heads) -> None:
    """The mask, and the keys and values of earlier tokens."""
    why = at.reason("masks or remembers tokens")
    if at.has(_MASK):
        mask = [None, None, None, None, *at.input(_MASK)][-4:]
        for labels, other in zip(mask[:2], (query.batch, query.heads), strict=True):
            if labels is not None:
                at.equate(labels, other)
        for labels in mask[2:]:
            at.protect(labels, why)
    for index, output, operand in ((_PAST_KEY, _PRESENT_KEY, key), (_PAST_VALUE, _PRESENT_VALUE, value)):
        axes = (operand.batch, operand.heads, None, operand.sizes)
        if at.has(index):
            for labels, other in zip(at.input(index), axes, strict=True):
                at.equate(labels, other)
        _write(at, axes, output)
    _write(at, (query.batch, query.heads, None, None), _SCORES)
    if at.has(_LENGTHS):
        at.equate(at.input(_LENGTHS)[0], query.batch)


def _write(at: NodeAxes, axes: Sequence[Labels], index: int = 0) -> None:
    if index < len(at.node.outputs) and at.node.outputs[index].name:
        at.write(axes, index)


def _repair_attention(node: gs.Node, repair: Repair) -> None:
    """The scale stays what it was when the heads had their sizes."""
    last = len(node.inputs[_QUERY].shape) - 1
    mask = repair.input(_QUERY, last)
    if mask is not None and not node.attrs.get("scale"):
        size = len(mask) // (node.attrs["q_num_heads"] if last == 2 else 1)
        node.attrs["scale"] = float(size**-0.5)
    for index in (_QUERY, _KEY):
        _recount(node, repair, index, _HEADS[index])


def _recount(node: gs.Node, repair: Repair, index: int, attribute: str) -> None:
    """Heads that share an axis with their sizes, and of which some were cut."""
    mask = repair.input(index, 2) if len(node.inputs[index].shape) == 3 else None
    if mask is not None:
        node.attrs[attribute] = int(mask.reshape(node.attrs[attribute], -1).any(axis=1).sum())


def _rotary(at: NodeAxes) -> Reason | None:
    """Each turns with its partner: both are cut, with the angle that turns them."""
    x = _Heads(at, _X, "num_heads")
    for index in (_COS, _SIN):
        for labels in at.input(index)[:-1]:
            at.protect(labels, at.reason("looks angles up by token"))
    if at.has(_POSITIONS):
        for labels in at.input(_POSITIONS):
            at.protect(labels, at.reason("looks angles up by token"))
    at.protect(x.tokens, at.reason("turns each token by its own angles"))
    lower: Labels = None
    if x.sizes is not None:
        lower, upper = _partners(at.node, x.sizes)
        at.equate(lower, upper)
    for index in (_COS, _SIN):
        at.equate(at.input(index)[-1], lower)
    at.write(at.input(_X))
    return None


def _partners(node: gs.Node, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two coordinates of every pair that is turned."""
    turned = sizes[: node.attrs.get("rotary_embedding_dim") or len(sizes)]
    pairs = turned.reshape(-1, 2).T if node.attrs.get("interleaved") else turned.reshape(2, -1)
    return pairs[0], pairs[1]


def _repair_rotary(node: gs.Node, repair: Repair) -> None:
    shape, turned = node.inputs[_X].shape, node.attrs.get("rotary_embedding_dim")
    if turned:
        mask = repair.input(_X, len(shape) - 1)
        if mask is not None:
            heads = node.attrs["num_heads"] if len(shape) == 3 else 1
            kept = mask.reshape(heads, -1)
            node.attrs["rotary_embedding_dim"] = int(kept[kept.any(axis=1)][0, :turned].sum())
    if len(shape) == 3:
        _recount(node, repair, _X, "num_heads")


RULES: dict[str, AxisRule] = {
    "Attention": AxisRule(_attention, repair=_repair_attention),
    "RotaryEmbedding": AxisRule(_rotary, repair=_repair_rotary),
}
