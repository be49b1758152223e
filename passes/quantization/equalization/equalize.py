"""The equalize pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pruna_ir.passes.quantization.equalization.channel_scaling import Candidate, ChannelScaling
from pruna_ir.pipeline.options import option

if TYPE_CHECKING:
    from pruna_ir.targets import Target

# How much of the differences to move into weights that read many channels.
_BALANCED = 0.5


@dataclass(frozen=True)
class Equalize(ChannelScaling):
    """Equalize the channels between two layers with weights, so that one scale for all of them loses less.

    Before:  Conv(w1, b1) -> Relu -> Conv(w2)
    After:   Conv(w1 / s, b1 / s) -> Relu -> Conv(w2 * s)       with a positive s for each channel

    For Conv, ConvTranspose, Gemm and MatMul, through everything that a scale passes: Relu, LeakyRelu, PRelu, pooling,
    padding with zeros, resizing, constants that are added, Concat, and attention (from its values to the projection
    behind it). The outputs stay the same up to rounding. With `activations`, s makes the calibrated ranges of the
    channels alike: fully where a depthwise weight reads them, which has a scale for each channel of its own, else half
    way. With `weights` it balances the two weights (cross-layer equalization, Nagel et al. 2019), which matters for
    targets with one scale a weight. The guard quantizes the whole model on trial: as it is, with the links to depthwise
    weights scaled, and with all of them, and keeps what comes closest to the float model; without the guard it is the
    first of the two choices.

    Does not fire if a channel is needed as it is: by an output of the graph, another operator (an Add of two tensors
    among them), or a Clip with a bound that is not zero; if a weight is no constant or has other users.
    """

    name: ClassVar[str] = "equalize"
    starts: ClassVar[tuple[str, ...]] = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    after: ClassVar[tuple[str, ...]] = ("fuse", "fuse-focus")

    objective: Literal["activations", "weights"] = option("activations", "what becomes alike across channels")

    def candidates(self, target: Target) -> list[Candidate]:
        """All links, or only those read by depthwise weights, which lose nothing."""
        own_scales = target.weights.axis is not None
        if self.goes_by_weights() or not own_scales:
            return [Candidate("all links", _BALANCED, _BALANCED)]
        return [Candidate("links to depthwise weights", 1.0, None), Candidate("all links", 1.0, _BALANCED)]

    def goes_by_weights(self) -> bool:
        """Whether the weights that write channels are what is balanced."""
        return self.objective == "weights"
