"""Links: the tensors that carry the channels a node writes, up to the weights that read them.

Dividing a channel by a scale where it is written, and multiplying the weights that read it, changes nothing if all
that happens in between commutes with it. Every tensor on the way has labels: which channel each element belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.remarks import Reason

# Numbers of channels, as an array that broadcasts with a tensor: of its rank, and of size 1 along an axis on which the
# channel does not depend. UNSCALED stands for what keeps its values.
Labels = np.ndarray
UNSCALED = -1


@dataclass(frozen=True)
class Parameter:
    """A constant that takes the scales of channels: its values times, or divided by, `scales[labels]`."""

    node: gs.Node
    position: int
    labels: Labels
    divides: bool

    @property
    def constant(self) -> gs.Constant:
        """The tensor that holds the values."""
        return self.node.inputs[self.position]

    def factors(self, scales: np.ndarray) -> np.ndarray:
        """What the values are multiplied by for `scales`, one for each channel."""
        factors = np.append(scales, 1.0)[self.labels]
        return np.asarray(1.0 / factors if self.divides else factors)

    def scaled(self, scales: np.ndarray) -> np.ndarray:
        """The values for `scales`, in the type that they are stored in."""
        values = np.asarray(self.constant.values, np.float64)
        return np.asarray(values * self.factors(scales)).astype(self.constant.dtype)


@dataclass(frozen=True)
class Reader:
    """A node that multiplies channels by weights: `data` is what it reads, with its labels."""

    weight: Parameter
    data: gs.Tensor
    labels: Labels


@dataclass(frozen=True)
class Barrier:
    """A place where the channels in `labels` are needed as they are, and why.

    `node` reads them there, as its input number `position`; None if nothing can be put in front of that.
    """

    tensor: gs.Tensor
    labels: Labels
    reason: Reason
    node: gs.Node | None = None
    position: int = 0


@dataclass
class Link:
    """What the channels of one tensor pass through: who writes them, who reads them, and where they are held fast.

    `parameters` are all constants on the way, the one that the channels start with first; `carriers` all tensors.
    `restored` are the barriers in front of which the channels get their scales back.
    """

    node: gs.Node
    tensor: gs.Tensor
    channels: int
    parameters: list[Parameter] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    carriers: list[tuple[gs.Tensor, Labels]] = field(default_factory=list)
    barriers: list[Barrier] = field(default_factory=list)
    restored: list[Barrier] = field(default_factory=list)

    @property
    def ends(self) -> list[Parameter]:
        """The weight (of a normalization, the scale) that writes the channels, and those that read them."""
        return [self.parameters[0], *(reader.weight for reader in self.readers)]

    @property
    def held(self) -> np.ndarray:
        """Of each channel whether it must keep its scale."""
        held = np.zeros(self.channels + 1, bool)
        for barrier in self.barriers:
            held[barrier.labels] = True
        return held[:-1]

    @property
    def depthwise(self) -> bool:
        """Whether each weight that reads the channels reads one of them only, so that its own scale makes up for it."""
        return all(r.weight.node.op == "Conv" and r.weight.constant.shape[1] == 1 for r in self.readers)

    def release(self) -> None:
        """Let the scales be given back in front of nodes that need the channels as they are."""
        self.restored = [barrier for barrier in self.barriers if barrier.node is not None]
        self.barriers = [barrier for barrier in self.barriers if barrier.node is None]

    def fits(self, scales: np.ndarray) -> bool:
        """Whether the constants stay finite."""
        with np.errstate(over="ignore"):
            return all(np.isfinite(parameter.scaled(scales)).all() for parameter in self.parameters)

    def apply(self, scales: np.ndarray, rewriter: Rewriter) -> None:
        """Divide each channel by its scale where it is written, and multiply the weights that read it."""
        for parameter in self.parameters:
            values = parameter.scaled(scales)
            constant = rewriter.constant(f"{parameter.constant.name}_equalized", values)
            rewriter.set_input(parameter.node, parameter.position, constant)
        for barrier in self.restored:
            self._restore(barrier, scales, rewriter)

    @staticmethod
    def _restore(barrier: Barrier, scales: np.ndarray, rewriter: Rewriter) -> None:
        """Multiply channels by their scales in front of a node that needs them as they are."""
        assert barrier.node is not None
        tensor = barrier.tensor
        factors = np.append(scales, 1.0)[barrier.labels].astype(tensor.dtype)
        inputs = [tensor, rewriter.constant(f"{tensor.name}_scale", factors)]
        result = rewriter.variable(f"{tensor.name}_restored", tensor.dtype, tensor.shape)
        rewriter.insert(gs.Node("Mul", result.name, {}, inputs, [result]), barrier.node)
        rewriter.set_input(barrier.node, barrier.position, result)
