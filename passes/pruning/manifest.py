"""What was kept, for those who have to follow: training code that must cut its own copy of the weights alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pruna_ir.analysis.axes import AxisAnalysis, Use, nodes_by_key
from pruna_ir.analysis.axes.places import constant_of
from pruna_ir.model import Model
from pruna_ir.model.invariants import node_name


def manifest(model: Model, analysis: AxisAnalysis, removed: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The kept units of each cut group, and the kept indices of each constant's axis, as JSON values.

    `model` is the model before the cut. Indices count from 0 in the tensor before it. A constant that several nodes
    read stands there once for each, since each has its own after the cut.
    """
    gone = analysis.gone({name: units.tolist() for name, units in removed.items()})
    groups = [
        {
            "group": name,
            "units": analysis.group(name).size,
            "kept": np.setdiff1d(np.arange(analysis.group(name).size), units).tolist(),
        }
        for name, units in removed.items()
    ]
    return {"groups": groups, "tensors": list(_tensors(model, analysis, gone))}


def _tensors(model: Model, analysis: AxisAnalysis, gone: np.ndarray) -> Iterator[dict[str, Any]]:
    nodes = nodes_by_key(model.graph)
    for (key, position), axes in analysis.inputs.items():
        node = nodes.get(key)
        constant = constant_of(node.inputs[position]) if node is not None else None
        if node is None or constant is None:
            continue
        for axis in range(len(axes)):
            units = analysis.units(Use(key, position, axis))
            if units is not None and bool(gone[units].any()):
                yield {
                    "tensor": str(constant.name),
                    "node": node_name(node),
                    "input": position,
                    "axis": axis,
                    "size": len(units),
                    "kept": np.flatnonzero(~gone[units]).tolist(),
                }
