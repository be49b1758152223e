"""One pass over a model in which groups lose units and every layer makes up for what was lost in front of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pruna_ir.analysis.gram import Feeds
from pruna_ir.passes.pruning.reconstruction.activations import Rectifier
from pruna_ir.passes.pruning.reconstruction.edits import write
from pruna_ir.passes.pruning.reconstruction.elimination import Eliminator, Problem, problem_of
from pruna_ir.passes.pruning.reconstruction.least_squares import RIDGE, solve
from pruna_ir.passes.pruning.reconstruction.observations import Chunk, Observations, most_rows
from pruna_ir.passes.pruning.reconstruction.reading import Aim, Reading
from pruna_ir.passes.pruning.reconstruction.reads import Coupled, Read
from pruna_ir.passes.pruning.reconstruction.schedule import reads, schedule
from pruna_ir.passes.pruning.reconstruction.sites import PARTS, Site, Slot, sites_in
from pruna_ir.passes.pruning.reconstruction.smooth import Smooth
from pruna_ir.passes.pruning.reconstruction.survey import Progress
from pruna_ir.passes.pruning.reconstruction.targets import Target, target_of
from pruna_ir.passes.pruning.reconstruction.tuned import best_ridge, without_noise
from pruna_ir.passes.pruning.reconstruction.walk import Walk
from pruna_ir.passes.pruning.reconstruction.weighted import Rounds

if TYPE_CHECKING:
    from pruna_ir.model import Model

# Rounds of least squares in which only what the activation behind a layer lets through counts.
ROUNDS = 4
# The ridge that suits a layer alone is too cautious for a chain of them: what it keeps each from making up for adds up
# more than noise in the weights does. So this share of it is taken.
TAKEN = 0.1
Removals = Mapping[str, Sequence[int] | np.ndarray]


def reconstruct(
    model: Model,
    groups: Sequence[Coupled],
    removals: Removals,
    batches: Sequence[Feeds],
    *,
    worth: Mapping[str, np.ndarray] | None = None,
    ridge: float = RIDGE,
    rounds: int = ROUNDS,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Let the layers behind removed units do without them, and all layers make up for the loss, in graph order.

    Each layer is solved against what the model wrote at first, the errors of other summands included, from what it
    reads now. Shapes stay, and so do weights that are no layer's: the units are still to be cut out. `removals` says
    for each group which units go. Of groups in `worth`, as many go, but which is chosen anew where all layers behind
    them can be looked at together: what the model reads by then is not what it read at first. What losing a unit costs
    counts as often as its worth. Returns the units that went.
    """
    removed = {
        group.name: np.isin(np.arange(group.size), removals[group.name]) for group in groups if group.name in removals
    }
    one = _Pass(model, groups, removed, worth or {}, batches, ridge, rounds)
    write(model, one.run(progress))
    return {name: np.flatnonzero(mask) for name, mask in one.removed.items()}


class _Pass:
    """The state of the pass: the model at first and as it is now, both run as far as the layer that is solved next."""

    def __init__(
        self,
        model: Model,
        groups: Sequence[Coupled],
        removed: Mapping[str, np.ndarray],
        worth: Mapping[str, np.ndarray],
        batches: Sequence[Feeds],
        ridge: float,
        rounds: int,
    ) -> None:
        self._sites = sites_in(model.graph)
        self._tensors = model.graph.tensors()
        self._outputs = frozenset(str(tensor.name) for tensor in model.graph.outputs)
        proto = model.to_proto()
        self._plan = schedule(proto.graph, list(self._sites))
        self._original, self._current = Walk(proto, self._plan, batches), Walk(proto, self._plan, batches)
        self._ridge, self._rounds = ridge, rounds
        self.removed = dict(removed)
        self._readers: dict[str, list[tuple[Coupled, Read]]] = {}
        for group in groups:
            for read in group.reads:
                if read.site is not None:
                    self._readers.setdefault(read.site.key, []).append((group, read))
        self._changed: set[str] = set()
        self._edits: dict[Slot, np.ndarray] = {}
        self._masked: set[str] = set()
        self._silence(groups)
        open_groups = [group for group in groups if group.name in worth and self._chosen_here(group)]
        self._open = {group.name: worth[group.name] for group in open_groups}

    def run(self, progress: Progress | None) -> dict[Slot, np.ndarray]:
        """Solve all layers; returns the constants that change."""
        self._spread(0)
        for number, site in enumerate(self._sites.values(), 1):
            if progress is not None:
                progress("reconstructing layers", number - 1, len(self._sites))
            self._visit(number, site)
            self._spread(number)
        return self._edits

    def _silence(self, groups: Iterable[Coupled]) -> None:
        """Let nodes that are not solved read zeros for removed units."""
        for group in groups:
            for read in group.reads:
                if read.site is None and group.name in self.removed:
                    kept = (read.units < 0) | ~self.removed[group.name][read.units]
                    if not kept.all():
                        self._current.mask(read.slot, np.expand_dims(kept, list(range(1, read.rank - read.axis))))
                        self._masked.add(read.slot.key)

    def _set(self, edits: Mapping[Slot, np.ndarray]) -> None:
        self._edits.update(edits)
        self._current.set(edits)

    def _spread(self, stage: int) -> None:
        """Note which tensors of a stage are not what they were."""
        edited = {slot.key for slot in self._edits} | self._masked
        for node in self._plan.stages[stage]:
            if (node.output and node.output[0] in edited) or any(name in self._changed for name in reads(node)):
                self._changed.update(name for name in node.output if name)

    def _visit(self, number: int, site: Site) -> None:
        target = target_of(self._tensors[site.written], self._outputs, lambda name: self._plan.known(name, number))
        self._original.run_to(number + 1, {target.tensor})
        self._current.run_to(number)
        undecided = [pair for pair in self._readers.get(site.key, ()) if pair[0].name in self._open]
        if not undecided and self._kept(site).all() and self._changed.isdisjoint({site.layer.tensor, *target.others}):
            return
        chunks = Observations(site, target, self._original, self._current).kept()
        reading = Reading(site, chunks, PARTS)
        aim = reading.aim(chunks, lambda chunk: chunk.wanted)
        for group, read in undecided:
            if group.name in self._open:
                self._choose(group, problem_of(reading.normal(aim), site.matrix, read.columns), site)
        self._set(site.edits(*self._solve(site, target, chunks, reading, aim, self._kept(site))))

    def _chosen_here(self, group: Coupled) -> bool:
        """Whether units of a group go, and all its readers read what is known when the first of them is solved."""
        if not (group.solvable and self.removed.get(group.name, np.zeros(0)).any()):
            return False
        first = min(self._plan.stage[site.key] for site in group.sites)
        return all(self._plan.known(site.layer.tensor, first) for site in group.sites)

    def _choose(self, group: Coupled, problem: Problem, site: Site) -> None:
        """Decide which units of a group go: `problem` is that of the reader which is solved now, at `site`."""
        self.removed[group.name], count = np.zeros(group.size, bool), int(self.removed[group.name].sum())
        problems = [problem.within(self._kept(site))]
        for read in group.reads:
            if read.site is not None and read.site.key != site.key:
                normal = self._reading(read.site).unchanged(read.site)
                problems.append(problem_of(normal, read.site.matrix, read.columns).within(self._kept(read.site)))
        gone = Eliminator(problems, group.size, self._ridge).eliminate(count, worth=self._open.pop(group.name)).order
        self.removed[group.name][gone] = True

    def _reading(self, site: Site) -> Reading:
        """What a layer that is solved later reads, which is known already."""
        reading = Reading(site)
        for batch in range(len(self._current)):
            values = self._current.value(site.layer.tensor, batch).astype(np.float32, copy=False)
            reading.add(site.rows(values, batch, most_rows(site, len(self._current))))
        return reading

    def _kept(self, site: Site) -> np.ndarray:
        """The columns of a layer that no removed unit owns."""
        kept = np.ones(site.layer.width, bool)
        for group, read in self._readers.get(site.key, ()):
            if group.name in self.removed:
                columns = read.columns
                kept &= (columns < 0) | ~self.removed[group.name][columns]
        return kept

    def _solve(
        self, site: Site, target: Target, chunks: Iterable[Chunk], reading: Reading, aim: Aim, kept: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The weights and bias of a layer."""
        share = TAKEN * best_ridge(reading, aim, site.matrix, kept, self._ridge)
        normal = without_noise(reading.normal(aim))
        weights = solve(normal, site.matrix, kept, share)
        if isinstance(target.activation, Smooth):
            found = Rounds(site, chunks, target.activation)
            return found.run(weights, normal.bias(weights), kept, share, self._rounds)
        if target.activation is not None:
            for _ in range(self._rounds):
                wanted = _Rectified(target.activation, weights, normal.bias(weights)).wanted
                normal = without_noise(reading.normal(reading.aim(chunks, wanted)))
                weights = solve(normal, site.matrix, kept, share)
        return weights, normal.bias(weights)


class _Rectified:
    """What a layer should write, given what it writes now and the rectifier behind it."""

    def __init__(self, rectifier: Rectifier, weights: np.ndarray, bias: np.ndarray) -> None:
        self._rectifier = rectifier
        self._matrix, self._bias = weights.transpose(0, 2, 1).astype(np.float32), bias[:, None].astype(np.float32)

    def wanted(self, chunk: Chunk) -> np.ndarray:
        """The wanted outputs of a chunk."""
        own: np.ndarray = np.matmul(chunk.read, self._matrix) + self._bias
        if chunk.others is None:
            return self._rectifier.wanted(own, chunk.target)
        return np.asarray(self._rectifier.wanted(own + chunk.others, chunk.target) - chunk.others)
