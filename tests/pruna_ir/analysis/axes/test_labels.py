"""Union-find over labels, beside one that is written for being read."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.analysis.axes.labels import LabelTable

COUNT = 12
PAIRS = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)))


def naive(pairs: list[tuple[int, int]]) -> list[int]:
    """The smallest label of each label's set."""
    sets = list(range(COUNT))
    for first, second in pairs:
        low, high = sorted((sets[first], sets[second]))
        sets = [low if label == high else label for label in sets]
    return sets


@given(PAIRS, PAIRS, st.lists(st.integers(0, COUNT - 1)))
def test_units_are_connected_labels(early: list[tuple[int, int]], late: list[tuple[int, int]], kept: list[int]) -> None:
    table = LabelTable()
    labels = np.concatenate([table.fresh(COUNT // 2), table.fresh(COUNT - COUNT // 2)])
    table.protect(np.array(kept, np.int64), "kept")
    for pairs in (early, late):
        for pair in pairs:
            table.equate(*(labels[[label]] for label in pair))
        table.is_protected(labels)  # solves in between
    sets = naive(early + late)
    components = table.components()
    assert [components.unit[label] == components.unit[sets[label]] for label in range(COUNT)] == [True] * COUNT
    assert len(set(sets)) == len(components.reason)
    protected = {sets[label] for label in kept}
    assert table.is_protected(labels).tolist() == [label in protected for label in sets]
    has_reason = components.reason[components.unit] < len(components.reasons)
    assert has_reason.tolist() == [label in protected for label in sets]


def test_labels_broadcast() -> None:
    table = LabelTable()
    labels = table.fresh(6).reshape(2, 3)
    table.equate(labels, labels[0])
    assert table.components().unit.tolist() == [0, 1, 2, 0, 1, 2]


def test_units_are_numbered_in_order_of_first_use() -> None:
    table = LabelTable()
    first, second = table.fresh(2), table.fresh(2)
    table.equate(first[1:], second[:1])
    assert table.components().unit.tolist() == [0, 1, 1, 2]


def test_first_reason_is_kept() -> None:
    table = LabelTable()
    labels = table.fresh(3)
    table.protect(labels[:2], "first")
    table.protect(labels, "second")
    table.protect(labels[:0], "nothing")
    table.equate(labels[1:2], labels[2:])
    components = table.components()
    assert [components.reasons[reason] for reason in components.reason[components.unit]] == ["first"] * 3


def test_no_labels() -> None:
    components = LabelTable().components()
    assert (len(components.unit), len(components.reason)) == (0, 0)
