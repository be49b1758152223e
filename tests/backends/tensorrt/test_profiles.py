"""Optimization profiles: from options, from data, and the dimensions that nothing is known of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pruna_ir.backends.tensorrt.profiles import Profile, Sizes, make_profiles, read_sizes, sizes_in
from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.spec import TensorSpec

BATCH = Sizes(1, 8, 32)
FLOAT = np.dtype(np.float32)


def spec(name: str, *shape: int | str | None) -> TensorSpec:
    return TensorSpec(name, FLOAT, shape)


def test_open_batch_has_that_of_the_option() -> None:
    found = make_profiles([spec("x", "n", 3, 8, 8)], BATCH, {}, {})
    assert found == {"x": Profile((1, 3, 8, 8), (8, 3, 8, 8), (32, 3, 8, 8))}
    assert found["x"].to_json() == {"min": [1, 3, 8, 8], "opt": [8, 3, 8, 8], "max": [32, 3, 8, 8]}


def test_fixed_inputs_have_none() -> None:
    assert make_profiles([spec("x", 1, 3)], BATCH, {}, {}) == {}
    assert list(make_profiles([spec("x", "n", 3), spec("y", "n", "n")], BATCH, {}, {})) == ["x", "y"]


def test_given_sizes_win() -> None:
    found = make_profiles([spec("x", "n", "t")], BATCH, {"n": Sizes(2, 2, 4)}, {"n": BATCH, "t": Sizes(5, 6, 7)})
    assert found["x"] == Profile((2, 5), (2, 6), (4, 7))


def test_dimension_without_a_name_is_called_by_its_place() -> None:
    found = make_profiles([spec("x", 1, None)], BATCH, read_sizes(["x.1:16:64:128"]), {})
    assert found["x"] == Profile((1, 16), (1, 64), (1, 128))


def test_all_dimensions_without_sizes_are_told() -> None:
    with pytest.raises(PrunaError) as failure:
        make_profiles([spec("x", "n", "t"), spec("y", "n", None)], BATCH, {}, {})
    assert failure.value.diagnostic.code == "E005"
    assert failure.value.diagnostic.notes == ("`t`: axis 1 of `x`", "`y.1`: axis 1 of `y`")


def test_first_dimension_that_counts_no_samples() -> None:
    """A scalar beside it says that a sample is one whole set of inputs."""
    with pytest.raises(PrunaError, match="an open dimension"):
        make_profiles([spec("x", "n", 3), spec("s")], BATCH, {}, {})


def test_sizes_for_a_dimension_that_is_not_there() -> None:
    with pytest.raises(PrunaError) as failure:
        make_profiles([spec("x", "n", 3)], BATCH, {"m": BATCH}, {})
    assert failure.value.diagnostic.code == "P004" and "open dimensions: n" in failure.value.diagnostic.help


@pytest.mark.parametrize("text", ["n", "n:1:2", "n:0:1:2", "n:2:1:3", "n:1:3:2", ":1:2:3", "n:1:x:3", "n:-1:1:2"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(PrunaError) as failure:
        read_sizes([text])
    assert failure.value.diagnostic.code == "P004" and text in failure.value.diagnostic.message


def test_name_with_colons() -> None:
    assert read_sizes(["serving:0.1:1:2:3"]) == {"serving:0.1": Sizes(1, 2, 3)}


def test_sizes_in_data() -> None:
    samples: list[Any] = [np.zeros((1, length, 2), np.float32) for length in (9, 3, 5, 4, 8)]
    bound = Dataset.from_arrays(iter(samples)).bind([spec("x", "n", "t", 2)])
    assert sizes_in(bound) == {"t": Sizes(3, 5, 9)}


def test_only_the_batch_is_open() -> None:
    bound = Dataset.from_arrays(np.zeros((4, 3), np.float32)).bind([spec("x", "n", 3)])
    assert sizes_in(bound) == {}
