"""What RNN, GRU and LSTM have in common: directions, steps, masks, and the activation functions by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from pruna_ir.passes.decomposition.body import Body

# How many numbers of `activation_alpha` and `activation_beta` a function takes, and their defaults.
_PARAMETERS: dict[str, tuple[tuple[str, float], ...]] = {
    "Affine": (("alpha", 1.0), ("beta", 0.0)),
    "LeakyRelu": (("alpha", 0.01),),
    "ThresholdedRelu": (("alpha", 1.0),),
    "ScaledTanh": (("alpha", 1.0), ("beta", 1.0)),
    "HardSigmoid": (("alpha", 0.2), ("beta", 0.5)),
    "Elu": (("alpha", 1.0),),
}
_FUNCTIONS = {"Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", *_PARAMETERS}
Activation = Callable[[Body, gs.Tensor], gs.Tensor]


@dataclass(frozen=True)
class Weights:
    """What one direction computes with: `w` [gates x hidden, input], `r` [gates x hidden, hidden], biases, states.

    `wb` and `rb` are [gates x hidden]; `peephole` is [3 x hidden]; `h` and `c` are the states before the first step,
    [batch, hidden]. None is what the node does not have, which stands for zeros.
    """

    w: gs.Tensor
    r: gs.Tensor
    wb: gs.Tensor | None
    rb: gs.Tensor | None
    h: gs.Tensor | None
    c: gs.Tensor | None = None
    peephole: gs.Tensor | None = None


@dataclass
class State:
    """What goes from step to step; None stands for zeros."""

    h: gs.Tensor | None
    c: gs.Tensor | None = None


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrent node: sizes, weights and functions, and the body that it is written into."""

    body: Body
    weights: Weights
    hidden: int
    activations: Sequence[Activation]
    clip: float | None = None
    flags: dict[str, int] = field(default_factory=dict)

    def linear(self, x: gs.Tensor, weight: gs.Tensor, bias: gs.Tensor | None = None) -> gs.Tensor:
        """x W^T + b."""
        return self.body("Gemm", x, weight, *([] if bias is None else [bias]), transB=1)

    def gates(self, tensor: gs.Tensor, count: int, axis: int = 1) -> list[gs.Tensor]:
        """The pieces of a tensor that belong to the gates."""
        return self.body.split(tensor, axis, [self.hidden] * count)

    def activate(self, place: int, x: gs.Tensor) -> gs.Tensor:
        """A function of the cell, of what is clipped before."""
        if self.clip is not None:
            limits = [self.body.constant(bound, x.dtype) for bound in (-self.clip, self.clip)]
            x = self.body("Clip", x, *limits)
        return self.activations[place](self.body, x)


def add(body: Body, *terms: gs.Tensor | None) -> gs.Tensor | None:
    """The sum of what is there."""
    total: gs.Tensor | None = None
    for term in terms:
        total = term if total is None else total if term is None else body("Add", total, term)
    return total


def activations_of(node: gs.Node, defaults: Sequence[str], direction: int) -> list[Activation] | str:
    """The functions of a direction, or the name of one that is not known."""
    names = [str(name) for name in node.attrs.get("activations") or []] or [*defaults] * (direction + 1)
    left = {key: list(node.attrs.get(f"activation_{key}") or []) for key in ("alpha", "beta")}
    found: list[Activation] = []
    for name in names:
        if name not in _FUNCTIONS:
            return name
        parameters = _PARAMETERS.get(name, ())
        numbers = {key: float(left[key].pop(0)) if left[key] else default for key, default in parameters}
        found.append(_activation(name, numbers))
    return found[direction * len(defaults) : (direction + 1) * len(defaults)]


def _activation(name: str, numbers: dict[str, float]) -> Activation:
    def apply(body: Body, x: gs.Tensor) -> gs.Tensor:
        if name == "Affine":
            scaled = body("Mul", x, body.constant(numbers["alpha"], x.dtype))
            return body("Add", scaled, body.constant(numbers["beta"], x.dtype))
        if name == "ScaledTanh":
            inner = body("Tanh", body("Mul", x, body.constant(numbers["beta"], x.dtype)))
            return body("Mul", inner, body.constant(numbers["alpha"], x.dtype))
        return body(name, x, **numbers)

    return apply
