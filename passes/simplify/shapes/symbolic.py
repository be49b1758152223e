"""Whole numbers with unknowns: polynomials over symbols, as far as shape arithmetic needs them.

A symbol is an axis of a tensor, or the result of an operation that no polynomial can say (a division with a remainder,
a maximum): then its operands are its name, so that equal computations are equal symbols.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np

# A sum of more products than that becomes a symbol: products of sums grow without bounds.
_MOST_TERMS = 32


@dataclass(frozen=True)
class Symbol:
    """An unknown number: what it stands for, and whether it is sure not to be negative.

    `given` says that it is an axis of an input of the graph, or follows from such axes only. Symbols are compared by a
    digest of their keys, which are nested as deep as the computation.
    """

    digest: bytes
    key: tuple[Hashable, ...] = field(compare=False)
    nonnegative: bool = field(compare=False)
    given: bool = field(compare=False)


# A product of symbols, in the order of their digests.
_Product = tuple[Symbol, ...]


@dataclass(frozen=True)
class Expr:
    """A sum of products of symbols that is not a plain number: pairs of a product and its factor."""

    terms: frozenset[tuple[_Product, int]]

    @property
    def symbols(self) -> set[Symbol]:
        """The unknowns in it."""
        return {item for factors, _ in self.terms for item in factors}


# An element of a tensor: known (whole numbers are Python's, floats are NumPy's), or an expression.
Entry = bool | int | np.floating | Expr


def symbol(key: tuple[Hashable, ...], *, nonnegative: bool = False, given: bool = False) -> Expr:
    """A new unknown, equal to others of the same key."""
    digest = hashlib.blake2b(repr([_text(part) for part in key]).encode(), digest_size=16).digest()
    return Expr(frozenset({((Symbol(digest, key, nonnegative, given),), 1)}))


def _text(part: Hashable) -> str:
    """A part of a key in words that tell it from others, but do not go into what its symbols stand for."""
    if not isinstance(part, Expr):
        return f"{type(part).__name__} {part!r}"
    return repr(sorted(([item.digest for item in factors], factor) for factors, factor in part.terms))


def is_known(entry: Entry) -> bool:
    """Whether an element is a plain number."""
    return not isinstance(entry, Expr)


def _terms(entry: Entry) -> dict[_Product, int]:
    if isinstance(entry, Expr):
        return dict(entry.terms)
    return {(): int(entry)} if entry else {}


def _expression(terms: Mapping[_Product, int]) -> Entry:
    kept = {product: factor for product, factor in terms.items() if factor}
    if not kept.keys() - {()}:
        return kept.get((), 0)
    return Expr(frozenset(kept.items()))


def add(first: Entry, second: Entry) -> Entry:
    """The sum."""
    total = _terms(first)
    for product, factor in _terms(second).items():
        total[product] = total.get(product, 0) + factor
    if len(total) > _MOST_TERMS:
        return operation("Add", *_sorted(first, second), nonnegative=lowest(first) >= 0 and lowest(second) >= 0)
    return _expression(total)


def negative(entry: Entry) -> Entry:
    """The number with the other sign."""
    return _expression({product: -factor for product, factor in _terms(entry).items()})


def subtract(first: Entry, second: Entry) -> Entry:
    """The difference."""
    return add(first, negative(second))


def multiply(first: Entry, second: Entry) -> Entry:
    """The product."""
    total: dict[_Product, int] = {}
    for left, factor in _terms(first).items():
        for right, other in _terms(second).items():
            product = tuple(sorted(left + right, key=lambda item: item.digest))
            total[product] = total.get(product, 0) + factor * other
    if len(total) > _MOST_TERMS:
        return operation("Mul", *_sorted(first, second), nonnegative=lowest(first) >= 0 and lowest(second) >= 0)
    return _expression(total)


def product(entries: list[Entry]) -> Entry:
    """The product of all."""
    total: Entry = 1
    for entry in entries:
        total = multiply(total, entry)
    return total


def divide_exactly(first: Entry, second: Entry) -> Entry | None:
    """The quotient where a division by one product leaves nothing; None elsewhere. A divisor is not zero."""
    divisor = list(_terms(second).items())
    if len(divisor) != 1:
        return 1 if first == second and divisor else None
    (symbols, number), quotient = divisor[0], {}
    for product, factor in _terms(first).items():
        rest = list(product)
        for item in symbols:
            if item not in rest:
                return None
            rest.remove(item)
        if factor % number:
            return None
        quotient[tuple(rest)] = factor // number
    return _expression(quotient)


def divide(first: Entry, second: Entry) -> Entry:
    """The quotient as ONNX rounds it, towards zero."""
    exact = divide_exactly(first, second)
    if exact is not None:
        return exact
    if is_known(first) and is_known(second) and second:
        return int(math.copysign(1, first) * math.copysign(1, second)) * (abs(int(first)) // abs(int(second)))  # type: ignore[arg-type]
    return operation("Div", first, second, nonnegative=lowest(first) >= 0 and lowest(second) >= 0)


def remainder(first: Entry, second: Entry) -> Entry:
    """What a division leaves, with the sign of the divisor."""
    if divide_exactly(first, second) is not None:
        return 0
    if is_known(first) and is_known(second) and second:
        return int(first) % int(second)  # type: ignore[arg-type]
    return operation("Mod", first, second, nonnegative=lowest(second) > 0)


def lowest(entry: Entry) -> float:
    """A lower bound; minus infinity if nothing is known."""
    terms = _terms(entry)
    sound = all(
        factor > 0 and all(item.nonnegative for item in product) for product, factor in terms.items() if product
    )
    return terms.get((), 0) if sound else -math.inf


def compare(first: Entry, second: Entry) -> int | None:
    """-1, 0 or 1 as the first is smaller than the second, equal or larger; None if that depends."""
    difference = subtract(first, second)
    if is_known(difference):
        return int(np.sign(int(difference)))  # type: ignore[arg-type]
    if lowest(difference) > 0:
        return 1
    return -1 if lowest(negative(difference)) > 0 else None


def smaller(first: Entry, second: Entry) -> Entry:
    """The minimum."""
    if lowest(subtract(second, first)) >= 0:
        return first
    if lowest(subtract(first, second)) >= 0:
        return second
    return operation("Min", *_sorted(first, second), nonnegative=min(lowest(first), lowest(second)) >= 0)


def larger(first: Entry, second: Entry) -> Entry:
    """The maximum."""
    if lowest(subtract(first, second)) >= 0:
        return first
    if lowest(subtract(second, first)) >= 0:
        return second
    return operation("Max", *_sorted(first, second), nonnegative=max(lowest(first), lowest(second)) >= 0)


def _sorted(*entries: Entry) -> list[Entry]:
    return sorted(entries, key=_text)


def operation(name: str, *operands: Hashable, nonnegative: bool = False) -> Expr:
    """The result of something that is not said in numbers."""
    given = all(item.given for operand in operands if isinstance(operand, Expr) for item in operand.symbols)
    return symbol((name, *operands), nonnegative=nonnegative, given=given)
