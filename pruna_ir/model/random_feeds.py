"""Made-up inputs, for questions that real data is not needed for: does it load, is it equal, how fast is it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.spec import TensorSpec

# What an unknown dimension is taken to be, smallest first: some graphs (a reflecting Pad, a fixed window) need room.
TRIED_DIMS = (1, 2, 16, 64, 512)


def random_feeds(inputs: Sequence[TensorSpec], seed: int, dim: int = TRIED_DIMS[0]) -> dict[str, np.ndarray]:
    """One feed per input: floats from N(0, 1), integers and booleans from {0, 1}; unknown dimensions are `dim`."""
    generator = np.random.default_rng(seed)
    feeds = {}
    for spec in inputs:
        shape = tuple(size if isinstance(size, int) else dim for size in spec.shape)
        real = np.issubdtype(spec.dtype, np.floating)
        values = np.asarray(generator.standard_normal(shape) if real else generator.integers(0, 2, shape))
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds


def runnable_feeds(
    run: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]], inputs: Sequence[TensorSpec], seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The smallest random feeds that `run` accepts, and its outputs for them; raises its last refusal."""
    for dim in TRIED_DIMS[:-1]:
        feeds = random_feeds(inputs, seed, dim)
        try:
            return feeds, run(feeds)
        except PrunaError:
            continue
    feeds = random_feeds(inputs, seed, TRIED_DIMS[-1])
    return feeds, run(feeds)
