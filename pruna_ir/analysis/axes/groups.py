"""Groups: the units of a graph that have the same form, and where they stand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pruna_ir.analysis.axes.labels import Components
from pruna_ir.analysis.axes.node_axes import Axes
from pruna_ir.analysis.axes.places import Use
from pruna_ir.remarks import Reason

_Placed = Mapping[tuple[str, int], Axes]


@dataclass(frozen=True, eq=False)
class Group:
    """Units of the same form: each stands on the same axes, equally often. Any of them may go, but not the last.

    `name` tells the nodes that produce it; `units` [size] are numbers of the whole graph, in the order in which their
    indices stand. `producers` are the weight axes that make it, `consumers` the axes that are summed over (of the
    weight, where one operand is a weight), `carriers` the other axes of constants (biases, scales, depthwise weights).
    `protected` is the reason why it is never cut. `reduces` names the nodes that compute a mean, a norm or the like
    over it: a cut changes what they compute, so there it is not the same as zeros for the consumers.
    """

    name: str
    units: np.ndarray
    producers: tuple[Use, ...] = ()
    consumers: tuple[Use, ...] = ()
    carriers: tuple[Use, ...] = ()
    protected: Reason | str | None = None
    reduces: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of units."""
        return len(self.units)


@dataclass
class Roles:
    """What rules said of axes: their roles, and which nodes reduce over which labels."""

    producers: Sequence[Use]
    consumers: Sequence[Use]
    reduced: Sequence[tuple[str, np.ndarray]]


@dataclass
class _Draft:
    units: list[int] = field(default_factory=list)
    producers: list[Use] = field(default_factory=list)
    consumers: list[Use] = field(default_factory=list)
    carriers: list[Use] = field(default_factory=list)
    reduces: list[str] = field(default_factory=list)


def build_groups(
    uses: _Placed,
    tensors: Mapping[str, Axes],
    inputs: _Placed,
    components: Components,
    roles: Roles,
    names: Mapping[str, str],
) -> tuple[Group, ...]:
    """The groups of a graph, in graph order.

    `uses` are the axes of constants, `tensors` those of variables, `inputs` those of all inputs of nodes, with unit
    numbers for labels. `names` are the names of nodes for people. What no weight produces is no group, nor is what is
    protected and only read (the input of the first layer, say).
    """
    axes = [labels for held in (*uses.values(), *tensors.values()) for labels in held if labels is not None]
    of_unit, drafts = _by_form(axes, components)

    def note(uses: Iterable[Use], role: str) -> None:
        for use in uses:
            labels = inputs[use.node, use.input][use.axis]
            for number in [] if labels is None else np.unique(of_unit[labels]):
                getattr(drafts[number], role).append(use)

    producers, consumers = dict.fromkeys(roles.producers), dict.fromkeys(roles.consumers)
    note(producers, "producers")
    note(consumers, "consumers")
    every = (Use(node, index, axis) for (node, index), held in uses.items() for axis in range(len(held)))
    note((use for use in every if use not in producers and use not in consumers), "carriers")
    for node, units in roles.reduced:
        for number in np.unique(of_unit[units]):
            drafts[number].reduces.append(node)
    return _finish(drafts, components, names)


def _by_form(axes: Sequence[np.ndarray], components: Components) -> tuple[np.ndarray, list[_Draft]]:
    """The form of each unit as a number, and a draft for each form.

    Two units have the same form if they stand equally often on the same axes, and are protected for the same reason.
    """
    forms = _mix(~components.reason.astype(np.uint64))  # far from the numbers of axes
    if axes:
        units = np.concatenate(axes)
        numbers = np.repeat(np.arange(len(axes)), [len(held) for held in axes])
        pairs, times = np.unique(units * len(axes) + numbers, return_counts=True)
        terms = _mix((pairs % len(axes)).astype(np.uint64) << np.uint64(32) | times.astype(np.uint64))
        np.add.at(forms, pairs // len(axes), terms)
    _, first, form = np.unique(forms, return_index=True, return_inverse=True)
    of_unit = np.argsort(np.argsort(first))[form]  # forms in the order of their first units
    drafts = [_Draft() for _ in first]
    for unit, number in enumerate(of_unit.tolist()):
        drafts[number].units.append(unit)
    return of_unit, drafts


def _mix(numbers: np.ndarray) -> np.ndarray:
    """Hashes of 64 bits, of which sums tell sets apart (the finalizer of splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _finish(drafts: Iterable[_Draft], components: Components, names: Mapping[str, str]) -> tuple[Group, ...]:
    taken: set[str] = set()
    groups = []
    for draft in drafts:
        reason = components.reason[draft.units[0]]
        protected = components.reasons[reason] if reason < len(components.reasons) else None
        if not draft.producers and (protected is not None or not draft.consumers):
            continue
        label = _label(draft.producers or draft.consumers, names)
        numbered = itertools.chain([label], (f"{label} #{number}" for number in itertools.count(2)))
        name = next(candidate for candidate in numbered if candidate not in taken)
        taken.add(name)
        groups.append(
            Group(
                name,
                np.array(draft.units),
                tuple(draft.producers),
                tuple(draft.consumers),
                tuple(draft.carriers),
                protected,
                tuple(dict.fromkeys(draft.reduces)),
            )
        )
    return tuple(groups)


def _label(uses: Sequence[Use], names: Mapping[str, str]) -> str:
    nodes = dict.fromkeys(names[use.node] for use in uses)
    return next(iter(nodes)) + (f" +{len(nodes) - 1}" if len(nodes) > 1 else "")
