"""Knobs: the activation ranges of a quantized model that can be turned, each with all that must follow it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, Pair, pairs, params_of, stored, writer_of
from pruna_ir.calibration.record import Record
from pruna_ir.calibration.scheme import QuantParams, Range, Scheme
from pruna_ir.passes.quantization.biases import Bias, bias_of
from pruna_ir.passes.quantization.kernel import Bounds, row_of
from pruna_ir.passes.quantization.node_names import NodeNames
from pruna_ir.passes.quantization.scale_groups import fit
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.targets import Scales, Target

_INT32_MAX = 2**31 - 1
_WEIGHT = 1  # the position of the weight of every op with a bias in integers


@dataclass
class Knob:
    """Activations with one scale and zero point, which move together.

    `limits` is the interval that no turn leaves: what the tensors were seen to hold, or where none was seen the range
    that they have. `least_scale` keeps the biases of the kernels behind within 32 bits.
    """

    pairs: list[Pair]
    params: QuantParams
    scheme: Scheme
    limits: Range = field(default_factory=lambda: Range(0.0, 0.0))
    least_scale: float = 0.0

    @property
    def tensors(self) -> list[str]:
        """The names of the tensors that are rounded."""
        return list(dict.fromkeys(str(pair.source.name) for pair in self.pairs))

    @property
    def range(self) -> tuple[float, float]:
        """The interval that its integers represent."""
        found = self.scheme.range(self.params)
        return float(found.minimum), float(found.maximum)

    def turned(self, low: float, high: float) -> QuantParams | None:
        """Scale and zero point for another range, as far as the limits allow; None if nothing changes."""
        bounds = Bounds(float(self.limits.minimum), float(self.limits.maximum))
        params = fit(self.scheme, Range(low, high), bounds)
        same = params.scale == self.params.scale and params.zero_point == self.params.zero_point
        return None if same or float(params.scale) < self.least_scale else params


def find_knobs(graph: gs.Graph, target: Target, records: Mapping[str, Record]) -> list[Knob]:
    """The knobs of a graph, in its order: Q/DQ pairs with one constant scale.

    Pairs around an op that only moves or joins values have one knob if they have one scale now: the target's kernels
    want that. Scales that a kernel fixes are no knobs.
    """
    groups: dict[int, list[Pair]] = {}
    for pair in pairs(graph):
        if _turns(pair):
            groups[id(pair.quantize)] = [*groups.get(id(pair.quantize), []), pair]
    for node in graph.nodes:
        row = row_of(node, target)
        if row is not None and row.scales is not Scales.FREE:
            _join(groups, _around(node))
    unique = {id(group): group for group in groups.values()}
    fixed = {id(tensor) for node in graph.nodes if _is_fixed(node, target) for tensor in node.outputs}
    free = (group for group in unique.values() if not any(id(pair.source) in fixed for pair in group))
    return [_knob(group, target, records) for group in free]


def turn(graph: gs.Graph, knobs: Iterable[tuple[Knob, QuantParams]]) -> None:
    """Write new scales and zero points into the graph, and biases in the units that follow."""
    rewriter, names = Rewriter(graph), NodeNames(graph)
    for knob, params in knobs:
        for reader in _readers(knob):
            _rescale_bias(reader, params, rewriter, names)
        for pair in knob.pairs:
            for node in (pair.quantize, pair.dequantize):
                rewriter.set_input(node, 1, rewriter.constant(f"{pair.source.name}_scale", params.scale))
                rewriter.set_input(node, 2, rewriter.constant(f"{pair.source.name}_zero_point", params.zero_point))
        knob.params = params
    rewriter.commit()


def _turns(pair: Pair) -> bool:
    before, after = params_of(pair.quantize), params_of(pair.dequantize)
    return (
        before is not None
        and after is not None
        and before.axis is None
        and after.axis is None
        and before.zero_point.dtype.kind in "iu"
        and _key(before) == _key(after)
    )


def _key(params: QuantParams) -> tuple[bytes, bytes, np.dtype]:
    return params.scale.tobytes(), params.zero_point.tobytes(), params.zero_point.dtype


def _is_fixed(node: gs.Node, target: Target) -> bool:
    row = row_of(node, target)
    return row is not None and row.fixed is not None


def _around(node: gs.Node) -> list[gs.Node]:
    """The QuantizeLinear nodes of what a node reads and writes."""
    read = [writer for writer in map(writer_of, node.inputs) if writer is not None and writer.op == DEQUANTIZE]
    written = [reader for tensor in node.outputs for reader in tensor.outputs]
    return [*(writer.inputs[0].inputs[0] for writer in read if writer.inputs[0].inputs), *written]


def _join(groups: dict[int, list[Pair]], nodes: Iterable[gs.Node]) -> None:
    """Make one group of those of the nodes' groups that have one scale now."""
    by_key: dict[object, list[Pair]] = {}
    for node in nodes:
        if id(node) in groups:
            group = groups[id(node)]
            params = params_of(group[0].quantize)
            assert params is not None
            kept = by_key.setdefault(_key(params), group)
            if kept is not group:
                kept += group
                groups.update({id(pair.quantize): kept for pair in group})


def _knob(group: list[Pair], target: Target, records: Mapping[str, Record]) -> Knob:
    params = params_of(group[0].quantize)
    assert params is not None
    scheme = Scheme(params.zero_point.dtype, symmetric=target.activations.symmetric)
    knob = Knob(group, params, scheme)
    knob.limits = _limits(knob, records)
    needed = [_least_scale(bias) for reader in _readers(knob) if (bias := _integer_bias(reader)) is not None]
    knob.least_scale = float(params.scale) * max(needed, default=0.0)
    return knob


def _limits(knob: Knob, records: Mapping[str, Record]) -> Range:
    low, high = knob.range
    seen = [records[name] for name in knob.tensors if name in records and records[name].count]
    if len(seen) < len(knob.tensors):
        return Range(low, high)
    return Range(min([0.0, *(record.minimum for record in seen)]), max([0.0, *(record.maximum for record in seen)]))


def _readers(knob: Knob) -> list[gs.Node]:
    """The nodes that read an activation of the knob as their first input."""
    return [node for pair in knob.pairs for node in pair.result.outputs if node.inputs[0] is pair.result]


def _integer_bias(reader: gs.Node) -> Bias | None:
    bias = bias_of(reader)
    return bias if bias is not None and bias.values is not None and bias.step is not None else None


def _least_scale(bias: Bias) -> float:
    """The share of the activation's scale at which the bias just fits into 32 bits."""
    assert bias.values is not None
    return float(np.abs(bias.values.astype(np.int64)).max()) / _INT32_MAX


def _rescale_bias(reader: gs.Node, params: QuantParams, rewriter: Rewriter, names: NodeNames) -> None:
    bias, weight = _integer_bias(reader), stored(reader.inputs[_WEIGHT]) if len(reader.inputs) > _WEIGHT else None
    weights = params_of(weight.dequantize) if weight is not None else None
    if bias is None or bias.values is None or bias.step is None or weights is None:
        return
    step = (params.scale.astype(np.float64) * weights.scale).astype(np.float32).astype(np.float64)
    integers = np.rint(bias.values * bias.step / step)
    rescaled = replace(bias, values=np.clip(integers, -_INT32_MAX, _INT32_MAX).astype(np.int32), step=step)
    rescaled.write(rewriter, names)
