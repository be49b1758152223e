"""Windows over spatial axes: how many there are, and when SAME or VALID pads as ONNX does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pruna_ir.backends.windows import Windows, with_rows


@st.composite
def windows(draw: st.DrawFn) -> Windows:
    kernel, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    reach = (kernel - 1) * dilation + 1
    before, after = draw(st.integers(0, reach - 1)), draw(st.integers(0, reach - 1))
    size = draw(st.integers(max(1, reach - before - after), 12))
    stride = draw(st.integers(1, 4))
    return Windows((size,), (kernel,), (stride,), (dilation,), (before,), (after,), draw(st.booleans()))


def starts(item: Windows) -> list[int]:
    """Where windows start in the data, by their definition."""
    size, before, after = item.size[0], item.before[0], item.after[0]
    found, place = [], -before
    while place + item.reach[0] <= size + after or (
        item.ceil and place < size and place + item.reach[0] - item.strides[0] < size + after
    ):
        found.append(place)
        place += item.strides[0]
    return found


@given(windows())
def test_number_of_windows(item: Windows) -> None:
    assert item.results[0] == len(starts(item))


@given(windows())
def test_excess_is_what_the_last_window_has_beyond_the_padding(item: Windows) -> None:
    last = starts(item)[-1] + item.reach[0] - (item.size[0] + item.after[0])
    assert item.excess[0] == last
    assert item.fits == (last <= 0)


@given(windows())
def test_padding_by_name_starts_windows_at_the_same_places(item: Windows) -> None:
    """As TensorFlow defines it: SAME has as many results as steps, and pads the smaller half in front."""
    size, stride, reach = item.size[0], item.strides[0], item.reach[0]
    count = -(-size // stride)
    needed = max((count - 1) * stride + reach - size, 0)
    same = [index * stride - needed // 2 for index in range(count)]
    valid = [index * stride for index in range((size - reach) // stride + 1)] if size >= reach else []
    named = {"SAME": same, "VALID": valid}
    if item.padding is None:
        assert starts(item) != same
        assert starts(item) != valid or any([*item.before, *item.after]) or not item.fits
    else:
        assert named[item.padding] == starts(item)


def test_one_axis_becomes_two() -> None:
    one = Windows((9,), (3,), (2,), (1,), (1,), (0,))
    two = with_rows(one)
    assert (two.size, two.kernel, two.results) == ((1, 9), (1, 3), (1, *one.results))
