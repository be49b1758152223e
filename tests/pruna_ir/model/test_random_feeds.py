from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.random_feeds import TRIED_DIMS, random_feeds, runnable_feeds
from pruna_ir.model.spec import TensorSpec

SPECS = (
    TensorSpec("image", np.dtype("float32"), ("N", 3, None)),
    TensorSpec("half", np.dtype("float16"), (2,)),
    TensorSpec("count", np.dtype("int64"), ()),
    TensorSpec("flag", np.dtype("bool"), (4,)),
)


def test_every_input_gets_values_of_its_type_and_shape() -> None:
    feeds = random_feeds(SPECS, seed=0, dim=5)
    assert {name: (value.dtype.name, value.shape) for name, value in feeds.items()} == {
        "image": ("float32", (5, 3, 5)),
        "half": ("float16", (2,)),
        "count": ("int64", ()),
        "flag": ("bool", (4,)),
    }
    assert set(random_feeds([TensorSpec("k", np.dtype("int32"), (100,))], seed=0)["k"]) == {0, 1}


def test_the_seed_decides() -> None:
    first, again, other = (random_feeds(SPECS, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["image"], other["image"])


def test_unknown_dimensions_grow_until_the_model_runs() -> None:
    tried: list[int] = []

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tried.append(len(feeds["image"]))
        if len(feeds["image"]) < 16:
            raise error("M009", "too small")
        return {"y": feeds["image"]}

    feeds, outputs = runnable_feeds(run, SPECS)
    assert tried == [1, 2, 16]
    assert outputs["y"] is feeds["image"]


def test_a_model_that_never_runs_gives_its_last_reason() -> None:
    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise error("M009", f"not with {len(feeds['image'])}")

    with pytest.raises(PrunaError, match=f"not with {TRIED_DIMS[-1]}"):
        runnable_feeds(run, SPECS)
