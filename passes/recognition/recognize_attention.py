"""Softmax(Q K^T * scale + mask) V -> Attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.permutations import permutation
from pruna_ir.passes.recognition.attention_heads import BATCH, HEADS, SIZE, TOKENS, find_heads
from pruna_ir.passes.recognition.attention_mask import added_mask, is_causal, masked, unfit_mask
from pruna_ir.passes.recognition.insertion import surroundings
from pruna_ir.passes.simplify.shapes.analysis import ShapeAnalysis
from pruna_ir.passes.simplify.shapes.symbolic import Entry
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Product, Scalar, Value, find, misfit
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason

_SCORES = Op("MatMul", Value("query"), Value("key"), name="scores")
_SCALED = OneOf(Product(_SCORES, scale=None, name="scale"), Op(("Mul", "Div"), _SCORES, Value("factor")))
_WEIGHTS = Op("Softmax", masked(_SCALED), name="softmax")
# Exporters guard against rows that are masked altogether.
_GUARDED = OneOf(_WEIGHTS, Op("Where", Op("IsNaN", Value("guarded"), name="guard"), Scalar(0), _WEIGHTS))
_ATTENTION: Pattern = Op("MatMul", _GUARDED, Value("value"), name="context")

_OPERANDS = {
    "query": (BATCH, HEADS, TOKENS, SIZE),
    "key": (BATCH, HEADS, SIZE, TOKENS),
    "value": (BATCH, HEADS, TOKENS, SIZE),
}
# How the heads are joined: what the axes of the result are, and whether the tokens come before the batch.
_JOINS: dict[tuple[int, ...], bool] = {(0, 2, 1, 3): False, (2, 0, 1, 3): True}


@dataclass(frozen=True)
class RecognizeAttention(Rule):
    """Find scaled dot-product attention between linear layers.

        before   Transpose(MatMul(Softmax(Add(Mul(MatMul(Q, K), scale), mask)), V))
                     Q, V = Transpose(Reshape(q)), Transpose(Reshape(v)) [batch, heads, tokens, size]
                     K = Transpose(Reshape(k)) [batch, heads, size, tokens]
        after    Reshape(Attention<scale, q_num_heads, kv_num_heads>(q, k, v, mask))

    The Reshape restores the axes that the Transpose gives, and joins with the one behind it in `fuse`. The scale may
    stand at Q and K, the mask may be a Where that fills scores in; a constant one that hides what comes later becomes
    `is_causal`. Heads of Q may share those of K and V, and the three may lie in one tensor. A mask is repeated for all
    tokens where it is not known to have them, and its lowest numbers are raised to -1e38: ONNX Runtime would give zeros
    for a row of them, where the parts give the mean (or NaN if they are -inf).

    Does not fire below opset 23, if Q, K or V are not split into heads, or their sizes are not known; if the scores,
    or anything else up to the result, are an output of the graph or have other users; if the scale is no constant, the
    softmax is over another axis, a fill leaves scores that count, the mask has more dimensions than the scores, or the
    numbers are not float32; nor if rows are guarded against NaN but not known to be masked by -inf. Open dimensions
    that meet are taken to be equal, as broadcasting asks of all but 1.
    """

    name: ClassVar[str] = "recognize-attention"
    roots: ClassVar[tuple[str, ...]] = _ATTENTION.roots
    makes: ClassVar[tuple[str, int] | None] = ("Attention", 23)
    requires: ClassVar[frozenset[str]] = frozenset({"Softmax"})

    def match(self, root: gs.Node) -> Match | None:
        found = find(_ATTENTION, root)
        if found is not None and "guarded" in found and found["guarded"] is not found["softmax"].outputs[0]:
            return None
        return found

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        if "factor" in match:
            return Reason("the scale `{}` is not a constant", match["factor"].name)
        reason = misfit(match, rewriter) or _unfit_numbers(match)
        if reason is not None:
            return reason
        analysis = surroundings(rewriter).analysis
        heads = {name: find_heads(match[name], order, analysis) for name, order in _OPERANDS.items()}
        for found in heads.values():
            if isinstance(found, Reason):
                return found
        match["heads"] = heads
        return (
            _unfit_heads(match, analysis)
            or unfit_mask(match, _scores(match, analysis), analysis)
            or _unjoined(match, rewriter)
        )

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        root, join, around = match["root"], match["root"].outputs[0].outputs[0], surroundings(rewriter)
        query, key, value = (match["heads"][name] for name in _OPERANDS)
        inputs = [heads.packed(around, root) for heads in (query, key, value)]
        attributes = {
            "q_num_heads": query.heads,
            "kv_num_heads": key.heads,
            "scale": match["scale"] * query.scale * key.scale,
        }
        scores = _scores(match, around.analysis)
        if is_causal(match, scores):
            attributes["is_causal"] = 1
        else:
            inputs += added_mask(match, inputs[0], inputs[1], scores, around)
        context = root.outputs[0].shape or [None] * 4
        shape = [context[0], context[2], query.heads * value.size]
        result = around.insert("Attention", inputs, shape, root, attributes)
        result.inputs[0].name = root.name
        if _JOINS[tuple(permutation(join) or ())]:
            result = around.insert("Transpose", [result], [shape[1], shape[0], shape[2]], root, {"perm": [1, 0, 2]})
        target = around.constant("heads", [0, 0, query.heads, value.size])
        reshape = gs.Node("Reshape", name=join.name, inputs=[result, target])
        rewriter.insert(reshape, before=root)
        output = join.outputs[0]
        rewriter.erase(join)
        reshape.outputs.append(output)
        for node in match["nodes"]:
            rewriter.erase(node)
        for name in _OPERANDS:
            rewriter.erase_unread(match[name])
        rewriter.touch(reshape)


def _scores(match: Match, analysis: ShapeAnalysis) -> Sequence[Entry]:
    """The dimensions of the scores: batch, heads, tokens of the query, tokens of the key."""
    query, key = analysis.dims(match["query"]), analysis.dims(match["key"])
    assert query is not None and key is not None
    return [*query[:3], key[3]]


def _unfit_numbers(match: Match) -> Reason | None:
    for name in _OPERANDS:
        if match[name].dtype != np.float32:
            return Reason("`{}` holds {}, not float32", match[name].name, match[name].dtype)
    axis = match["softmax"].attrs.get("axis", -1)
    return None if axis in (-1, 3) else Reason("the softmax is over axis {}, not over the last one", axis)


def _unfit_heads(match: Match, analysis: ShapeAnalysis) -> Reason | None:
    query, key, value = (match["heads"][name] for name in _OPERANDS)
    if key.heads != value.heads or query.heads % key.heads:
        return Reason("{} heads of queries, {} of keys and {} of values", query.heads, key.heads, value.heads)
    if query.size != key.size:
        return Reason("the heads of queries have the size {}, those of keys {}", query.size, key.size)
    batches = [(analysis.dims(match[name]) or [0])[0] for name in _OPERANDS]
    if any(batch == 1 for batch in batches) and any(batch != 1 for batch in batches):
        names = [match[name].name for name in _OPERANDS]
        return Reason("the batch of one of `{}`, `{}` and `{}` is broadcast", *names)
    return None


def _unjoined(match: Match, rewriter: Rewriter) -> Reason | None:
    """Why the heads of the result are not joined behind it."""
    result = match["root"].outputs[0]
    reason = rewriter.not_internal(result)
    if reason is not None:
        return reason
    join = result.outputs[0]
    if join.op != "Transpose" or tuple(permutation(join) or ()) not in _JOINS:
        return Reason("the heads of `{}` are not joined: no Transpose puts them behind the tokens", result.name)
    return None
