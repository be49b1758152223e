"""Cutting a model to its widths, with or without least squares on what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pruna_ir.analysis.axes import AxisAnalysis, Options, analyze
from pruna_ir.model import Model
from pruna_ir.passes.pruning.cutting import cut
from pruna_ir.passes.pruning.reconstruction.reads import coupled
from pruna_ir.passes.pruning.reconstruction.sequential import Removals, reconstruct
from pruna_ir.pipeline.context import Progress

Removed = dict[str, np.ndarray]


def cut_with_least_squares(
    model: Model,
    analysis: AxisAnalysis,
    removals: Removals,
    batches: Sequence[Mapping[str, np.ndarray]],
    worth: Mapping[str, np.ndarray],
    options: Options,
    progress: Progress,
) -> tuple[Model, Removed]:
    """The pruned model with weights that make up for what was cut, and the units that went.

    Which units of the groups in `worth` go is chosen anew, see `reconstruct`. `options` are those that `analysis` was
    made with. Groups over which something is normalized are cut first: there a
    zero is not the same as nothing.
    """
    normalized = {name: np.array(units) for name, units in removals.items() if analysis.group(name).reduces}
    others = {name: units for name, units in removals.items() if name not in normalized}
    shrunk = cut(model, analysis, normalized) if normalized else model.clone()
    rest = analysis.without({name: units.tolist() for name, units in normalized.items()})
    groups = [group for group in coupled(shrunk, rest) if group.name in others]
    removed = {group.name: np.sort(np.array(others[group.name], np.int64)) for group in groups}
    removed = reconstruct(shrunk, groups, removed, batches, worth=worth, progress=progress)
    # Layers have got biases since, which hold units too.
    return cut(shrunk, analyze(shrunk, options), removed), {**normalized, **removed}
