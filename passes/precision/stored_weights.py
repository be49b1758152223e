"""Weights in few bits: how they are rounded for each of their uses, and how a graph reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pruna_ir.passes.precision.blocks import Blocks, quantize_blocks
from pruna_ir.passes.precision.half_types import FLOAT
from pruna_ir.passes.precision.products import Lookup, Use
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.pipeline.rewriter import Rewriter

# Rows of an embedding are gathered before they are restored, for which runtimes have no kernels of 4 bits.
_LOOKUP_BITS = 8


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded: bits, inputs that share a scale (0: all), and whether zero points are 0."""

    bits: int
    block: int
    symmetric: bool

    def of(self, use: Use) -> Blocks:
        """The weight in the form in which this use reads it: of an embedding, each column is a row of the table."""
        if isinstance(use, Lookup):
            table = np.asarray(use.weight.values)
            return quantize_blocks(table.reshape(len(table), -1).T, _LOOKUP_BITS, 0, symmetric=True)
        return quantize_blocks(use.matrix, self.bits, self.block, self.symmetric)


@dataclass(frozen=True)
class StoredWeight:
    """A weight that becomes integers, with all its uses, as positions in the graph's list of nodes.

    Positions survive cloning, so that the same weights can be written into any copy of the graph.
    """

    uses: tuple[tuple[int, Use], ...]
    rounding: Rounding

    @cached_property
    def forms(self) -> dict[tuple[bool, bool], Blocks]:
        """What the uses read: rows or a matrix, stored as it is or transposed."""
        return {_form(use): self.rounding.of(use) for _, use in self.uses}

    @property
    def error(self) -> float:
        """The noise of rounding over the energy of the weight, the largest of the forms."""
        errors = []
        for _, use in self.uses:
            values = np.asarray(use.weight.values, np.float64)
            wanted = values.reshape(len(values), -1).T if isinstance(use, Lookup) else use.matrix
            noise = np.square(self.forms[_form(use)].restored() - wanted).sum()
            errors.append(float(noise / max(np.square(wanted).sum(), np.finfo(np.float64).tiny)))
        return max(errors)


def stored_weights(graph: gs.Graph, uses: Sequence[Use], rounding: Rounding) -> list[StoredWeight]:
    """The weights of some uses, those that lose least first."""
    position = {id(node): index for index, node in enumerate(graph.nodes)}
    by_weight: dict[int, list[tuple[int, Use]]] = {}
    for use in uses:
        by_weight.setdefault(id(use.weight), []).append((position[id(use.node)], use))
    found = [StoredWeight(tuple(group), rounding) for group in by_weight.values()]
    return sorted(found, key=lambda weight: weight.error)


def write(graph: gs.Graph, weights: Sequence[StoredWeight]) -> None:
    """Let a graph, or a copy of it, read these weights as integers."""
    writer = _Writer(graph)
    for weight in weights:
        writer.write(weight)
    writer.rewriter.commit()


class _Writer:
    def __init__(self, graph: gs.Graph) -> None:
        self.nodes = list(graph.nodes)
        self.rewriter = Rewriter(graph)
        self.names = NodeNames(graph)

    def write(self, weight: StoredWeight) -> None:
        restored: dict[tuple[bool, bool], gs.Tensor] = {}
        tables: list[tuple[gs.Tensor, gs.Tensor]] = []
        for index, use in weight.uses:
            node, blocks, form = self.nodes[index], weight.forms[_form(use)], _form(use)
            if isinstance(use, Lookup):
                tables = tables or [self._table(use, blocks)]
                self._gather(node, *tables[0])
                continue
            if form not in restored:
                restored[form] = self._restore(use.weight.name, blocks, node)
            self.rewriter.set_input(node, 1, restored[form])
            if use.transposed:
                node.attrs["transB"] = 0

    def _restore(self, name: str, blocks: Blocks, before: gs.Node) -> gs.Tensor:
        """The matrix from its integers: integers -> DequantizeLinear."""
        inputs = [
            self.rewriter.constant(f"{name}_stored", blocks.integers),
            self.rewriter.constant(f"{name}_scale", blocks.scale),
        ]
        if blocks.zero_point is not None:
            inputs.append(self.rewriter.constant(f"{name}_zero_point", blocks.zero_point))
        attributes = {"axis": 0, "block_size": blocks.size} if blocks.size else {"axis": 1}
        result = self.rewriter.variable(f"{name}_restored", FLOAT, blocks.integers.shape)
        label = self.names.fresh(f"{name}_DequantizeLinear")
        self.rewriter.insert(gs.Node("DequantizeLinear", label, attributes, inputs, [result]), before)
        return result

    def _table(self, use: Lookup, blocks: Blocks) -> tuple[gs.Tensor, gs.Tensor]:
        name, shape = use.weight.name, use.weight.shape
        stored = self.rewriter.constant(f"{name}_stored", blocks.integers.T.reshape(shape))
        scale = blocks.scale.reshape(-1, *(1 for _ in shape[1:]))
        return stored, self.rewriter.constant(f"{name}_scale", scale)

    def _gather(self, node: gs.Node, table: gs.Tensor, scale: gs.Tensor) -> None:
        """Gather -> y  becomes  Gather of integers -> Cast -> Mul by the gathered scales -> y."""
        output, name = node.outputs[0], node.outputs[0].name
        shape = None if output.shape is None else list(output.shape)
        ones = None if shape is None else [*shape[: len(shape) - len(table.shape) + 1], *(1 for _ in table.shape[1:])]
        integers = self.rewriter.variable(f"{name}_stored", table.dtype, shape)
        cast = self.rewriter.variable(f"{name}_cast", FLOAT, shape)
        scales = self.rewriter.variable(f"{name}_scale", FLOAT, ones)
        self.rewriter.set_input(node, 0, table)
        self.rewriter.take_over(node, integers)
        attributes = {"to": int(onnx.TensorProto.FLOAT)}
        behind = [
            gs.Node("Cast", self.names.fresh(f"{name}_Cast"), attributes, [integers], [cast]),
            gs.Node("Gather", self.names.fresh(f"{name}_Gather_scale"), {"axis": 0}, [scale, node.inputs[1]], [scales]),
            gs.Node("Mul", self.names.fresh(f"{name}_Mul"), {}, [cast, scales]),
        ]
        behind[-1].outputs.append(output)
        for new in reversed(behind):
            self.rewriter.insert_after(new, node)


def _form(use: Use) -> tuple[bool, bool]:
    return (True, False) if isinstance(use, Lookup) else (False, use.transposed)
