"""The answer of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruna_ir.backends.coreml.evaluate.table import computes

Array = np.ndarray


@computes("classify")
def classify(probabilities: Array, classes: Any) -> tuple[Any, dict[Any, float]]:
    """The name of the most probable class, and the probability of each."""
    names = [str(name) if isinstance(name, str) else int(name) for name in classes]
    flat = probabilities.reshape(-1)
    return names[int(flat.argmax())], dict(zip(names, map(float, flat), strict=True))
