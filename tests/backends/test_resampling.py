"""What a Resize does along one axis; all modes are compared with ONNX Runtime where operators are written."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.backends.resampling import Resampling


def axis(mode: str = "linear", before: int = 4, after: int = 8, coordinates: str = "half_pixel") -> Resampling:
    return Resampling(mode, coordinates, "round_prefer_floor", before, after, after / before)


def test_pixels_are_repeated() -> None:
    assert axis("nearest").indices().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_linear_weights() -> None:
    np.testing.assert_allclose(axis(before=2, after=4).matrix(), np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic", "antialiased linear", "antialiased cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("after", [1, 3, 4, 11])
def test_weights_of_a_result_sum_to_one(mode: str, coordinates: str, after: int) -> None:
    np.testing.assert_allclose(axis(mode, 4, after, coordinates).matrix().sum(1), 1.0)


@pytest.mark.parametrize("mode", ["linear", "cubic", "antialiased linear"])
def test_the_same_size_changes_nothing(mode: str) -> None:
    np.testing.assert_allclose(axis(mode, 5, 5).matrix(), np.eye(5), atol=1e-12)


def test_antialiasing_reads_all_of_what_it_leaves_out() -> None:
    assert (axis(before=9, after=2).matrix() > 0).sum() == 4
    assert (axis("antialiased linear", before=9, after=2).matrix() > 0).sum() > 9


def test_ties_are_rounded_as_asked() -> None:
    def indices(rounding: str) -> object:
        return Resampling("nearest", "asymmetric", rounding, 4, 8, 2.0).indices().tolist()

    assert indices("floor") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert indices("ceil") == [0, 1, 1, 2, 2, 3, 3, 3]
    assert indices("round_prefer_floor") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert indices("round_prefer_ceil") == [0, 1, 1, 2, 2, 3, 3, 3]
