"""From a legalized graph to a program: kernels, the layout plan, and the table of operators."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.backends.refusals import refusal
from pruna_ir.backends.tflite.borders import border_layouts
from pruna_ir.backends.tflite.contraction import Contraction, contract
from pruna_ir.backends.tflite.kernels import Kernel
from pruna_ir.backends.tflite.layout_plan import LayoutPlan
from pruna_ir.backends.tflite.layouts import Layout, identity
from pruna_ir.backends.tflite.op import Op
from pruna_ir.backends.tflite.program import Binding, Program, Tensor
from pruna_ir.backends.tflite.table import Entry, Unsupported, table
from pruna_ir.backends.tflite.tensors import Tensors, constant_value, static
from pruna_ir.backends.tflite.tidying import tidy
from pruna_ir.backends.tflite.types import check_types
from pruna_ir.backends.unsupported import Failures
from pruna_ir.model import Model


def lower(model: Model, *, io: str = "onnx", weights: str = "float32", io_dtype: str = "float32") -> Program:
    """The program that a legalized model becomes; raises E004 that names every operator that cannot be written.

    `io` is the layout of images at the border: `nchw`, `nhwc`, or `onnx` as in the graph. `weights` is the
    type that constants in float are stored in: `float16` halves those that it holds, `int8` gives weights that the
    graph has in integers to kernels of floats, which then quantize activations as they run. `io_dtype` is that of
    quantized inputs and outputs (`int8`: without conversions from and to float).
    """
    entries = table()
    check_types(model.graph)
    contraction = contract(model.graph, entries, integer_border=io_dtype == "int8")
    program = Program(remarks=list(contraction.remarks))
    tensors = Tensors(contraction.params, program.operators.append, half=weights == "float16", hybrid=weights == "int8")
    borders = border_layouts(contraction, io)
    failures = Failures("LiteRT")
    _check_shapes(contraction, entries, failures)
    plan = LayoutPlan(contraction.kernels, entries, borders, contraction.outputs)
    for name, value in zip(contraction.input_names, contraction.inputs, strict=True):
        layout = borders.get(id(value), identity(len(value.shape)))
        program.inputs.append(_binding(name, tensors.declare(value, layout), layout))
    for kernel in contraction.kernels:
        _write(kernel, entries, plan, tensors, program, failures)
    if failures.notes:
        raise failures.error()
    for name, value in zip(contraction.output_names, contraction.outputs, strict=True):
        layout = borders.get(id(value), identity(len(value.shape)))
        program.outputs.append(_binding(name, _output(value, layout, tensors, program), layout))
    tidy(program)
    return program


def _binding(name: str, tensor: Tensor, layout: Layout) -> Binding:
    return Binding(name, tensor, None if layout == identity(len(layout)) else layout)


def _check_shapes(contraction: Contraction, entries: dict[str, Entry], failures: Failures) -> None:
    """All that cannot be written because it is unknown or has no fixed shape, before anything is planned."""
    for kernel in contraction.kernels:
        if kernel.op not in entries:
            failures.add(kernel.node, refusal(kernel.node, "LiteRT"))
            continue
        for tensor in [*kernel.inputs, *kernel.outputs]:
            if not tensor.is_empty() and not _is_static(tensor):
                reason = f"the shape of `{tensor.name}` is not fixed: {tensor.shape}"
                failures.add(kernel.node, Unsupported(reason), kernel.inputs)
                break
    if failures.notes:
        raise failures.error()


def _is_static(tensor: gs.Tensor) -> bool:
    return tensor.shape is not None and all(isinstance(size, int | np.integer) for size in tensor.shape)


def _write(
    kernel: Kernel, entries: dict[str, Entry], plan: LayoutPlan, tensors: Tensors, program: Program, failures: Failures
) -> None:
    op = Op(kernel, plan, tensors, program.operators.append)
    try:
        entries[kernel.op].lower(op)
    except Unsupported as failure:
        failures.add(kernel.node, failure, kernel.inputs)
        for index, tensor in enumerate(kernel.outputs):
            if not tensor.is_empty():
                op.write(index)


def _output(value: gs.Tensor, layout: Layout, tensors: Tensors, program: Program) -> Tensor:
    """The tensor of a graph output: one of its own, that no input and no other output is."""
    known = constant_value(value)
    tensor = tensors.read(value, layout)
    taken = {id(item.tensor) for item in [*program.inputs, *program.outputs]}
    if known is None and id(tensor) not in taken:
        tensors.rename(tensor, str(value.name))
        return tensor
    copy = tensors.temporary(
        value.name, tuple(static(value)[axis] for axis in layout), tensor.dtype, tensor.quantization
    )
    tensors.reshape_into(tensor, copy)
    return copy
