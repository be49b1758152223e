from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model import random_feeds as made_up
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


def test_then_one_sample_of_growing_size_is_tried() -> None:
    tried: list[tuple[int, ...]] = []

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tried.append(feeds["image"].shape)
        if feeds["image"].shape != (1, 3, 64):
            raise error("M009", "one window of 64")
        return {}

    runnable_feeds(run, SPECS)
    assert tried == [*((size, 3, size) for size in TRIED_DIMS), (1, 3, 2), (1, 3, 16), (1, 3, 64)]


def test_feeds_that_would_not_fit_into_memory_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_up, "MOST_ELEMENTS", 1 << 17)
    sizes: list[int] = []

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(feeds["image"].size)
        raise error("M009", "never")

    with pytest.raises(PrunaError, match="never"):
        runnable_feeds(run, [TensorSpec("image", np.dtype("float32"), ("a", "b", "c", "d"))])
    assert max(sizes) == 16**4
    with pytest.raises(PrunaError, match="reasonable size"):
        runnable_feeds(run, [TensorSpec("image", np.dtype("float32"), (1 << 18,))])


def test_a_model_that_never_runs_gives_its_last_reason() -> None:
    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise error("M009", f"not with {feeds['image'].shape[-1]}")

    with pytest.raises(PrunaError, match=f"not with {TRIED_DIMS[-1]}"):
        runnable_feeds(run, SPECS)
