"""What a model costs, as a function of the widths of its groups.

A weight has as many elements as the product of the lengths of its axes, and a node multiplies each of them as often as
the sizes say that stay: both are products of lengths, and a length grows linearly with the units that are left.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Group to the number of its units that are left.
Widths = Mapping[str, int]


@dataclass(frozen=True)
class Extent:
    """The length of an axis: `fixed` indices that always stay, and for each unit of a group so many more."""

    fixed: float
    per_unit: Mapping[str, float] = field(default_factory=dict)

    def at(self, widths: Mapping[str, Any]) -> Any:
        """The length; an array where one of the widths is an array of choices."""
        return self.fixed + sum(count * widths[group] for group, count in self.per_unit.items())


@dataclass(frozen=True)
class Term:
    """The cost of one weight or node: a factor, times the lengths of the axes that groups lie on."""

    factor: float
    extents: tuple[Extent, ...] = ()

    def at(self, widths: Mapping[str, Any]) -> Any:
        """The cost; an array where one of the widths is an array of choices."""
        return self.factor * math.prod((extent.at(widths) for extent in self.extents), start=1.0)

    @property
    def groups(self) -> set[str]:
        """The groups that it depends on."""
        return {group for extent in self.extents for group in extent.per_unit}


class Cost:
    """A sum of terms."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(terms)
        self._of_group: dict[str, list[Term]] = defaultdict(list)
        for term in self.terms:
            for group in term.groups:
                self._of_group[group].append(term)

    def at(self, widths: Widths) -> float:
        """The cost of the model with these widths."""
        return float(sum(term.at(widths) for term in self.terms))

    def along(self, group: str, choices: np.ndarray, widths: Widths) -> np.ndarray:
        """The terms that a group is part of, for each of its `choices`, the other groups being as they are."""
        varied = {**widths, group: choices.astype(np.float64)}
        return np.asarray(sum(term.at(varied) for term in self._of_group[group]) + np.zeros(len(choices)))
