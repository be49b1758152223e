"""Where a quantized model loses its accuracy: the error of every layer, in three comparisons, and what causes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pruna_ir.analysis.diagnosis.distance import Distance
from pruna_ir.analysis.diagnosis.quantized_layers import Layer, layers_of
from pruna_ir.analysis.diagnosis.switchboard import Switchboard
from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, integer_limits, round_trip
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.context import Progress, silent
from pruna_ir.runtime.capture import with_outputs
from pruna_ir.runtime.optimized import optimized
from pruna_ir.runtime.session import Session
from pruna_ir.runtime.threads import few_threads

if TYPE_CHECKING:
    from pruna_ir.model import Model

Feeds = Mapping[str, np.ndarray]
Figure = float | Unmeasured
# Samples that tensors are compared on, and those of them on which every layer is rounded alone.
SAMPLES = 16
ALONE_SAMPLES = 4
# Layers whose tensors are held at a time.
GROUP = 64
# The bulk of a tensor's values: all but one in a thousand.
BULK = 0.999

_NO_PAIR = Unmeasured("what it writes is not rounded")
_NO_WEIGHT = Unmeasured("it has no weights stored in integers")
_LOST_WEIGHT = Unmeasured("the model holds the rounded weights only")
_NOT_FIXED = Unmeasured("its scale is computed at run time, or there are several")


@dataclass(frozen=True)
class LayerError:
    """What one layer's rounding does, SQNR in dB throughout.

    `alone`: of the model's outputs, with this layer rounded and no other; `share` is its part of the noise of all
    layers so measured. `weights`, `activation`: of what it rounds, by itself. `accumulated` and `cosine`: of its tensor
    in the simulated model (Q/DQ as written) against float. `runtime`: of its tensor in the optimized model against the
    simulated one; `runs_as` names the operator there, and `runs_in_float` says that it is one of floats between
    integers. `saturated` is the share of values beyond the range, `bulk` how much of its width 99.9 % of them take up.
    """

    layer: Layer
    alone: Figure = _NO_PAIR
    weights: Figure = _NO_WEIGHT
    activation: Figure = _NO_PAIR
    saturated: Figure = _NO_PAIR
    bulk: Figure = _NO_PAIR
    accumulated: Figure = _NO_PAIR
    cosine: Figure = _NO_PAIR
    runtime: Figure = _NO_PAIR
    runs_as: str = ""
    runs_in_float: bool = False
    share: float = 0.0


@dataclass
class _Sums:
    """What is added up for a layer over the samples."""

    own: Distance = field(default_factory=Distance)
    accumulated: Distance = field(default_factory=Distance)
    runtime: Distance = field(default_factory=Distance)
    values: int = 0
    saturated: int = 0
    bulk: float = 0.0


def layer_errors(
    model: Model,
    reference: Model,
    batches: Sequence[Feeds],
    *,
    knows_weights: bool = True,
    no_runtime: Unmeasured | None = None,
    progress: Progress = silent,
) -> list[LayerError]:
    """The errors of all layers of a quantized model, the most damaging first.

    `reference` is its float model; `knows_weights` False says that it was made from the quantized one, so that the
    error of the weights is not in it. `no_runtime` says why the optimized model is left out. Tensors are compared on
    `batches`, and `alone` is measured on the first few.
    """
    layers = layers_of(model, reference, knows_weights=knows_weights)
    if not layers:
        return []
    protos = [reference.to_proto(), model.to_proto()]
    runtime = _Runtime.of(protos[1]) if no_runtime is None else _Runtime(onnx.ModelProto(), no_runtime)
    measured: list[LayerError] = []
    for start in range(0, len(layers), GROUP):
        progress("comparing layers", start, len(layers))
        measured += _compare_group(layers[start : start + GROUP], protos, runtime, batches)
    board = Switchboard(protos[0], layers, batches[:ALONE_SAMPLES], few_threads())
    found = []
    for index, item in enumerate(measured):
        progress("rounding each layer alone", index, len(layers))
        found.append(replace(item, alone=board.sqnr_db(index)) if _rounds(item.layer) else item)
    return sorted(_with_shares(found), key=_damage)


def output_sqnr(reference: Session, model: Session, batches: Sequence[Feeds]) -> float:
    """The SQNR in dB of the worst float output of a model, against those of its reference."""
    distances: dict[str, Distance] = {}
    for feeds in batches:
        found = model.run(feeds)
        for name, wanted in reference.run(feeds).items():
            if wanted.dtype.kind == "f":
                distances.setdefault(name, Distance()).add(wanted, found[name])
    return min((distance.sqnr_db for distance in distances.values()), default=math.inf)


def _with_shares(errors: Sequence[LayerError]) -> list[LayerError]:
    noise = [0.0 if isinstance(item.alone, Unmeasured) else 10 ** (-item.alone / 10) for item in errors]
    total = sum(noise)
    return [replace(item, share=part / total if total else 0.0) for item, part in zip(errors, noise, strict=True)]


def _rounds(layer: Layer) -> bool:
    """Whether there is something that can be rounded alone."""
    fixed = layer.params is not None and not layer.params.scale.ndim
    return fixed or layer.dynamic is not None or (layer.weight is not None and layer.weight.exact is not None)


def _damage(item: LayerError) -> tuple[bool, float]:
    figure = next((one for one in (item.alone, item.accumulated) if not isinstance(one, Unmeasured)), math.inf)
    return isinstance(item.alone, Unmeasured), float(figure)


def _compare_group(
    group: Sequence[Layer], models: Sequence[onnx.ModelProto], runtime: _Runtime, batches: Sequence[Feeds]
) -> list[LayerError]:
    sums = [_Sums() for _ in group]
    seen = [runtime.tensor(layer) for layer in group]
    names = ([layer.wanted for layer in group], [layer.rounded for layer in group], [name for name in seen if name])
    protos = (*models, runtime.proto)
    sessions = [_open(proto, wanted) for proto, wanted in zip(protos, names, strict=True)]
    for feeds in batches:
        wanted, found, ran = ({**feeds, **_run(session, feeds)} for session in sessions)
        for layer, sum_, name in zip(group, sums, seen, strict=True):
            _add(sum_, layer, wanted[layer.wanted], found[layer.rounded])
            if name:
                sum_.runtime.add(found[layer.rounded], runtime.dequantized(layer, ran[name]))
    return [_error(layer, sum_, name, runtime) for layer, sum_, name in zip(group, sums, seen, strict=True)]


def _open(proto: onnx.ModelProto, tensors: Sequence[str]) -> Session | None:
    inputs = {value.name for value in proto.graph.input}
    names = [name for name in dict.fromkeys(tensors) if name not in inputs]
    return Session(with_outputs(proto, names), threads=few_threads(), optimize=False) if names else None


def _run(session: Session | None, feeds: Feeds) -> dict[str, np.ndarray]:
    return {} if session is None else session.run(feeds)


def _add(sums: _Sums, layer: Layer, wanted: np.ndarray, found: np.ndarray) -> None:
    sums.accumulated.add(wanted, found)
    params = layer.params
    if params is None or params.scale.ndim or not wanted.size:
        return
    sums.own.add(wanted, round_trip(wanted, params))
    low, high = (
        (end - int(params.zero_point)) * float(params.scale) for end in integer_limits(params.zero_point.dtype)
    )
    half = float(params.scale) / 2
    sums.values += wanted.size
    sums.saturated += int(((wanted < low - half) | (wanted > high + half)).sum())
    tail = (1 - BULK) / 2
    inner = np.quantile(wanted, [tail, 1 - tail]) if np.isfinite(wanted).all() else np.array([low, high])
    sums.bulk = max(sums.bulk, float(np.ptp([*inner, 0.0])) / (high - low))


def _error(layer: Layer, sums: _Sums, name: str, runtime: _Runtime) -> LayerError:
    error = LayerError(layer, accumulated=sums.accumulated.sqnr_db, cosine=sums.accumulated.cosine)
    if layer.params is not None:
        fixed = not layer.params.scale.ndim and sums.values > 0
        error = replace(
            error,
            activation=sums.own.sqnr_db if fixed else _NOT_FIXED,
            saturated=sums.saturated / sums.values if fixed else _NOT_FIXED,
            bulk=sums.bulk if fixed else _NOT_FIXED,
        )
    if layer.weight is not None:
        error = replace(error, weights=_weights(layer))
    missing = runtime.missing or Unmeasured("the runtime's optimized graph has no such tensor")
    return replace(
        error,
        runtime=sums.runtime.sqnr_db if name else missing,
        runs_as=runtime.operator(layer),
        runs_in_float=runtime.in_float(layer),
    )


def _weights(layer: Layer) -> Figure:
    assert layer.weight is not None
    if layer.weight.exact is None:
        return _LOST_WEIGHT
    distance = Distance()
    distance.add(layer.weight.exact, layer.weight.rounded)
    return distance.sqnr_db


class _Runtime:
    """The graph that ONNX Runtime makes of a quantized model: its tensors in integers keep their names."""

    def __init__(self, proto: onnx.ModelProto, missing: Unmeasured | None) -> None:
        self.proto, self.missing = proto, missing
        self._writers = {name: node for node in proto.graph.node for name in node.output if name}

    @staticmethod
    def of(proto: onnx.ModelProto) -> _Runtime:
        """The graph for a model; none where the runtime does not take the model, or its own graph again."""
        try:
            made = optimized(proto)
            Session(made, optimize=False)
        except PrunaError as failure:
            return _Runtime(onnx.ModelProto(), Unmeasured(failure.diagnostic.message))
        return _Runtime(made, None)

    def tensor(self, layer: Layer) -> str:
        """The layer's result there: in integers, else in float; empty if it is gone."""
        names = (layer.integers or "", layer.rounded)
        return next((name for name in names if name in self._writers), "")

    def operator(self, layer: Layer) -> str:
        """What computes the layer's result."""
        node = self._computes(layer)
        return "" if node is None else str(node.op_type)

    def in_float(self, layer: Layer) -> bool:
        """Whether a layer that reads integers is computed in float: what it reads is converted first."""
        node = self._computes(layer)
        read = [] if node is None else [self._writers.get(name) for name in node.input]
        return any(writer is not None and writer.op_type == DEQUANTIZE for writer in read)

    def _computes(self, layer: Layer) -> onnx.NodeProto | None:
        """The node that computes the layer's result, before it is converted."""
        node = self._writers.get(self.tensor(layer))
        while node is not None and node.op_type in (QUANTIZE, DEQUANTIZE):
            node = self._writers.get(node.input[0])
        return node

    def dequantized(self, layer: Layer, values: np.ndarray) -> np.ndarray:
        """A result as numbers. The runtime turns signed integers into unsigned ones where it is faster with those."""
        params = layer.params
        if values.dtype.kind == "f" or params is None:
            return values
        dtype = params.zero_point.dtype
        moved = integer_limits(values.dtype)[0] - integer_limits(dtype)[0]
        return np.asarray((values.astype(np.int64) - int(params.zero_point) - moved).astype(np.float32) * params.scale)
