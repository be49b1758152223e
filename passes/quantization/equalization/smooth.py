"""The smooth pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pruna_ir.passes.quantization.equalization.channel_scaling import Candidate, ChannelScaling
from pruna_ir.passes.quantization.equalization.links import Link
from pruna_ir.pipeline.options import option
from pruna_ir.remarks import Reason

if TYPE_CHECKING:
    from pruna_ir.targets import Target

_ALPHAS = (0.5, 0.35, 0.65, 0.8)


@dataclass(frozen=True)
class Smooth(ChannelScaling):
    """Move differences between the channels behind a normalization into the weights that read them (SmoothQuant).

    Before:  LayerNormalization(x, g, b) -> MatMul(w)
    After:   LayerNormalization(x, g / s, b / s) -> MatMul(w * s)       with a positive s for each channel

    s = max|x| ** alpha / max|w| ** (1 - alpha) for each channel, over all weights that read it (Xiao et al. 2022). For
    LayerNormalization, RMSNormalization, InstanceNormalization and GroupNormalization. The outputs stay the same up to
    rounding. With `explicit`, a Mul gives back their scale to readers that have no weights, as the residual Add behind
    a normalization at the end of a block: without it such a normalization stays as it is. The guard quantizes the whole
    model on trial, and keeps the scales only if they bring its outputs closer to the float model's.

    Does not fire if a reader of the normalization needs the channels as they are, if it normalizes over more than the
    last axis, or if a parameter is no constant or a weight has other users.
    """

    name: ClassVar[str] = "smooth"
    starts: ClassVar[tuple[str, ...]] = (
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "RMSNormalization",
    )
    after: ClassVar[tuple[str, ...]] = ("fuse", "recognize")

    alpha: float | None = option(0.5, "share of the differences to move; none: the best of a few", low=0.0, high=1.0)
    explicit: bool = option(False, "multiply by the scale again in front of readers that need the channels as they are")

    def candidates(self, target: Target) -> list[Candidate]:
        """The wanted alpha, or a few."""
        alphas = _ALPHAS if self.alpha is None else (self.alpha,)
        return [Candidate(f"alpha {alpha:g}", alpha, alpha) for alpha in alphas]

    def prepare(self, link: Link) -> Reason | None:
        """With `explicit`, only what nothing can be put in front of keeps a link from being scaled."""
        if self.explicit:
            link.release()
        return super().prepare(link)
