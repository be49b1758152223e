"""What a layer has to bring about: the tensor behind it that should be as it was in the original model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pruna_ir.passes.pruning.reconstruction.activations import Rectifier, rectifier_of
from pruna_ir.passes.pruning.reconstruction.smooth import Smooth, smooth_of


@dataclass(frozen=True)
class Target:
    """`tensor` is the sum of what a layer writes and of `others`; only `activation` reads it, if there is one.

    Asking for the original model's sum lets the layer make up for what the others have lost.
    """

    tensor: str
    others: tuple[str, ...]
    activation: Rectifier | Smooth | None


def target_of(written: gs.Tensor, outputs: frozenset[str], known: Callable[[str], bool]) -> Target:
    """Follow additions of tensors that are `known` when the layer is solved, to the sum that is the layer's target.

    `outputs` are the names of the graph's outputs. A sum that is larger than what the layer writes ends the way.
    """
    others: list[str] = []
    tensor = written
    while (step := _addition(tensor, outputs)) is not None and known(step[1].name):
        tensor = step[0]
        others.append(str(step[1].name))
    return Target(str(tensor.name), tuple(others), _activation(tensor, outputs))


def _addition(tensor: gs.Tensor, outputs: frozenset[str]) -> tuple[gs.Tensor, gs.Tensor] | None:
    """The sum that alone reads a tensor, and what it adds to it."""
    if tensor.name in outputs or len(tensor.outputs) != 1 or tensor.outputs[0].op != "Add":
        return None
    node = tensor.outputs[0]
    total, other = node.outputs[0], node.inputs[1 if node.inputs[0] is tensor else 0]
    if other is tensor or tensor.shape is None or list(total.shape or ()) != list(tensor.shape):
        return None
    return total, other


def _activation(tensor: gs.Tensor, outputs: frozenset[str]) -> Rectifier | Smooth | None:
    if tensor.name in outputs or not tensor.outputs:
        return None
    found = {rectifier_of(reader) for reader in tensor.outputs}
    rectifier = found.pop() if len(found) == 1 else None
    return smooth_of(tensor.outputs, outputs) if rectifier is None else rectifier
