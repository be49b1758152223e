"""How much each group of a model can lose: error curves of the layers behind it, and measured effect on the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from pruna_ir.analysis.gram import Feeds, rounds
from pruna_ir.passes.pruning.reconstruction.edits import edited_model
from pruna_ir.passes.pruning.reconstruction.elimination import eliminate, problem_of
from pruna_ir.passes.pruning.reconstruction.least_squares import RIDGE
from pruna_ir.passes.pruning.reconstruction.observations import most_rows
from pruna_ir.passes.pruning.reconstruction.reading import Reading
from pruna_ir.passes.pruning.reconstruction.reads import Coupled
from pruna_ir.passes.pruning.reconstruction.sites import Site, Slot
from pruna_ir.passes.pruning.reconstruction.walk import threads
from pruna_ir.runtime.capture import capture
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.model import Model

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Curve:
    """What a group of n units loses: `order` [n - 1] has the units, the one that is missed least first.

    `errors` [n] is the squared error of the outputs of the layers behind the group with the first k removed and least
    squares done, relative to the variance of these outputs and summed over the layers; errors[0] is 0. `halved` are
    the constants of these layers that make up for the first n // 2.
    """

    order: np.ndarray
    errors: np.ndarray
    halved: Mapping[Slot, np.ndarray]


def survey(
    model: Model,
    groups: Sequence[Coupled],
    batches: Sequence[Feeds],
    *,
    ridge: float = RIDGE,
    progress: Progress | None = None,
) -> dict[str, Curve]:
    """The curve of every group whose readers are all layers that can be solved, each group alone in the whole model."""
    curves: dict[str, Curve] = {}
    known = {group.name: group for group in groups if group.solvable}
    layers = {name: [read.site.layer for read in group.reads if read.site] for name, group in known.items()}
    for names in rounds(layers):
        sites = {read.site.key: read.site for name in names for read in known[name].reads if read.site}
        readings = _readings(model, list(sites.values()), batches)
        for name in names:
            if progress is not None:
                progress("measuring what groups can lose", len(curves), len(known))
            curves[name] = _curve(known[name], readings, ridge)
    return curves


def _readings(model: Model, sites: Sequence[Site], batches: Sequence[Feeds]) -> dict[str, Reading]:
    """What the sites read; those that read the same rows share a matrix."""
    sources = {(site.layer.tensor, site.layer.rows, site.bias_slot is None): Reading(site) for site in sites}

    def receive(number: int, values: Mapping[str, np.ndarray]) -> None:
        for (tensor, _, _), reading in sources.items():
            if tensor in values:
                rows = values[tensor].astype(np.float32, copy=False)
                reading.add(reading.site.rows(rows, number, most_rows(reading.site, len(batches))))

    tensors = list(dict.fromkeys(tensor for tensor, _, _ in sources))
    for number, feeds in enumerate(batches):
        receive(number, {name: feeds[name] for name in tensors if name in feeds})
    inner = [tensor for tensor in tensors if tensor not in batches[0]]
    if inner:
        capture(model, batches, inner, receive, threads=threads())
    return {site.key: sources[site.layer.tensor, site.layer.rows, site.bias_slot is None] for site in sites}


def _curve(group: Coupled, readings: Mapping[str, Reading], ridge: float) -> Curve:
    pairs = [(read, read.site) for read in group.reads if read.site is not None]
    problems = [problem_of(readings[site.key].unchanged(site), site.matrix, read.columns) for read, site in pairs]
    found = eliminate(problems, group.size, group.size - 1, ridge)
    halved: dict[Slot, np.ndarray] = {}
    for (_, site), problem, weights in zip(pairs, problems, found.halves, strict=True):
        halved |= site.edits(weights, problem.normal.bias(weights))
    return Curve(found.order, found.errors, halved)


def sensitivity(
    model: Model,
    groups: Sequence[Coupled],
    curves: Mapping[str, Curve],
    batches: Sequence[Feeds],
    *,
    progress: Progress | None = None,
) -> dict[str, float]:
    """How far the outputs of the model move, relative to their variance, with half of each group alone removed."""
    proto = model.to_proto()
    expected = _Outputs(proto, batches)
    found: dict[str, float] = {}
    for group in groups:
        if group.name in curves:
            if progress is not None:
                progress("measuring each group's effect", len(found), len(curves))
            found[group.name] = expected.distance(edited_model(proto, curves[group.name].halved))
    return found


class _Outputs:
    """The float outputs of a model for some batches, and how far another model is from them."""

    def __init__(self, proto: onnx.ModelProto, batches: Sequence[Feeds]) -> None:
        self._batches = batches
        self._values = list(self._run(proto))
        self._names = [name for name, value in self._values[0].items() if value.dtype.kind == "f"]
        self._spread = {name: self._variation(name) or 1.0 for name in self._names}

    def distance(self, proto: onnx.ModelProto) -> float:
        """Squared error of each output over its variation about the mean, averaged over the outputs."""
        total = 0.0
        for wanted, values in zip(self._values, self._run(proto), strict=True):
            for name in self._names:
                gap = values[name].astype(np.float64) - wanted[name]
                total += float(np.square(gap).sum()) / self._spread[name]
        return total / max(len(self._names), 1)

    def _variation(self, name: str) -> float:
        values = [one[name].astype(np.float64) for one in self._values]
        mean = sum(value.sum() for value in values) / sum(value.size for value in values)
        return float(sum(np.square(value - mean).sum() for value in values))

    def _run(self, proto: onnx.ModelProto) -> Iterator[dict[str, np.ndarray]]:
        session = Session(proto, threads=threads())
        for feeds in self._batches:
            yield session.run(feeds)
