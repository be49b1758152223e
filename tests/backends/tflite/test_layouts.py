"""Layouts, and what reshapes make of them."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.backends.tflite.layouts import channels_last, identity, inverse, padded, same_order, stored_shape
from pruna_ir.backends.tflite.reshaping import blocks, relabel

SHAPES = st.lists(st.sampled_from([1, 1, 2, 3, 4, 6]), min_size=1, max_size=5)


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[list[int], list[int], tuple[int, ...]]:
    """A shape, another one of as many elements, and a layout of the first."""
    before = draw(SHAPES)
    factors = [prime for size in before for prime in ([2, 2] if size == 4 else [2, 3] if size == 6 else [size])]
    after, left = [], list(factors)
    while left:
        count = draw(st.integers(1, len(left)))
        after.append(math.prod(left[:count]))
        del left[:count]
    return before, after, tuple(draw(st.permutations(range(len(before)))))


def stored(array: np.ndarray, layout: tuple[int, ...]) -> np.ndarray:
    return array.transpose(layout).reshape(-1)


def test_channels_last() -> None:
    assert [channels_last(rank) for rank in range(6)] == [
        (),
        (0,),
        (0, 1),
        (0, 2, 1),
        (0, 2, 3, 1),
        (0, 2, 3, 4, 1),
    ]


@given(st.permutations(range(4)))
def test_inverse(layout: list[int]) -> None:
    order = tuple(layout)
    assert tuple(order[axis] for axis in inverse(order)) == identity(4)
    assert stored_shape([10, 11, 12, 13], order) == tuple(10 + axis for axis in order)


@given(SHAPES, st.data())
def test_same_order_means_the_same_bytes(shape: list[int], data: st.DataObject) -> None:
    layouts = [tuple(data.draw(st.permutations(range(len(shape))))) for _ in range(2)]
    values = np.arange(math.prod(shape)).reshape(shape)
    equal = np.array_equal(stored(values, layouts[0]), stored(values, layouts[1]))
    assert same_order(shape, layouts[0], layouts[1]) == equal


def test_padded() -> None:
    assert padded((1, 0), 4) == (0, 1, 3, 2)


@given(reshapes())
def test_relabelled_values_lie_as_they_did(case: tuple[list[int], list[int], tuple[int, ...]]) -> None:
    before, after, layout = case
    values = np.arange(math.prod(before)).reshape(before)
    found = relabel(before, after, layout)
    if found is None:
        # no layout of the result has the same bytes
        assert layout != identity(len(before))
    else:
        np.testing.assert_array_equal(stored(values.reshape(after), found), stored(values, layout))


@given(reshapes())
def test_the_order_of_onnx_stays(case: tuple[list[int], list[int], tuple[int, ...]]) -> None:
    before, after, _ = case
    assert relabel(before, after, identity(len(before))) == identity(len(after))


def test_spatial_axes_are_joined_in_channels_last() -> None:
    assert relabel([1, 85, 52, 52], [1, 85, 2704], (0, 2, 3, 1)) == (0, 2, 1)
    assert relabel([1, 8, 4, 4], [1, 2, 4, 4, 4], (0, 2, 3, 1)) == (0, 3, 4, 1, 2)
    assert relabel([1, 8, 4, 4], [1, 128], (0, 2, 3, 1)) is None
    assert relabel([2, 8, 1, 1], [2, 8], (0, 2, 3, 1)) == (0, 1)


def test_blocks_leave_out_axes_of_size_one() -> None:
    assert blocks([2, 1, 6], [4, 3, 1]) == [([0, 2], [0, 1])]
    assert blocks([2, 1, 6], [2, 3, 2]) == [([0], [0]), ([2], [1, 2])]
    assert blocks([0, 3], [3, 0]) is None
