"""(x - mean) / deviation over the last axes -> LayerNormalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.recognition.normalization import (
    SCALED,
    SHIFTED,
    STANDARDIZED,
    OverLastAxes,
    is_spatial,
    normalized_axes,
)
from pruna_ir.pipeline.patterns import OneOf, Pattern
from pruna_ir.pipeline.rules import Match


@dataclass(frozen=True)
class RecognizeLayerNorm(OverLastAxes):
    """Find layer normalization; `fuse-norm-affine` then moves its scale and bias in.

        before   (x - m) / Sqrt(v + e)     m = ReduceMean(x), v = ReduceMean((x - m)^2), over the last axes
        after    LayerNormalization<epsilon=e>(x, ones)

    The variance may also be ReduceMean(x^2) - m^2, and the quotient a product with the inverse. JAX's (x - m) * f and
    TensorFlow's x * f + (b - m * f), where f is s / Sqrt(v + e), become LayerNormalization(x, s) and (x, s, b).

    Does not fire below opset 17, if the axes are not the last ones, if their sizes are not known, if e, s or b is no
    constant, if a tensor inside of the idiom is an output of the graph or has other users, or if x is not float32 or
    float16; over all axes behind the channels it is `recognize-instance-norm`.
    """

    name: ClassVar[str] = "recognize-layer-norm"
    makes: ClassVar[tuple[str, int] | None] = ("LayerNormalization", 17)
    pattern: ClassVar[Pattern] = OneOf(STANDARDIZED, SCALED, SHIFTED)

    def match(self, root: gs.Node) -> Match | None:
        match = super().match(root)
        axes = None if match is None else normalized_axes(match)
        return None if match is None or (isinstance(axes, list) and is_spatial(match, axes)) else match
