"""From a legalized graph to an ML program: every node by the table of operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.backends.coreml.builder import MilBuilder
from pruna_ir.backends.coreml.images import Pixels
from pruna_ir.backends.coreml.interface import Interface, Port
from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.coreml.sizes import symbolic
from pruna_ir.backends.coreml.table import table
from pruna_ir.backends.coreml.toolbox import coremltools
from pruna_ir.backends.coreml.types import at_border, held, mil_name
from pruna_ir.backends.coreml.values import MOST_AXES, Names, Values
from pruna_ir.backends.refusals import refusal
from pruna_ir.backends.unsupported import Failures, Unsupported, qualified
from pruna_ir.diagnostics import error
from pruna_ir.model import Model


@dataclass
class Lowered:
    """A program of Core ML Tools (`coremltools.converters.mil.Program`), and what is to be known of its borders.

    `exact` are its operators, by name, that compute in 32 bits.
    """

    program: Any
    interface: Interface
    images: Mapping[str, Pixels]
    exact: Collection[str] = ()


def lower(
    model: Model, *, ios: int = 17, images: Mapping[str, Pixels] | None = None, exact: Collection[str] = ()
) -> Lowered:
    """The program that a legalized model becomes; raises E004 that names every operator that cannot be written.

    `images` are inputs that take pixels, by name; `exact` the nodes, by their first outputs, that compute in 32 bits.
    """
    images = images or {}
    coremltools()
    from coremltools import target as targets
    from coremltools.converters.mil.mil import Builder, Function, Program

    Builder.name_count.clear()  # names of one program do not depend on those before
    graph = model.graph
    names = Names()
    failures = Failures("Core ML")
    _require_known(graph, failures)
    ports = {id(tensor): _port(tensor, names, images.get(tensor.name)) for tensor in [*graph.inputs, *graph.outputs]}
    placeholders = {ports[id(tensor)].file: _placeholder(tensor) for tensor in graph.inputs}
    program = Program()
    with Function(placeholders, opset_version=getattr(targets, f"iOS{ios}")) as function:
        values = Values(MilBuilder(ios), names)
        for tensor in graph.inputs:
            var = function.inputs[ports[id(tensor)].file]
            values.place(tensor, _entered(tensor, var, values, images.get(tensor.name)))
        for node in graph.nodes:
            values.build.exact = node.outputs[0].name in exact
            _write(node, values, int(graph.opset), failures)
        values.build.exact = False
        if failures.notes:
            raise failures.error()
        function.set_outputs([_left(tensor, ports[id(tensor)].file, values) for tensor in graph.outputs])
    program.add_function("main", function)
    sides = (tuple(ports[id(tensor)] for tensor in side) for side in (graph.inputs, graph.outputs))
    return Lowered(program, Interface(*sides), images, {op.name for op in values.build.exact_ops})


def _require_known(graph: gs.Graph, failures: Failures) -> None:
    """Raise E004 with all nodes that the table does not have, before any work."""
    entries = table()
    for node in graph.nodes:
        if qualified(node) not in entries:
            failures.add(node, refusal(node, "Core ML"))
    if failures.notes:
        raise failures.error()


def _port(tensor: gs.Tensor, names: Names, pixels: Pixels | None) -> Port:
    if tensor.shape is None:
        raise error("E005", f"the rank of `{tensor.name}` is not known", place=tensor.name)
    if len(tensor.shape) > MOST_AXES:
        message = f"`{tensor.name}` has {len(tensor.shape)} axes, and Core ML allows {MOST_AXES}"
        raise error("E005", message, place=tensor.name)
    if 0 in tensor.shape:
        raise error("E005", f"`{tensor.name}` is empty: its shape is {list(tensor.shape)}", place=tensor.name)
    shape = tuple(int(size) if isinstance(size, int | np.integer) else size for size in tensor.shape)
    port = Port(tensor.name, names.unique(tensor.name), np.dtype(tensor.dtype).name, shape)
    return port if pixels is None else replace(port, scale=pixels.scale, bias=pixels.bias)


def _placeholder(tensor: gs.Tensor) -> Any:
    from coremltools.converters.mil.mil import Builder, types

    dtype = types.string_to_builtin(mil_name(_border_type(tensor)))
    return Builder.placeholder(shape=symbolic(tensor) or [1], dtype=dtype)


def _border_type(tensor: gs.Tensor) -> np.dtype:
    try:
        return at_border(tensor.dtype)
    except Unsupported as failure:
        raise error("E004", f"`{tensor.name}`: {failure.reason}", place=tensor.name) from None


def _entered(tensor: gs.Tensor, var: Any, values: Values, pixels: Pixels | None) -> Any:
    """An input as the graph has it."""
    if pixels is not None:
        scale, bias = pixels.factors()
        var = values.build("mul", values.names.unique(f"{tensor.name}_scaled"), x=var, y=scale)
        return values.build("add", values.names.unique(f"{tensor.name}_biased"), x=var, y=bias)
    if not tensor.shape:
        var = values.build("squeeze", values.names.unique(f"{tensor.name}_number"), x=var, axes=[0])
    dtype = mil_name(held(tensor.dtype, values.build.ios))
    return values.build.cast(var, dtype, values.names.unique(f"{tensor.name}_{dtype}"))


def _write(node: gs.Node, values: Values, opset: int, failures: Failures) -> None:
    entry = table()[qualified(node)]
    try:
        if not entry.any_rank:
            _require_few_axes(node)
        entry.lower(Op(node, values, opset))
    except Unsupported as failure:
        failures.add(node, failure)
        for tensor in node.outputs:
            if not tensor.is_empty() and not values.has(tensor):
                values.place(tensor, _stand_in(tensor, values))


def _require_few_axes(node: gs.Node) -> None:
    for tensor in [*node.inputs, *node.outputs]:
        if not tensor.is_empty() and len(tensor.shape or ()) > MOST_AXES:
            raise Unsupported(f"`{tensor.name}` has {len(tensor.shape)} axes, and Core ML allows {MOST_AXES}")


def _stand_in(tensor: gs.Tensor, values: Values) -> Any:
    """Something of the type and shape of what could not be written, for those who read it."""
    from coremltools.converters.mil.mil import Builder, types

    try:
        dtype = held(tensor.dtype, values.build.ios)
    except (Unsupported, TypeError):
        dtype = np.dtype(np.float32)
    sizes = [int(size) if isinstance(size, int | np.integer) and size else 1 for size in tensor.shape or (1,)]
    return Builder.placeholder(shape=tuple(sizes) or (1,), dtype=types.string_to_builtin(mil_name(dtype))).outputs[0]


def _left(tensor: gs.Tensor, name: str, values: Values) -> Any:
    """An output of the package: an operator's own result, with the output's name and a type that may leave."""
    build, names = values.build, values.names
    var = values.read(tensor)
    dtype = mil_name(_border_type(tensor))
    if build.dtype(var) != dtype:
        var = build.cast(var, dtype, names.unique(f"{tensor.name}_{dtype}"))
    if not tensor.shape:
        var = build("expand_dims", names.unique(f"{tensor.name}_list"), x=var, axes=[0])
    return build("identity", name, x=var)
