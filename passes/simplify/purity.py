"""Which nodes always give the same outputs for the same inputs."""

from __future__ import annotations

import onnx_graphsurgeon as gs

STANDARD_DOMAINS = (None, "", "ai.onnx")
_RANDOM_OPS = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
# Runtimes fuse these with the nodes around them, so each node must keep its own, unmerged and unevaluated.
QUANTIZATION_OPS = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})


def has_body(node: gs.Node) -> bool:
    """Whether the node holds sub-graphs: control flow, a barrier to what moves or evaluates nodes."""
    return any(isinstance(value, gs.Graph) for value in node.attrs.values())


def is_inference_dropout(node: gs.Node) -> bool:
    """Whether the node is a Dropout that passes its input through: `training_mode` is absent or false."""
    if node.op != "Dropout" or node.domain not in STANDARD_DOMAINS:
        return False
    if len(node.inputs) < 3 or node.inputs[2].is_empty():
        return True
    mode = node.inputs[2]
    return isinstance(mode, gs.Constant) and not bool(mode.values)


def is_pure(node: gs.Node) -> bool:
    """Whether equal inputs give equal outputs, every time; False where nothing is known (other domains)."""
    if node.domain not in STANDARD_DOMAINS or has_body(node) or node.op in _RANDOM_OPS:
        return False
    return node.op != "Dropout" or is_inference_dropout(node)
