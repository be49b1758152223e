"""(x - mean) / deviation over space -> InstanceNormalization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.recognition.normalization import STANDARDIZED, is_spatial, normalized_axes
from pruna_ir.passes.recognition.recognition import Recognition
from pruna_ir.pipeline.patterns import Pattern, scalar
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match
from pruna_ir.remarks import Reason


@dataclass(frozen=True)
class RecognizeInstanceNorm(Recognition):
    """Find instance normalization; `fuse-norm-affine` then moves its scale and bias in.

        before   (x - m) / Sqrt(v + e)     m = ReduceMean(x), v = ReduceMean((x - m)^2), over the axes behind channels
        after    InstanceNormalization<epsilon=e>(x, ones, zeros)

    Along a single axis of known size it is `recognize-layer-norm`.

    Does not fire if the number of channels is not known, if e is no constant, if a tensor inside of the idiom is an
    output of the graph or has other users, or if x is not float32 or float16.
    """

    name: ClassVar[str] = "recognize-instance-norm"
    makes: ClassVar[tuple[str, int] | None] = ("InstanceNormalization", 6)
    pattern: ClassVar[Pattern] = STANDARDIZED

    def match(self, root: gs.Node) -> Match | None:
        match = super().match(root)
        axes = None if match is None else normalized_axes(match)
        return match if match is not None and isinstance(axes, list) and is_spatial(match, axes) else None

    def refusal(self, match: Match) -> Reason | None:
        x = match["x"]
        known = isinstance(x.shape[1], int)
        return None if known else Reason("the number of channels of `{}` is not known", x.name)

    def inputs(self, match: Match, rewriter: Rewriter) -> Sequence[gs.Tensor]:
        x = match["x"]
        scale, bias = np.ones(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
        return [x, rewriter.constant(f"{x.name}_scale", scale), rewriter.constant(f"{x.name}_bias", bias)]

    def attributes(self, match: Match) -> Mapping[str, Any]:
        return {"epsilon": scalar(match["epsilon"])}
