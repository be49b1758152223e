"""New values for constants that nodes read, in protobufs or in a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.passes.pruning.reconstruction.sites import Edits, Slot
from pruna_ir.pipeline.rewriter import Rewriter

if TYPE_CHECKING:
    from pruna_ir.model import Model


def slot_name(slot: Slot) -> str:
    """The tensor that a node reads at a slot whose value has changed."""
    return f"{slot.key}/input/{slot.position}"


def redirected(node: onnx.NodeProto, positions: Iterable[int]) -> onnx.NodeProto:
    """A copy of the node that reads tensors of its own, named by `slot_name`, at these positions."""
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    for position in positions:
        changed.input.extend([""] * (position + 1 - len(changed.input)))
        changed.input[position] = slot_name(Slot(node.output[0], position))
    return changed


def edited(node: onnx.NodeProto, values: dict[int, np.ndarray], constants: list[onnx.TensorProto]) -> onnx.NodeProto:
    """A copy of the node that reads `values` at their positions, from `constants` to which they are added."""
    for position, value in values.items():
        constants.append(onnx.numpy_helper.from_array(value, slot_name(Slot(node.output[0], position))))
    return redirected(node, values)


def masked(
    node: onnx.NodeProto, masks: dict[int, np.ndarray], constants: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """The node behind products of its inputs with `masks` (bool, to be broadcast), by position."""
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    added = []
    for position, mask in masks.items():
        name = f"{node.output[0]}/masked/{position}"
        constants.append(onnx.numpy_helper.from_array(mask.astype(np.float32), f"{name}/mask"))
        added.append(onnx.helper.make_node("Mul", [changed.input[position], f"{name}/mask"], [name]))
        changed.input[position] = name
    return [*added, changed]


def by_node(edits: Edits) -> dict[str, dict[int, np.ndarray]]:
    """Edits by the first output of their node and by position."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for slot, values in edits.items():
        found.setdefault(slot.key, {})[slot.position] = values
    return found


def write(model: Model, edits: Edits) -> None:
    """Change what nodes of the model read; other readers of a constant keep it as it was."""
    rewriter = Rewriter(model.graph)
    nodes = {node.outputs[0].name: node for node in model.graph.nodes if node.outputs}
    for slot, values in edits.items():
        node = nodes[slot.key]
        old = node.inputs[slot.position] if slot.position < len(node.inputs) else None
        if isinstance(old, gs.Constant) and len(old.outputs) == 1 and not rewriter.is_output(old):
            old.values = values
        else:
            like = old.name if isinstance(old, gs.Constant) else f"{slot.key}_bias"
            rewriter.set_input(node, slot.position, rewriter.constant(like, values))
    rewriter.commit()
