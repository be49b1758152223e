from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pruna_ir.data.iterables import as_array, source_from, to_sample
from pruna_ir.data.sources import UNNAMED


class Tensor:
    """What torch's tensors do: conversion needs `detach` and `cpu` first."""

    def __init__(self, value: Any, state: str = "grad") -> None:
        self.value, self.state = value, state

    def detach(self) -> Tensor:
        return Tensor(self.value, "device")

    def cpu(self) -> Tensor:
        assert self.state == "device"
        return Tensor(self.value, "plain")

    def numpy(self) -> np.ndarray:
        assert self.state == "plain"
        return np.asarray(self.value)


def test_tensors_of_frameworks_convert() -> None:
    assert as_array(Tensor([1.0, 2.0]), "p").tolist() == [1.0, 2.0]


def test_what_is_no_array_is_refused(refuses: Any) -> None:
    for value in ("text", [[1], [1, 2]], object()):
        with refuses("D003"):
            as_array(value, "p")


def test_forms_of_an_item(refuses: Any) -> None:
    x = np.zeros(2)
    assert list(to_sample(x, "p").arrays) == [UNNAMED]
    assert list(to_sample([x], "p").arrays) == [UNNAMED]
    assert to_sample([x, 3], "p").label == 3
    assert list(to_sample(({"a": x, "b": x}, 3), "p").arrays) == ["a", "b"]
    with refuses("D003", "3 parts"):
        to_sample((x, x, x), "p")


def test_a_generator_can_be_gone_through_twice() -> None:
    source = source_from((np.full(2, i) for i in range(3)), "p")
    first = [sample.arrays[UNNAMED][0] for sample in source]
    assert first == [0, 1, 2] == [sample.arrays[UNNAMED][0] for sample in source]
    assert [sample.arrays[UNNAMED][0] for sample in source.samples(2)] == [2]


def test_a_function_is_called_again_rather_than_remembered() -> None:
    calls = []

    def make() -> Iterator[np.ndarray]:
        calls.append(1)
        yield from np.eye(2)

    source = source_from(make(), "p", again=make)
    before = len(calls)
    assert len(list(source)) == len(list(source)) == 2
    assert len(calls) == before + 2


def test_labels_are_seen_from_the_first_item() -> None:
    assert source_from([(np.zeros(2), 1)], "p").labelled
    assert not source_from([np.zeros(2)], "p").labelled
    assert source_from((np.zeros((2, 2)), [1, 2]), "p").labelled


def test_failures_of_the_users_code(refuses: Any) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.zeros(2)
        raise KeyError("lost")

    with refuses("D008", "KeyError", "lost"):
        list(source_from(broken(), "p"))
    with refuses("D008", "iterable"):
        source_from(3, "p")
    with refuses("D005"):
        source_from([], "p")
    with refuses("D003", "different numbers of samples"):
        source_from({"a": np.zeros((2, 1)), "b": np.zeros((3, 1))}, "p")
    with refuses("D007", "3 labels do not fit 4 samples"):
        source_from((np.zeros((4, 1)), [1, 2, 3]), "p")
