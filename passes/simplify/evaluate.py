"""Running single nodes of a graph on constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter

from pruna_ir.diagnostics import PrunaError

if TYPE_CHECKING:
    from pruna_ir.model import Model

# Why a node could not be computed, by the identity of the node.
Failures = dict[int, str]


def evaluate(nodes: Sequence[gs.Node], model: Model) -> tuple[dict[str, np.ndarray], Failures]:
    """All outputs of nodes that depend on constants and on each other only, by name, and what could not be computed.

    `nodes` are in topological order; `model` gives the operator sets. All run in one session of ONNX Runtime. If that
    fails they run one by one, so that one bad node costs no more than itself and what reads it.
    """
    try:
        return _run(nodes, {}, model), {}
    except PrunaError:
        pass
    values: dict[str, np.ndarray] = {}
    failures: Failures = {}
    for node in nodes:
        try:
            values.update(_run([node], values, model))
        except PrunaError as failure:
            failures[id(node)] = failure.diagnostic.message
    return values, failures


def _run(nodes: Sequence[gs.Node], values: dict[str, np.ndarray], model: Model) -> dict[str, np.ndarray]:
    """Compute nodes whose inputs are constants, in `values`, or written by the nodes before; M009 if it fails."""
    from pruna_ir.runtime.session import Session

    inputs = {tensor.name: tensor for node in nodes for tensor in node.inputs if not tensor.is_empty()}
    stored = [OnnxExporter.export_tensor_proto(tensor) for tensor in inputs.values() if isinstance(tensor, gs.Constant)]
    stored += [onnx.numpy_helper.from_array(values[name], name) for name in inputs if name in values]
    written = [tensor.name for node in nodes for tensor in node.outputs if not tensor.is_empty()]
    graph = onnx.GraphProto(name="constants", initializer=stored)
    graph.node.extend(OnnxExporter.export_node(node) for node in nodes)
    # Without a type: ONNX Runtime infers it, and what the graph says of a shape may be less than the values show.
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in written)
    imports = model.graph.import_domains or [onnx.helper.make_opsetid("", model.opset)]
    proto = onnx.ModelProto(ir_version=model.graph.ir_version or onnx.IR_VERSION, graph=graph, opset_import=imports)
    outputs = Session(proto, optimize=False).run({})
    return {name: np.asarray(array) for name, array in outputs.items()}
