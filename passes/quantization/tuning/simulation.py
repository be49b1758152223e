"""A quantized model whose scales are inputs: another range is another feed, not another session."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import stored
from pruna_ir.calibration.scheme import QuantParams
from pruna_ir.passes.quantization.tuning.knobs import Knob
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

Feeds = Mapping[str, np.ndarray]
# No output counts as better than this, in dB: one that is exact must not outweigh the others.
_BEST = 100.0


class Simulation:
    """Runs a quantized model in float arithmetic, with what its Q/DQ pairs round, and compares it with a reference.

    `knobs` are those of the model; their parameters may be given anew for each run. Integer constants are folded:
    they stay as they are.
    """

    def __init__(self, model: Model, knobs: Sequence[Knob], reference: Session, threads: int) -> None:
        self.knobs = knobs
        self.runs = 0
        self._reference = reference
        # ONNX Runtime's optimizations make integer kernels of some ops, which read zero points as if constant: wrongly.
        self._session = Session(_with_open_scales(model, knobs), threads=threads, optimize=False)

    def expect(self, batches: Sequence[Feeds]) -> list[tuple[Feeds, dict[str, np.ndarray]]]:
        """Batches with what the reference makes of them, as `sqnr` takes them."""
        return [
            (feeds, {k: np.array(v, np.float64) for k, v in self._reference.run(feeds).items() if v.dtype.kind == "f"})
            for feeds in batches
        ]

    def sqnr(
        self, expected: Sequence[tuple[Feeds, dict[str, np.ndarray]]], changed: Mapping[int, QuantParams]
    ) -> float:
        """The mean over the outputs of signal to noise in dB, with the parameters of some knobs (by number) changed."""
        params = [changed.get(index, knob.params) for index, knob in enumerate(self.knobs)]
        feeds = {_scale(index): np.asarray(item.scale) for index, item in enumerate(params)}
        feeds |= {_zero_point(index): np.asarray(item.zero_point) for index, item in enumerate(params)}
        signal: dict[str, float] = {}
        noise: dict[str, float] = {}
        self.runs += 1
        for batch, wanted in expected:
            found = self._session.run({**batch, **feeds}, list(wanted))
            for name, values in wanted.items():
                known = np.isfinite(values)
                gap = found[name].astype(np.float64)[known] - values[known]
                signal[name] = signal.get(name, 0.0) + float(np.square(values[known]).sum())
                noise[name] = noise.get(name, 0.0) + float(np.square(gap).sum())
        return sum(_decibels(signal[name], noise[name]) for name in signal) / max(len(signal), 1)


def _decibels(signal: float, noise: float) -> float:
    if not math.isfinite(noise) or (signal == 0.0 and noise > 0.0):
        return -_BEST
    return min(10 * math.log10(signal / noise), _BEST) if noise else _BEST


def _scale(index: int) -> str:
    return f"knob/{index}/scale"


def _zero_point(index: int) -> str:
    return f"knob/{index}/zero_point"


def _with_open_scales(model: Model, knobs: Sequence[Knob]) -> Model:
    """A copy of the model in which the knobs' parameters are inputs and stored constants are floats again."""
    copy = model.clone()
    nodes = {str(node.outputs[0].name): node for node in copy.graph.nodes if node.outputs}
    for index, knob in enumerate(knobs):
        scale = gs.Variable(_scale(index), np.dtype(np.float32), [])
        zero_point = gs.Variable(_zero_point(index), knob.params.zero_point.dtype, [])
        copy.graph.inputs += [scale, zero_point]
        for pair in knob.pairs:
            for node in (pair.quantize, pair.dequantize):
                found = nodes[str(node.outputs[0].name)]
                found.inputs = [found.inputs[0], scale, zero_point]
    _fold_constants(copy.graph)
    copy.graph.cleanup()
    return copy


def _fold_constants(graph: gs.Graph) -> None:
    """Put stored constants in float where they are read: they need not be computed in every run."""
    folded: dict[int, gs.Constant] = {}
    for node in graph.nodes:
        for index, tensor in enumerate(node.inputs):
            if (found := stored(tensor)) is None:
                continue
            if id(tensor) not in folded:
                folded[id(tensor)] = gs.Constant(f"{tensor.name}/folded", found.values())
            node.inputs[index] = folded[id(tensor)]
