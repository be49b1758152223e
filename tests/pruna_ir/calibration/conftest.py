"""Records with known values."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.calibration import Record


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def normal_with_outlier(generator: np.random.Generator) -> np.ndarray:
    """A million values of N(0, 1) and one of 50."""
    return np.append(generator.standard_normal(1_000_000, np.float32), np.float32(50))


@pytest.fixture
def record(generator: np.random.Generator) -> Record:
    return Record.of(generator.standard_normal((4, 3, 100), np.float32), axis=1, fingerprint="abc")
