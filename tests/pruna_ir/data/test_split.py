from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.data.fit import Fit
from pruna_ir.data.sources import UNNAMED, ArraySource, CachedSource, MappedSource
from pruna_ir.data.split import Split
from pruna_ir.model.spec import TensorSpec


def split(samples: int, batch: int | str, labels: Any = None) -> Split:
    array = np.arange(samples * 2, dtype=np.float32).reshape(samples, 2)
    spec = TensorSpec("x", np.dtype(np.float32), (batch, 2))
    return Split("calibration", ArraySource({UNNAMED: array}, labels), Fit((spec,), "here"))


@given(samples=st.integers(1, 30), batch=st.integers(1, 9), static=st.booleans(), limit=st.integers(1, 40))
def test_batches_hold_every_sample_once_in_order(samples: int, batch: int, static: bool, limit: int) -> None:
    wanted = min(samples, limit)
    data = split(samples, batch if static else "N", np.arange(samples)).head(limit)
    batches = list(data.batches(5 if static else batch))
    real = np.concatenate([part.feeds["x"][: part.count] for part in batches])
    assert np.array_equal(real, np.arange(wanted * 2, dtype=np.float32).reshape(wanted, 2))
    assert np.concatenate([part.labels for part in batches]).tolist() == list(range(wanted))
    assert [part.index for part in batches] == list(range(0, wanted, batch))
    assert all(len(part.feeds["x"]) == part.size for part in batches)
    if static:
        assert all(part.size == batch for part in batches)
    assert data.size == wanted


def test_padding_repeats_the_last_sample() -> None:
    last = list(split(6, 4).batches())[-1]
    assert (last.count, last.size, last.index) == (2, 4, 4)
    assert last.feeds["x"][:, 0].tolist() == [8, 10, 10, 10]


def test_batches_can_be_iterated_again() -> None:
    batches = split(5, "N").batches(2)
    assert [part.feeds["x"].tolist() for part in batches] == [part.feeds["x"].tolist() for part in batches]


def test_fewer_labels_than_samples_come_with_the_last_of_their_group() -> None:
    parts = list(split(6, "N", np.array([7, 8, 9])).batches(3))
    assert [part.labels.tolist() for part in parts] == [[7], [8, 9]]


def test_samples_of_another_shape_start_a_batch(spec: Any) -> None:
    from pruna_ir.data.iterables import source_from

    lengths = [2, 2, 3, 3, 3, 2]
    source = source_from([np.zeros(length, np.float32) for length in lengths], "p")
    data = Split("calibration", source, Fit((spec("x", "N", "T"),), "here"))
    assert [part.feeds["x"].shape for part in data.batches(2)] == [(2, 2), (2, 3), (1, 3), (1, 2)]


def test_no_samples(refuses: Any) -> None:
    with refuses("D005", "no samples"):
        list(split(0, "N").batches(2))


@pytest.mark.parametrize("room", [0, 20, 1 << 20])
def test_cache_changes_nothing_but_the_work(room: int) -> None:
    work = []

    def count(array: np.ndarray) -> np.ndarray:
        work.append(1)
        return array

    data = split(6, "N", np.arange(6))
    cached = Split("calibration", CachedSource(MappedSource(data.source, count), room), data.fit)
    plain = [(part.feeds["x"].tolist(), part.labels.tolist()) for part in data.batches(4)]
    for _ in range(3):
        assert [(part.feeds["x"].tolist(), part.labels.tolist()) for part in cached.batches(4)] == plain
    kept = min(6, room // 8)
    assert len(work) == 6 + 2 * (6 - kept)
    assert cached.labelled and cached.size == 6


def test_cached_split_has_the_same_batches() -> None:
    data = split(6, "N")
    again = data.cached()
    list(again.batches())
    for first, second in zip(data.batches(4), again.batches(4), strict=True):
        assert np.array_equal(first.feeds["x"], second.feeds["x"]) and first.index == second.index
