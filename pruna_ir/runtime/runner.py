"""What measuring needs of a loaded model, whichever runtime has loaded it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from pruna_ir.model.spec import TensorSpec


class Runner(Protocol):
    """A loaded model: ONNX Runtime's `Session` is one, and every back end's session."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name, all of them or the named ones, for arrays by name of input; D003 if these do not fit."""

    def prepared(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], object]:
        """A function that runs the model on these feeds once, with as little around it as the runtime lets."""
