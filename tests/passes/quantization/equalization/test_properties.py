"""Scaling channels of random networks changes nothing but rounding."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from quantizable_networks import IMAGE, networks

from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.passes.quantization.equalization.equalize import Equalize
from pruna_ir.testing import check_pass

DATA = np.random.default_rng(1).standard_normal((4, *IMAGE[1:])).astype(np.float32)


@given(networks())
@settings(max_examples=12)
def test_equalized_networks_compute_the_same(model: Model) -> None:
    check_pass(Equalize(guard=False), model, data=Dataset.from_arrays(DATA))


@given(networks())
@settings(max_examples=6)
def test_balanced_weights_compute_the_same(model: Model) -> None:
    check_pass(Equalize(objective="weights", guard=False), model, data=Dataset.from_arrays(DATA))
