"""Random small models: a chain of elementwise nodes with branches, weights of several types, notes and sub-graphs."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.helper import make_graph, make_node, make_tensor_value_info

from pruna_ir.model import Model

# What exporters put into names, and some of what they do not.
labels = st.text(string.ascii_letters + string.digits + '/_.:- "\\é', max_size=6)
floats = st.floats(-4, 4, width=32)


def notes(thing: Any, draw: st.DrawFn) -> None:
    """Document a protobuf now and then."""
    if draw(st.booleans()):
        thing.doc_string = draw(labels)
        for key, value in draw(st.dictionaries(labels.filter(bool), labels, max_size=2)).items():
            thing.metadata_props.add(key=key, value=value)


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """A valid model: float inputs and outputs of shape [N, 4], every node reads what stands before it."""
    builder = _Builder(draw)
    builder.available.append("in 0")
    for _ in range(draw(st.integers(1, 6))):
        builder.add(draw(st.sampled_from(["unary", "binary", "constant", "branch", "clip"])))
    outputs = list(dict.fromkeys(draw(st.lists(st.sampled_from(builder.written), min_size=1, max_size=2))))
    graph = make_graph(
        builder.nodes, draw(labels) or "g", [_value("in 0")], [_value(name) for name in outputs], builder.weights
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    for part in [proto, graph, *proto.graph.node, *proto.graph.input, *proto.graph.initializer]:
        if part is not graph:
            notes(part, draw)
    proto.domain, proto.model_version = draw(labels), draw(st.integers(0, 3))
    return proto


def _value(name: str) -> onnx.ValueInfoProto:
    return make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4])


class _Builder:
    """Grows a graph; `available` may be read, `written` may be outputs."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.available: list[str] = []
        self.written: list[str] = []

    def add(self, kind: str) -> None:
        """Append a node of a kind, and the weights that it needs."""
        output = f"{self.draw(labels)} {len(self.nodes)}"
        source = self.draw(st.sampled_from(self.available))
        name = self.draw(
            st.just("") | labels.map(lambda label: f"{label} {len(self.nodes)}")
        )  # unique: ONNX Runtime insists
        if kind == "unary":
            self.nodes.append(make_node("Elu", [source], [output], name, alpha=self.draw(floats)))
        elif kind == "binary":
            other = self.draw(st.sampled_from(self.available) | st.builds(self.weight))
            self.nodes.append(make_node("Add", [source, other], [output], name))
        elif kind == "constant":
            inner = f"k{output}"
            self.nodes.append(make_node("Constant", [], [inner], value_floats=[self.draw(floats)] * 4))
            self.nodes.append(make_node("Mul", [source, inner], [output], name))
        elif kind == "clip":
            self.nodes.append(make_node("Clip", [source, "", self.scalar()], [output], name))
        else:
            self.branch(source, output, name)
        self.available.append(output)
        self.written.append(output)

    def weight(self) -> str:
        """A weight of four values, new or one that is there."""
        values = np.array(self.draw(st.lists(floats, min_size=4, max_size=4)), np.float32)
        name = f"w{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(values, name))
        return name

    def scalar(self) -> str:
        """A scalar weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(np.array(self.draw(floats), np.float32), name))
        return name

    def branch(self, source: str, output: str, name: str) -> None:
        """An If whose bodies read the outer graph, one of them with a weight of its own."""
        flag = f"w{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(np.array(self.draw(st.booleans())), flag))
        own = onnx.numpy_helper.from_array(np.full(4, self.draw(floats), np.float32), f"own {output}")
        then = make_graph([make_node("Neg", [source], [f"t{output}"])], "then", [], [_value(f"t{output}")])
        other = make_graph(
            [make_node("Mul", [source, own.name], [f"e{output}"])], "else", [], [_value(f"e{output}")], [own]
        )
        self.nodes.append(make_node("If", [flag], [output], name, then_branch=then, else_branch=other))


def comparable(graph: onnx.GraphProto) -> dict[str, Any]:
    """What two graphs must have in common to be the same: nodes in order, interface, weights that are read, notes."""
    used = {name for node in graph.node for name in _reads(node)} | {value.name for value in graph.output}
    return {
        "name": graph.name,
        "nodes": [_node(node) for node in graph.node],
        "interface": [part.SerializeToString(deterministic=True) for part in [*graph.input, *graph.output]],
        "weights": {
            tensor.name: (
                tensor.data_type,
                list(tensor.dims),
                onnx.numpy_helper.to_array(tensor).tobytes(),
                tensor.doc_string,
                [(entry.key, entry.value) for entry in tensor.metadata_props],
            )
            for tensor in graph.initializer
            if tensor.name in used
        },
    }


def _node(node: onnx.NodeProto) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.HasField("g"):
            attributes[attribute.name] = comparable(attribute.g)
        elif attribute.HasField("t"):
            values = onnx.numpy_helper.to_array(attribute.t)
            attributes[attribute.name] = (attribute.t.data_type, values.shape, values.tobytes())
        else:
            attributes[attribute.name] = attribute.SerializeToString(deterministic=True)
    return {
        "op": (node.domain if node.domain != "ai.onnx" else "", node.op_type, node.name),
        "reads": list(node.input),
        "writes": list(node.output),
        "attributes": attributes,
        "notes": (node.doc_string, [(entry.key, entry.value) for entry in node.metadata_props]),
    }


def _reads(node: onnx.NodeProto) -> set[str]:
    bodies = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    inner = {name for body in bodies for child in body.node for name in _reads(child)}
    return {*node.input, *inner}


def run(model: Model | onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of ONNX Runtime with graph optimizations off."""
    from pruna_ir.runtime.session import Session

    return list(Session(model, optimize=False).run(feeds).values())
