"""Networks that are made into what TensorRT takes, and what becomes of their numbers."""

from __future__ import annotations

import numpy as np
from onnx_text import model_from, weight

from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.model.spec import TensorSpec
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session


def bytes_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-100, 100, shape).astype(np.int8)


def wide() -> Model:
    """Two convolutions that are wide enough for 8 bits."""
    text = (
        "g (float[n,16,8,8] x) => (float[n,16,8,8] y) { c = Conv (x, v) r = Relu (c) e = Conv (r, u) y = Sigmoid (e) }"
    )
    return model_from(text, v=weight(16, 16, 1, 1), u=weight(16, 16, 1, 1, seed=1))


def quantized(target: str = "tensorrt") -> Model:
    model = wide()
    PassManager.parse("quantize<guard=false>").run(model, data=weight(8, 16, 8, 8, seed=3), target=target)
    return model


def equal(before: Model, after: Model) -> float:
    session = Session(before, optimize=False)
    feeds = {spec.name: made_up(spec) for spec in session.inputs}
    return relative_error(session.run(feeds), Session(after, optimize=False).run(feeds))


def made_up(spec: TensorSpec) -> np.ndarray:
    shape = [size if isinstance(size, int) else 2 for size in spec.shape]
    return np.random.default_rng(1).standard_normal(shape).astype(spec.dtype)
