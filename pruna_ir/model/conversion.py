"""ONNX's own tools that rewrite whole models, without what they lose on the way and without copying the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import onnx
import onnx.inliner

from pruna_ir.model import checks, external
from pruna_ir.model.sidecar import first_output, scopes

# Initializers above this size are no shapes or axes that a rewriting could depend on.
_LIFTED_BYTES = 1024


def convert(proto: onnx.ModelProto, to: int) -> onnx.ModelProto:
    """A copy of the model at the operator set `to`, with all types that ONNX can infer; raises RuntimeError.

    The converter (https://onnx.ai/onnx/api/version_converter.html) also names open dimensions of the interface and
    forgets the types of values that inference knows nothing of: both are put back.
    """
    return rewritten(proto, lambda light: onnx.version_converter.convert_version(light, to))


def expand(proto: onnx.ModelProto, op: str) -> onnx.ModelProto:
    """A copy of the model with a standard operator replaced by the body that ONNX gives it; raises RuntimeError.

    Sub-graphs are expanded too; the last node of a body has the name of the operator. Casts to the type of another
    tensor, which bodies are full of, become plain ones: in a
    second step, when the types within the bodies are known.
    """
    expanded = rewritten(proto, lambda light: _inline(light, op))
    if any(node.op_type == "CastLike" for graph in checks.graphs(expanded.graph) for node in graph.node):
        expanded = rewritten(expanded, lambda light: _inline(light, "CastLike"))
    names = {first_output(node): node.name for graph in checks.graphs(proto.graph) for node in graph.node}
    for graph in checks.graphs(expanded.graph):
        for node in graph.node:
            node.name = node.name or names.get(first_output(node), "")
    return expanded


def _inline(light: onnx.ModelProto, op: str) -> onnx.ModelProto:
    """The inliner asks for the types of constants too, and of inputs left out, and forgets attributes' defaults."""
    defaults = _defaults(op, light)
    left_out = onnx.ValueInfoProto(type=onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None))
    for graph in checks.graphs(light.graph):
        graph.value_info.extend([*(_value_info(tensor) for tensor in graph.initializer), left_out])
        for node in graph.node:
            if node.op_type == op and not node.domain:
                given = {attribute.name for attribute in node.attribute}
                node.attribute.extend(value for name, value in defaults.items() if name not in given)
    inlined = onnx.inliner.inline_selected_functions(light, [("", op)], exclude=False, inline_schema_functions=True)
    for graph in checks.graphs(inlined.graph):
        named = [value for value in graph.value_info if value.name]
        del graph.value_info[:]
        graph.value_info.extend(named)
    return inlined


def _defaults(op: str, model: onnx.ModelProto) -> dict[str, onnx.AttributeProto]:
    """The default values of an operator's attributes, of those that have one."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    attributes = onnx.defs.get_schema(op, opset).attributes
    return {name: one.default_value for name, one in attributes.items() if one.default_value.type}


def rewritten(proto: onnx.ModelProto, tool: Callable[[onnx.ModelProto], onnx.ModelProto]) -> onnx.ModelProto:
    """What a tool that keeps the interface makes of a copy of the model; its failures become RuntimeError.

    Tools in C++ serialize the model, which 2 GB of weights would not survive: they see large initializers as inputs.
    """
    light, weights = without_weights(proto)
    try:
        result = tool(light)
    except onnx.checker.ValidationError as failure:
        raise RuntimeError(str(failure)) from failure
    with suppress(onnx.shape_inference.InferenceError):  # then the types of the original have to do
        result = onnx.shape_inference.infer_shapes(result, data_prop=True)
    originals = dict(scopes(proto.graph))
    for path, graph in scopes(result.graph):
        if path in originals:
            _restore_types(originals[path], graph)
    _restore_interface(proto.graph, result.graph)
    result.graph.initializer.extend(weights)
    return result


def without_weights(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.TensorProto]]:
    """A copy of the model that has inputs in the place of large initializers, and these, not copied."""
    weights = [tensor for tensor in proto.graph.initializer if _is_large(tensor)]
    names = {tensor.name for tensor in weights}
    light = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions)
    graph = light.graph
    graph.name = proto.graph.name
    graph.node.extend(proto.graph.node)
    graph.input.extend(proto.graph.input)
    known = {value.name for value in proto.graph.input}
    graph.input.extend(_value_info(tensor) for tensor in weights if tensor.name not in known)
    graph.output.extend(proto.graph.output)
    graph.value_info.extend(proto.graph.value_info)
    graph.initializer.extend(tensor for tensor in proto.graph.initializer if tensor.name not in names)
    graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    return light, weights


def with_weights(proto: onnx.ModelProto, weights: Sequence[onnx.TensorProto]) -> None:
    """Put back into a model what `without_weights` took out and is still read."""
    names = {tensor.name for tensor in weights}
    inputs = [value for value in proto.graph.input if value.name not in names]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    read = {name for graph in checks.graphs(proto.graph) for node in graph.node for name in node.input}
    read |= {value.name for graph in checks.graphs(proto.graph) for value in graph.output}
    proto.graph.initializer.extend(tensor for tensor in weights if tensor.name in read)


def infer_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Add to a model the types that ONNX can infer, and return it; nothing is added if inference fails."""
    light, _ = without_weights(proto)
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return proto
    for (path, graph), (_, known) in zip(scopes(proto.graph), scopes(inferred.graph), strict=True):
        pairs = [(graph.value_info, known.value_info), (graph.output, known.output)]
        pairs += [(graph.input, known.input)] if path else []
        for mine, theirs in pairs:
            del mine[:]
            mine.extend(theirs)
    return proto


def _is_large(tensor: onnx.TensorProto) -> bool:
    return external.is_external(tensor) or external.size(tensor) > _LIFTED_BYTES


def _value_info(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)


def _restore_interface(before: onnx.GraphProto, after: onnx.GraphProto) -> None:
    for mine, theirs in ((before.input, after.input), (before.output, after.output)):
        del theirs[:]
        theirs.extend(mine)


def _restore_types(before: onnx.GraphProto, after: onnx.GraphProto) -> None:
    """Give values the types that only the original states."""
    typed = {value.name for value in [*after.value_info, *after.input, *after.output]}
    written = {name for node in after.node for name in node.output}
    lost = [value for value in before.value_info if value.name in written and value.name not in typed]
    after.value_info.extend(lost)
