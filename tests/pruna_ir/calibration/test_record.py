"""Merging records: exact, in any order and grouping."""

from __future__ import annotations

from functools import reduce

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pruna_ir.calibration.record import Record

VALUES = arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(width=32))


def record_of(values: np.ndarray) -> Record:
    return Record.of(values, axis=1, fingerprint="f")


@given(st.lists(VALUES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_merging_is_the_record_of_everything(parts: list[np.ndarray], random: object) -> None:
    whole = record_of(np.concatenate(parts))
    order = sorted(range(len(parts)), key=lambda _: random.random())  # type: ignore[attr-defined]
    records = [record_of(parts[index]) for index in order]
    assert reduce(Record.merge, records) == whole
    assert reduce(lambda right, left: left.merge(right), records) == whole


@given(VALUES)
def test_the_empty_record_is_neutral(values: np.ndarray) -> None:
    record = record_of(values)
    assert record.merge(Record.empty("f")) == record == Record.empty("f").merge(record)


def test_a_stride_survives_merging(generator: np.random.Generator) -> None:
    values = generator.standard_normal(1000, np.float32)
    record = Record.of(values)
    assert record.merge(record).stride == 1.0


def test_channels_need_both_sides(record: Record) -> None:
    without = Record.of(np.ones(3, np.float32), fingerprint="abc")
    assert record.channels is not None
    assert record.merge(without).channels is None
    other_axis = Record.of(np.ones((3, 3), np.float32), axis=0, fingerprint="abc")
    assert record.merge(other_axis).channels is None


def test_equality_sees_every_field(record: Record) -> None:
    assert record != Record.empty()
    assert record != record.merge(record)
    assert record == record.merge(Record.empty())
