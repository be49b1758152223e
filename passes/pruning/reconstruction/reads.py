"""Groups of coupled channels as reconstruction sees them: which inputs of nodes are summed over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.passes.pruning.reconstruction.sites import Site, Slot, sites_in

if TYPE_CHECKING:
    from pruna_ir.analysis.axes import AxisAnalysis, Group, Use
    from pruna_ir.model import Model


@dataclass(frozen=True)
class Read:
    """An input of a node that is summed over units of a group: a weight, or one side of a product.

    `units` says for each index of its `axis`, one of `rank`, which unit that belongs to, or -1 for none. `site` is the
    layer, where the input is the weight of one that can be solved.
    """

    slot: Slot
    axis: int
    rank: int
    units: np.ndarray
    site: Site | None

    @property
    def columns(self) -> np.ndarray:
        """For each column of the layer's matrix its unit, or -1."""
        width = self.site.layer.width if self.site is not None else len(self.units)
        return np.repeat(self.units, width // len(self.units))


@dataclass(frozen=True)
class Coupled:
    """A group of `size` units that can be removed, each together with all that carries it."""

    name: str
    size: int
    reads: tuple[Read, ...]

    @property
    def solvable(self) -> bool:
        """Whether every weight that contracts over the group belongs to a layer that can be solved."""
        return bool(self.reads) and all(read.site is not None for read in self.reads)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The layers that can be solved."""
        return tuple(read.site for read in self.reads if read.site is not None)


def coupled(model: Model, analysis: AxisAnalysis) -> list[Coupled]:
    """The groups of an analysis that may be cut and over which nothing is normalized, in order."""
    sites = sites_in(model.graph)
    groups = [group for group in analysis.free if not group.reduces]
    return [
        Coupled(group.name, group.size, tuple(_read(group, use, analysis, sites) for use in group.consumers))
        for group in groups
    ]


def _read(group: Group, use: Use, analysis: AxisAnalysis, sites: Mapping[str, Site]) -> Read:
    axes = analysis.inputs[use.node, use.input]
    held = axes[use.axis]
    units = np.full(0 if held is None else len(held), -1)
    positions = analysis.positions(group, use)
    units[positions] = np.arange(group.size)[:, None]
    slot = Slot(use.node, use.input)
    site = sites.get(use.node)
    return Read(slot, use.axis, len(axes), units, site if site is not None and site.weight_slot == slot else None)
