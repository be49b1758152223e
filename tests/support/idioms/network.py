"""An idiom in random surroundings, as a model with the inputs to compare its outputs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from idioms.builder import SHAPES, TROUBLES, Builder
from pruna_ir.model import Model
from pruna_ir.model.opset import newest_opset

NEWEST = newest_opset()
# Rounding to 10 bits of mantissa shows the order of operations.
TOLERANCE = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-9}


@dataclass(frozen=True)
class Idiom:
    """What a rule is about: a function that builds it and returns what it gives, in which operator sets and types."""

    build: Callable[[Builder], str | list[str]]
    opsets: tuple[int, int] = (13, NEWEST)
    dtypes: tuple[str, ...] = ("float32",)


@dataclass(frozen=True)
class Network:
    """A model, inputs for it, and how close the outputs of a rewritten form must be, relative to their range."""

    model: Model
    feeds: dict[str, np.ndarray]
    tolerance: float


@st.composite
def networks(draw: st.DrawFn, *idioms: Idiom) -> Network:
    """Models that hold idioms beside each other, which may share inputs and constants."""
    dtypes = [dtype for dtype in idioms[0].dtypes if all(dtype in idiom.dtypes for idiom in idioms)]
    lowest, newest = max(idiom.opsets[0] for idiom in idioms), min(idiom.opsets[1] for idiom in idioms)
    dtype = draw(st.sampled_from(dtypes))
    builder = Builder(
        draw,
        opset=draw(st.integers(min(lowest, newest), newest)),
        dtype=np.dtype(dtype),
        random=np.random.default_rng(draw(st.integers(0, 9))),
        sizes=draw(st.sampled_from(SHAPES)),
        trouble=draw(st.sampled_from(TROUBLES)),
        constant_nodes=draw(st.integers(1, 6)) == 6,
    )
    ends: list[str] = []
    for idiom in idioms:
        built = idiom.build(builder)
        ends += [built] if isinstance(built, str) else built
    return Network(Model.load(builder.finish(*ends)), builder.feeds, TOLERANCE[dtype])
