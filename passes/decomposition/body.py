"""The nodes that one node is written out in: typed and shaped as they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.pipeline.rewriter import Rewriter

# Constants up to this many elements may be shapes and axes, which decide the shapes of results.
_SHAPE_ELEMENTS = 4096


class Body:
    """Nodes that stand in for `root`, in front of it, until `finish` gives its outputs to them."""

    def __init__(self, rewriter: Rewriter, root: gs.Node) -> None:
        self._rewriter, self._root = rewriter, root
        self._opset = int(rewriter.graph.opset)
        self._like = root.outputs[0].name
        # What was made and is no output of the root yet, by identity.
        self._made: dict[int, gs.Tensor] = {}

    def __call__(self, op: str, *inputs: gs.Tensor | None, **attributes: Any) -> gs.Variable:
        """The only output of a new node; None is an input left out."""
        return self.several(op, inputs, 1, **attributes)[0]

    def several(self, op: str, inputs: Sequence[gs.Tensor | None], count: int, **attributes: Any) -> list[gs.Variable]:
        """The outputs of a new node, with the types and shapes that ONNX infers."""
        read = [gs.Variable.empty() if tensor is None else tensor for tensor in inputs]
        types = _inferred(op, read, count, attributes, self._opset)
        outputs = [self._rewriter.variable(f"{self._like}_{op.lower()}", *known) for known in types]
        self._made.update((id(tensor), tensor) for tensor in outputs)
        node = gs.Node(op, name=outputs[0].name, attrs=dict(attributes), inputs=read, outputs=list(outputs))
        self._rewriter.insert(node, before=self._root)
        return outputs

    def constant(self, values: Any, dtype: Any = None) -> gs.Constant:
        """A new constant."""
        return self._rewriter.constant(f"{self._like}_constant", np.asarray(values, dtype))

    def reshape(self, tensor: gs.Tensor, shape: Sequence[int]) -> gs.Tensor:
        """A tensor in another shape; itself if it has that shape."""
        if tensor.shape is not None and list(tensor.shape) == list(shape):
            return tensor
        return self("Reshape", tensor, self.constant(list(shape), np.int64))

    def cast(self, tensor: gs.Tensor, dtype: Any = np.float32) -> gs.Tensor:
        """A tensor in another type; itself if it has it."""
        if np.dtype(tensor.dtype) == np.dtype(dtype):
            return tensor
        return self("Cast", tensor, to=int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))))

    def transpose(self, tensor: gs.Tensor, order: Sequence[int]) -> gs.Tensor:
        """A tensor with its axes in another order; itself if that is the one they have."""
        if list(order) == list(range(len(order))):
            return tensor
        return self("Transpose", tensor, perm=list(order))

    def split(self, tensor: gs.Tensor, axis: int, sizes: Sequence[int]) -> list[gs.Tensor]:
        """The pieces of a tensor along an axis; itself if there is one."""
        if len(sizes) == 1:
            return [tensor]
        return [*self.several("Split", [tensor, self.constant(list(sizes), np.int64)], len(sizes), axis=axis)]

    def concat(self, tensors: Sequence[gs.Tensor], axis: int) -> gs.Tensor:
        """Tensors behind each other; the only one itself."""
        return tensors[0] if len(tensors) == 1 else self("Concat", *tensors, axis=axis)

    def finish(self, *results: gs.Tensor | None) -> None:
        """Let `results` be the outputs of `root`, which goes; None where it has no such output."""
        outputs = list(self._root.outputs)
        self._rewriter.erase(self._root)
        for result, output in zip(results, outputs, strict=False):
            if result is not None and not output.is_empty():
                self._become(result, output)

    def _become(self, result: gs.Tensor, output: gs.Tensor) -> None:
        """Let what writes `result` write `output`, whose name may be part of the interface."""
        if self._made.pop(id(result), None) is None:  # it keeps its own name
            node = gs.Node("Identity", name=output.name, inputs=[result], outputs=[output])
            self._rewriter.insert(node, before=self._root)
            return
        writer = result.inputs[0]
        place = next(index for index, tensor in enumerate(writer.outputs) if tensor is result)
        self._rewriter.redirect(result, output)
        self._rewriter.take_over(writer, output, place)


def _inferred(
    op: str, inputs: Sequence[gs.Tensor], count: int, attributes: Mapping[str, Any], opset: int
) -> list[tuple[np.dtype, list[int | str | None] | None]]:
    """Types and shapes of the outputs of a node."""
    named = {f"i{place}": tensor for place, tensor in enumerate(inputs) if not tensor.is_empty()}
    names = [f"i{place}" if f"i{place}" in named else "" for place in range(len(inputs))]
    node = onnx.helper.make_node(op, names, [f"o{place}" for place in range(count)], **attributes)
    types = {name: _type(tensor) for name, tensor in named.items()}
    values = {
        name: onnx.numpy_helper.from_array(np.asarray(tensor.values), name)
        for name, tensor in named.items()
        if isinstance(tensor, gs.Constant) and np.prod(tensor.shape) <= _SHAPE_ELEMENTS
    }
    known = onnx.shape_inference.infer_node_outputs(
        onnx.defs.get_schema(op, opset),
        node,
        types,
        values,
        opset_imports=[onnx.helper.make_opsetid("", opset)],
        ir_version=onnx.IR_VERSION,
    )
    return [_read(known[name].tensor_type) for name in node.output]


def _type(tensor: gs.Tensor) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(
        onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), tensor.shape
    )


def _read(kind: onnx.TypeProto.Tensor) -> tuple[np.dtype, list[int | str | None] | None]:
    shape = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in kind.shape.dim]
    return onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type), shape if kind.HasField("shape") else None
