"""Passes of precision on random networks: valid graphs, the same interface, close numbers, and nothing left to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from quantizable_networks import IMAGE, networks

from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.passes.precision.convert_fp16 import ConvertFp16
from pruna_ir.passes.precision.quantize_dynamic import QuantizeDynamic
from pruna_ir.passes.precision.quantize_weights import QuantizeWeights
from pruna_ir.pipeline.pass_base import Pass
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_pass

# The largest error that each may make, relative to the range of an output.
LARGEST = {
    "halves": (ConvertFp16(kernels="any"), 0.02),
    "stored halves": (ConvertFp16(), 0.02),
    "stored bfloat16": (ConvertFp16(dtype="bfloat16"), 0.15),
    "dynamic": (QuantizeDynamic(smallest=1), 0.25),
    "weights": (QuantizeWeights(smallest=1), 0.15),
    "weights by channel": (QuantizeWeights(smallest=1, block=0, symmetric=False), 0.15),
}


@pytest.mark.parametrize("item, largest", LARGEST.values(), ids=LARGEST)
@given(model=networks())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_random_networks(item: Pass, largest: float, model: Model) -> None:
    after, _ = check_pass(item, model)
    feeds = {"x": np.random.default_rng(1).standard_normal(IMAGE).astype(np.float32)}
    assert relative_error(Session(model).run(feeds), Session(after).run(feeds)) <= largest
