"""The weights of a model's groups, as criteria see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.axes import AxisAnalysis, Group, Use, nodes_by_key
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.model import Model
from pruna_ir.passes.pruning.criteria.slices import GroupWeights, Slices
from pruna_ir.runtime.capture import capture

# The input of a normalization that scales channels.
_SCALE = {"BatchNormalization": 1}

Feeds = Mapping[str, np.ndarray]


class Views:
    """Makes the views of one model; `batches` are what layers are measured on, none if there are no data."""

    def __init__(self, model: Model, analysis: AxisAnalysis, seed: int = 0) -> None:
        self._model, self._analysis, self._seed = model, analysis, seed
        self._nodes = nodes_by_key(model.graph)
        self._reads: dict[Use, np.ndarray] = {}

    def of(self, group: Group) -> GroupWeights:
        """The weights that write a group and read it, and the scales of its normalizations."""
        scales = [use for use in group.carriers if _SCALE.get(self._nodes[use.node].op) == use.input]
        return GroupWeights(
            group.name,
            group.size,
            tuple(self._slices(group, group.producers)),
            tuple(self._slices(group, group.consumers)),
            tuple(self._slices(group, scales)),
            self._seed,
        )

    def measure_reads(self, groups: Sequence[Group], batches: Iterable[Feeds]) -> None:
        """Measure the root mean square of what the layers behind the groups read, for each unit."""
        sums = {tensor: _Energy() for group in groups for use in group.consumers if (tensor := self._read_by(use))}

        def receive(_: int, values: dict[str, np.ndarray]) -> None:
            for name, value in values.items():
                sums[name].add(value, self._analysis.tensors[name])

        if sums:
            capture(self._model, batches, list(sums), receive)
        for group in groups:
            for use in group.consumers:
                tensor = self._read_by(use)
                if tensor:
                    self._reads[use] = sums[tensor].of_units(group.units)

    def _slices(self, group: Group, uses: Iterable[Use]) -> Iterator[Slices]:
        for use in uses:
            weight = constant_of(self._nodes[use.node].inputs[use.input])
            if weight is None:
                continue
            rows = self._analysis.positions(group, use)
            values = np.moveaxis(np.asarray(weight.values), use.axis, 0)[rows.reshape(-1)]
            units = np.repeat(np.arange(group.size), rows.shape[1])
            yield Slices(values.reshape(len(values), -1), units, self._reads.get(use))

    def _read_by(self, use: Use) -> str | None:
        """The variable that a consumer multiplies by its weight, if the units stand on it."""
        node = self._nodes[use.node]
        if constant_of(node.inputs[use.input]) is None:
            return None
        others = [tensor for tensor in node.inputs if isinstance(tensor, gs.Variable) and not tensor.is_empty()]
        name = str(others[0].name) if others else ""
        return name if any(units is not None for units in self._analysis.tensors.get(name, ())) else None


class _Energy:
    """Mean squares of a tensor for each unit on its axes."""

    def __init__(self) -> None:
        self._sums: dict[int, float] = {}
        self._counts: dict[int, int] = {}

    def add(self, value: np.ndarray, axes: Sequence[np.ndarray | None]) -> None:
        squares = np.square(value, dtype=np.float64)
        for axis, units in enumerate(axes):
            if units is None:
                continue
            means = squares.mean(axis=tuple(other for other in range(value.ndim) if other != axis))
            for unit, mean in zip(units.tolist(), means.tolist(), strict=True):
                self._sums[unit] = self._sums.get(unit, 0.0) + mean
                self._counts[unit] = self._counts.get(unit, 0) + 1

    def of_units(self, units: np.ndarray) -> np.ndarray:
        """Root mean squares [units]; 0 for units that are not on the tensor."""
        means = [self._sums.get(unit, 0.0) / self._counts.get(unit, 1) for unit in units.tolist()]
        return np.asarray(np.sqrt(np.array(means)))
