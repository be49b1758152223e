"""How the axes of a tensor become those of its reshaped form: both are cut into common factors.

A reshape keeps the order of the elements. Where the last axes of both forms have the same number of elements, the
axes before them have too, so reading the dimensions from the right (and, where that gets stuck, from the left) gives
factors that both forms are products of: `[4, 6] -> [2, 12]` has the factors 2, 2 and 6. Each axis, before and after,
is a run of neighbouring factors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Dim = int | str | None


@dataclass(frozen=True)
class Factor:
    """A part of an axis before (`source`) that is a part of an axis after (`target`); its size, none if open."""

    size: int | None
    source: int
    target: int


@dataclass(frozen=True)
class Lump:
    """Axes before and after, or what is left of them, that have no common factors: only their products are equal.

    `place` is the number of common factors to the left of it.
    """

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    place: int = 0


@dataclass(frozen=True)
class _Size:
    """A product of a number and symbols."""

    number: int
    symbols: tuple[str, ...] = ()

    def without(self, other: _Size) -> _Size | None:
        """What is left when `other` is divided out; none if it is no divisor."""
        rest, taken = Counter(self.symbols), Counter(other.symbols)
        if taken - rest or not other.number or self.number % other.number:
            return None
        return _Size(self.number // other.number, tuple(sorted((rest - taken).elements())))

    def times(self, other: _Size) -> _Size:
        return _Size(self.number * other.number, tuple(sorted(self.symbols + other.symbols)))


_ONE = _Size(1)
# Axes that are yet to be read, the next one last, with what is left of each.
_Stack = list[tuple[int, _Size]]


def factorize(before: Sequence[Dim], after: Sequence[Dim]) -> tuple[list[Factor], Lump]:
    """The common factors of two shapes, in the order of the elements, and what has none.

    A dimension is a number, a symbol (equal symbols are equal sizes) or None; one None of `after` follows from the
    others if they are known. Axes of size 1 have no factors.
    """
    sources, targets = _sizes(before, "before"), _sizes(after, "after")
    _infer(sources, targets, after)
    right = [_stack(sources), _stack(targets)]
    last = _read(*right)
    left = [side[::-1] for side in right]
    first = _read(*left)
    sources_left, targets_left = (tuple(sorted(axis for axis, _ in side)) for side in left)
    return first + last[::-1], Lump(sources_left, targets_left, len(first))


def _sizes(shape: Sequence[Dim], side: str) -> list[_Size]:
    """Each dimension; what is not known is a symbol of its own."""
    return [
        _Size(dim) if isinstance(dim, int) else _Size(1, (dim or f"{side} {axis}",)) for axis, dim in enumerate(shape)
    ]


def _infer(sources: list[_Size], targets: list[_Size], after: Sequence[Dim]) -> None:
    """Put in the one dimension that follows from the others."""
    unknown = [axis for axis, dim in enumerate(after) if dim is None]
    if len(unknown) != 1:
        return
    total, rest = _product(sources), _product([*targets[: unknown[0]], *targets[unknown[0] + 1 :]])
    inferred = total.without(rest)
    if inferred is not None:
        targets[unknown[0]] = inferred


def _product(sizes: Sequence[_Size]) -> _Size:
    total = _ONE
    for size in sizes:
        total = total.times(size)
    return total


def _stack(sizes: Sequence[_Size]) -> _Stack:
    return [(axis, size) for axis, size in enumerate(sizes) if size != _ONE]


def _read(sources: _Stack, targets: _Stack) -> list[Factor]:
    """Take common factors off the ends of two stacks, until neither end divides the other."""
    found = []
    while sources and targets:
        (source, given), (target, taken) = sources[-1], targets[-1]
        if (rest := given.without(taken)) is not None:
            common = taken
            targets.pop()
            _leave(sources, source, rest)
        elif (rest := taken.without(given)) is not None:
            common = given
            sources.pop()
            _leave(targets, target, rest)
        else:
            break
        found.append(Factor(None if common.symbols else common.number, source, target))
    return found


def _leave(stack: _Stack, axis: int, rest: _Size) -> None:
    """Replace the end of a stack by what is left of it."""
    stack.pop()
    if rest != _ONE:
        stack.append((axis, rest))
