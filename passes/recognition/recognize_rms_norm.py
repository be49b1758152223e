"""x / root of the mean square over the last axes -> RMSNormalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pruna_ir.passes.recognition.normalization import OVER_MEAN_SQUARE, SCALED, STANDARDIZED, OverLastAxes
from pruna_ir.pipeline.patterns import OneOf, Pattern, find
from pruna_ir.pipeline.rules import Match

_DEVIATIONS = OneOf(STANDARDIZED, SCALED)


@dataclass(frozen=True)
class RecognizeRmsNorm(OverLastAxes):
    """Find normalization by the root of the mean square; `fuse-norm-affine` then moves its scale in.

        before   x / Sqrt(ReduceMean(x^2) + e)     over the last axes
        after    RMSNormalization<epsilon=e>(x, ones)

    The quotient may also be a product with the inverse. Where the mean is subtracted first, it is
    `recognize-layer-norm`.

    Does not fire below opset 23, if the axes are not the last ones, if their sizes are not known, if e or the scale is
    no constant, if a tensor inside of the idiom is an output of the graph or has other users, or if x is not float32 or
    float16.
    """

    name: ClassVar[str] = "recognize-rms-norm"
    makes: ClassVar[tuple[str, int] | None] = ("RMSNormalization", 23)
    pattern: ClassVar[Pattern] = OVER_MEAN_SQUARE

    def match(self, root: gs.Node) -> Match | None:
        # What is divided by the root of its mean square there are deviations from the mean.
        return super().match(root) if find(_DEVIATIONS, root) is None else None
