"""Numbers for dimensions that a model leaves open, for files that have fixed shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx

from pruna_ir.diagnostics import error
from pruna_ir.model import Model
from pruna_ir.model.conversion import infer_shapes, without_weights


def bind_batch(model: Model, batch: int, keep: Collection[str] = ()) -> None:
    """Give open first dimensions a number, but those named in `keep`, and find out again what follows of that."""
    bound = [spec for spec in model.inputs() if spec.shape and _is_open(spec.shape[0], keep)]
    if not bound:
        return
    proto, names = model.to_proto(), {spec.name for spec in bound}
    for value in proto.graph.input:
        if value.name in names:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    del proto.graph.value_info[:]
    model.adopt(proto)


def bind_sizes(model: Model, sizes: Mapping[str, int]) -> None:
    """Give open dimensions of inputs the numbers that belong to their names; P004 for a name that no input has."""
    open_names = {size for spec in model.inputs() for size in spec.shape if isinstance(size, str)}
    unknown = sizes.keys() - open_names
    if unknown:
        raise error("P004", f"no size of an input is named `{min(unknown)}`", help=_names(open_names))
    if not sizes:
        return
    proto = model.to_proto()
    for value in proto.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    del proto.graph.value_info[:]
    model.adopt(proto)


def require_sizes(model: Model, option: str) -> None:
    """E005 for every size of an input that is open; `option` is how the back end is told of one, with its name."""
    left = [(spec, size) for spec in model.inputs() for size in spec.shape if not isinstance(size, int)]
    if left:
        notes = [f"{spec}" for spec in dict.fromkeys(spec for spec, _ in left)]
        named = [size for _, size in left if size]
        hint = f"name it: `{option.format(named[0])}`, or " if named else ""
        message = "a size of an input is open, and a file has fixed shapes"
        raise error("E005", message, place=left[0][0].name, help=f"{hint}fix the shape in the model", notes=notes)


def _names(names: Collection[str]) -> str:
    return f"known: {', '.join(sorted(names))}" if names else "the model has none that is open"


def _is_open(size: int | str | None, keep: Collection[str]) -> bool:
    return not isinstance(size, int) and size not in keep


def close_outputs(model: Model) -> None:
    """Give open dimensions of outputs the numbers that inference finds for them now."""
    if all(isinstance(size, int) for spec in model.outputs() for size in spec.shape):
        return
    light, _ = without_weights(model.to_proto())
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    found = {value.name: value.type.tensor_type.shape.dim for value in infer_shapes(light).graph.output}
    for tensor in model.graph.outputs:
        dims = found[tensor.name]
        if len(dims) == len(tensor.shape):
            tensor.shape = [_size(dim, known) for dim, known in zip(dims, tensor.shape, strict=True)]


def _size(dim: onnx.TensorShapeProto.Dimension, known: int | str) -> int | str:
    return dim.dim_value if dim.HasField("dim_value") and not isinstance(known, int) else known
