"""Made-up inputs, for questions that real data is not needed for: does it load, is it equal, how fast is it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.spec import TensorSpec

# What an unknown dimension is taken to be, smallest first: some graphs (a reflecting Pad, a fixed window) need room.
TRIED_DIMS = (1, 2, 16, 64, 128, 256, 512)
# Feeds of more elements are not tried: where many dimensions are unknown, large ones do not fit into memory.
MOST_ELEMENTS = 1 << 25


def random_feeds(inputs: Sequence[TensorSpec], seed: int, dim: int = TRIED_DIMS[0]) -> dict[str, np.ndarray]:
    """One feed per input: floats from N(0, 1), integers and booleans from {0, 1}; unknown dimensions are `dim`."""
    generator = np.random.default_rng(seed)
    feeds = {}
    for spec in inputs:
        shape = _shape(spec, dim)
        real = np.issubdtype(spec.dtype, np.floating)
        values = np.asarray(generator.standard_normal(shape) if real else generator.integers(0, 2, shape))
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds


def runnable_feeds(
    run: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]], inputs: Sequence[TensorSpec], seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The smallest random feeds that `run` accepts, and its outputs for them; raises its last refusal.

    First with one size for all unknown dimensions, then with 1 for the first of each input, which often is the batch.
    """
    refusal = error("D003", "no made-up inputs of a reasonable size fit the model")
    for shapes in _tried_shapes(inputs):
        specs = [replace(spec, shape=shape) for spec, shape in zip(inputs, shapes, strict=True)]
        feeds = random_feeds(specs, seed)
        try:
            return feeds, run(feeds)
        except PrunaError as failure:
            refusal = failure
    raise refusal


def _tried_shapes(inputs: Sequence[TensorSpec]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """The shapes of all inputs to try, in order, each combination once."""
    tried = set()
    for specs in (inputs, [_one_sample(spec) for spec in inputs]):
        for dim in TRIED_DIMS:
            shapes = tuple(_shape(spec, dim) for spec in specs)
            if shapes not in tried and sum(map(math.prod, shapes)) <= MOST_ELEMENTS:
                tried.add(shapes)
                yield shapes


def _shape(spec: TensorSpec, dim: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else dim for size in spec.shape)


def _one_sample(spec: TensorSpec) -> TensorSpec:
    """The input with its first unknown dimension set to 1."""
    unknown = [axis for axis, size in enumerate(spec.shape) if not isinstance(size, int)]
    return replace(spec, shape=tuple(1 if [axis] == unknown[:1] else size for axis, size in enumerate(spec.shape)))
