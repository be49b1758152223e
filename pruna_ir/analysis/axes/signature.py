"""Rules written as signatures, in the manner of einsum: `X[n c *] W[o c *] B[o] -> Y[n o *]`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.remarks import Reason

# Runs of axes, as many as there are: `*` those whose positions the op mixes, which are never cut, and `...` those
# that it hands on one to one.
_MIXED, _CARRIED = "*", "..."
_RUNS = frozenset({_MIXED, _CARRIED})
_OPERAND = re.compile(r"\w+\[([^\]]*)\]")


@dataclass(frozen=True)
class Signature:
    """A rule for inputs and outputs in the order of the operator; inputs that a node leaves out are skipped.

    Axes of one letter go together. A letter that no output has is summed over: its axes of weights (of all operands,
    if none is a weight) are contracted, and the other letters of those weights are produced.
    """

    text: str

    def __call__(self, at: NodeAxes) -> Reason | None:
        """Relate the axes of a node; the reason if it has other axes than the signature."""
        spelled: list[tuple[int, list[tuple[str, int]]]] = []
        run = 0
        for index, terms in enumerate(self._inputs):
            if at.has(index):
                rank = len(at.shape(index))
                length = max(rank - len(terms) + 1, 0) if _RUNS & set(terms) else 0
                run = max(run, length)
                axes = _spell(terms, length)
                if len(axes) != rank:
                    return at.reason(f"has an input of {rank} axes, not [{' '.join(terms)}]")
                spelled.append((index, axes))
        bound = self._bind(at, spelled)
        for index, terms in enumerate(self._outputs[: len(at.node.outputs)]):
            at.write([bound.get(term) for term, _ in _spell(terms, run)], index)
        return None

    def _bind(self, at: NodeAxes, operands: list[tuple[int, list[tuple[str, int]]]]) -> dict[str, Labels]:
        """What the letters stand for, having equated and protected what the signature says."""
        bound: dict[str, Labels] = {}
        for index, axes in operands:
            for (term, _), labels in zip(axes, at.input(index), strict=True):
                if term.startswith(_MIXED):
                    at.protect(labels, at.reason("mixes the positions of this axis"))
                elif term in bound:
                    at.equate(bound[term], labels)
                else:
                    bound[term] = labels
        self._note_roles(at, operands)
        return bound

    def _note_roles(self, at: NodeAxes, operands: list[tuple[int, list[tuple[str, int]]]]) -> None:
        for letter in sorted(self._summed):
            at.contract(*((index, axis) for index, axes in operands for term, axis in axes if term == letter))
        for index, axes in operands:
            if at.is_weight(index) and self._summed & set(self._inputs[index]):
                for term, axis in axes:
                    if term not in self._summed and not term.startswith(_MIXED):
                        at.produce(index, axis)

    @cached_property
    def _inputs(self) -> list[list[str]]:
        return list(_operands(self.text.partition("->")[0]))

    @cached_property
    def _outputs(self) -> list[list[str]]:
        return list(_operands(self.text.partition("->")[2]))

    @cached_property
    def _summed(self) -> frozenset[str]:
        written = {term for terms in self._outputs for term in terms}
        read = {term for terms in self._inputs for term in terms}
        return frozenset(read - written - _RUNS)


def _operands(side: str) -> Iterator[list[str]]:
    return (match.group(1).split() for match in _OPERAND.finditer(side))


def _spell(terms: list[str], length: int) -> list[tuple[str, int]]:
    """Each axis and its term; those of a run, of which there are `length`, are numbered from the last."""
    spelled = [[f"{term}{number}" for number in range(length, 0, -1)] if term in _RUNS else [term] for term in terms]
    return [(term, axis) for axis, term in enumerate(itertools.chain.from_iterable(spelled))]
