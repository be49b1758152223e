"""Einsum as products of matrices."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body
from pruna_ir.passes.fusion.static_shapes import static_shape
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule
from pruna_ir.remarks import Reason

_ELLIPSIS = "..."


@dataclass(frozen=True)
class WriteOutEinsum(Rule):
    """Write an Einsum as Transpose, Reshape and MatMul, two operands at a time.

        before   Einsum<"bqhd,bkhd->bhqk">(q, k)
        after    Reshape(MatMul(Reshape(Transpose(q)), Reshape(Transpose(k))))

    Labels that stand in one operand only are summed first, repeated ones become a Gather of the diagonal, and operands
    without a label in common are multiplied element by element.

    Does not fire if a shape is not known.
    """

    name: ClassVar[str] = "write-out-einsum"
    roots: ClassVar[tuple[str, ...]] = ("Einsum",)

    def match(self, root: gs.Node) -> Match | None:
        return {"node": root}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        for tensor in match["node"].inputs:
            if static_shape(tensor) is None:
                return Reason("the shape of `{}` is not known", tensor.name)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        node = match["node"]
        body = Body(rewriter, node)
        labels, output = _labels(node.attrs["equation"], [len(tensor.shape) for tensor in node.inputs])
        terms = [_Term(tensor, names) for tensor, names in zip(node.inputs, labels, strict=True)]
        terms = [_diagonal(body, term) for term in terms]
        terms = _without_ones(body, terms, output)
        total = terms.pop(0)
        while terms:
            wanted = {*output, *(label for term in terms[1:] for label in term.labels)}
            total = _product(body, total, terms.pop(0), wanted)
        total = _sum(body, total, set(output))
        body.finish(_arranged(body, total, output))


@dataclass(frozen=True)
class _Term:
    """A tensor and the labels of its axes."""

    tensor: gs.Tensor
    labels: list[str]

    def size(self, label: str) -> int:
        return int(self.tensor.shape[self.labels.index(label)])


def _labels(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """Labels of the axes of all operands and of the result; those of the ellipsis are numbered from the right."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    operands = [_expanded(term, rank) for term, rank in zip(terms, ranks, strict=True)]
    dots = max((label for names in operands for label in names if label.isdigit()), key=int, default="-1")
    if not arrow:
        counts = Counter(label for names in operands for label in names)
        single = sorted(label for label, count in counts.items() if count == 1 and not label.isdigit())
        right = (_ELLIPSIS if _ELLIPSIS in left else "") + "".join(single)
    return operands, _expanded(right, len(right.replace(_ELLIPSIS, "")) + int(dots) + 1)


def _expanded(term: str, rank: int) -> list[str]:
    first, ellipsis, rest = term.partition(_ELLIPSIS)
    dots = rank - len(first) - len(rest) if ellipsis else 0
    return [*first, *(str(number) for number in reversed(range(dots))), *rest]


def _diagonal(body: Body, term: _Term) -> _Term:
    """A term in which every label stands once."""
    for label, count in Counter(term.labels).items():
        if count == 1:
            continue
        rest = [name for name in term.labels if name != label]
        places = [place for place, name in enumerate(term.labels) if name == label]
        order = places + [place for place, name in enumerate(term.labels) if name != label]
        size, sizes = term.size(label), [term.size(name) for name in rest]
        rows = body.reshape(body.transpose(term.tensor, order), [size**count, *sizes])
        step = sum(size**power for power in range(count))
        term = _Term(body("Gather", rows, body.constant(np.arange(size) * step, np.int64), axis=0), [label, *rest])
    return term


def _without_ones(body: Body, terms: list[_Term], output: Sequence[str]) -> list[_Term]:
    """Terms without the axes of size one that are broadcast to those of other terms."""
    found = []
    for place, term in enumerate(terms):
        others = [other for index, other in enumerate(terms) if index != place]
        kept = [
            label
            for label in term.labels
            if term.size(label) != 1 or not any(label in other.labels and other.size(label) != 1 for other in others)
        ]
        found.append(_Term(body.reshape(term.tensor, [term.size(label) for label in kept]), kept))
    return found


def _sum(body: Body, term: _Term, wanted: set[str]) -> _Term:
    """A term summed over all labels but those that are wanted."""
    axes = [place for place, label in enumerate(term.labels) if label not in wanted]
    if not axes:
        return term
    total = body("ReduceSum", term.tensor, body.constant(axes, np.int64), keepdims=0)
    return _Term(total, [label for label in term.labels if label in wanted])


def _product(body: Body, left: _Term, right: _Term, wanted: set[str]) -> _Term:
    """The product of two terms, summed over what both have and nobody wants."""
    left = _sum(body, left, wanted | {*right.labels})
    right = _sum(body, right, wanted | {*left.labels})
    common = [label for label in left.labels if label in right.labels]
    batch = [label for label in common if label in wanted]
    summed = [label for label in common if label not in wanted]
    rows = [label for label in left.labels if label not in common]
    columns = [label for label in right.labels if label not in common]
    labels = batch + rows + columns
    sizes = [left.size(label) if label in left.labels else right.size(label) for label in labels]
    if not summed:
        ones = [left.size(label) for label in batch + rows] + [1] * len(columns)
        first = body.reshape(_arranged(body, left, batch + rows), ones)
        ones = [right.size(label) for label in batch] + [1] * len(rows) + [right.size(label) for label in columns]
        second = body.reshape(_arranged(body, right, batch + columns), ones)
        return _Term(body("Mul", first, second), labels)
    first = _matrices(body, left, [batch, rows, summed])
    second = _matrices(body, right, [batch, summed, columns])
    return _Term(body.reshape(body("MatMul", first, second), sizes), labels)


def _matrices(body: Body, term: _Term, groups: list[list[str]]) -> gs.Tensor:
    """A term with its labels in three groups, of which the first goes if it is empty."""
    tensor = _arranged(body, term, [label for group in groups for label in group])
    sizes = [math.prod(term.size(label) for label in group) for group in groups]
    return body.reshape(tensor, sizes if groups[0] else sizes[1:])


def _arranged(body: Body, term: _Term, labels: Sequence[str]) -> gs.Tensor:
    return body.transpose(term.tensor, [term.labels.index(label) for label in labels])
