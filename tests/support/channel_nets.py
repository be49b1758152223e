"""Small networks with channels to remove."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx_text import model_from, positive, weight

from pruna_ir.model import Model


def residual_net(width: int = 16, inner: int = 24) -> Model:
    """x -> stem (width) -> two blocks, each inner channels wide inside -> pool -> 10 classes.

    Three groups: the stream that the blocks add to, and the inside of each block.
    """
    text = """g (float[n,3,8,8] x) => (float[n,10] y) {
        s0 = Conv<pads=[1,1,1,1]>(x, ws)    s = Relu(s0)
        a0 = Conv<pads=[1,1,1,1]>(s, wa, ba)    a = Relu(a0)
        b = Conv<pads=[1,1,1,1]>(a, wb)    r0 = Add(b, s)    r = Relu(r0)
        c0 = Conv<pads=[1,1,1,1]>(r, wc)    c = Relu(c0)
        d = Conv<pads=[1,1,1,1]>(c, wd)    q0 = Add(d, r)    q = Relu(q0)
        p = GlobalAveragePool(q)    f = Flatten(p)    y = Gemm<transB=1>(f, wf, bf)
    }"""
    names: dict[str, Any] = {
        "ws": weight(width, 3, 3, 3, seed=1) * 0.3,
        "wa": weight(inner, width, 3, 3, seed=2) * 0.1,
        "ba": weight(inner, seed=3) * 0.1,
        "wb": weight(width, inner, 3, 3, seed=4) * 0.1,
        "wc": weight(inner, width, 3, 3, seed=5) * 0.1,
        "wd": weight(width, inner, 3, 3, seed=6) * 0.1,
        "wf": weight(10, width, seed=7),
        "bf": weight(10, seed=8),
    }
    return model_from(text, **names)


def normalized_net() -> Model:
    """x -> Conv 8 -> BatchNormalization -> Relu -> Conv 6 -> y: the outputs of the last are the graph's."""
    text = """g (float[n,3,6,6] x) => (float[n,6,6,6] y) {
        c = Conv<pads=[1,1,1,1]>(x, w)
        b = BatchNormalization(c, scale, shift, mean, variance)
        r = Relu(b)
        y = Conv<pads=[1,1,1,1]>(r, v)
    }"""
    return model_from(
        text,
        w=weight(8, 3, 3, 3, seed=1),
        v=weight(6, 8, 3, 3, seed=2),
        scale=np.array([5, -4, 3, 0.01, 2, -0.02, 1, 6], np.float32),
        shift=weight(8, seed=3),
        mean=weight(8, seed=4),
        variance=positive(8, seed=5),
    )


def images(count: int = 24, size: int = 8) -> np.ndarray:
    """Inputs for these networks."""
    return np.random.default_rng(0).standard_normal((count, 3, size, size)).astype(np.float32)
