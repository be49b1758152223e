"""Removing units, and giving groups back that cannot be cut after all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pruna_ir.analysis.axes import AxisAnalysis
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.pruning.surgery import remove
from pruna_ir.runtime.session import Session

# Units that go, by the name of their group.
Removals = Mapping[str, Sequence[int] | np.ndarray]


def cut(model: Model, analysis: AxisAnalysis, removals: Removals) -> Model:
    """A copy of the model without these units; raises ValueError, or M009 if ONNX Runtime refuses it."""
    pruned = model.clone()
    remove(pruned, analysis, {name: [int(unit) for unit in units] for name, units in removals.items() if len(units)})
    pruned.check("prune-channels")
    Session(pruned, optimize=False)
    return pruned


@dataclass
class Trial:
    """Tries which groups can be cut together, and keeps why the others cannot."""

    model: Model
    analysis: AxisAnalysis
    refused: dict[str, str] = field(default_factory=dict)

    def accept(self, removals: Removals) -> dict[str, np.ndarray]:
        """The removals that work together: all of them, nearly always."""
        chosen = {name: np.asarray(units) for name, units in removals.items() if len(units)}
        return self._extend({}, chosen)

    def _extend(self, accepted: dict[str, np.ndarray], more: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Accept what works, halving what does not until single groups are to blame."""
        if not more:
            return accepted
        problem = self._problem({**accepted, **more})
        if problem is None:
            return {**accepted, **more}
        names = list(more)
        if len(names) == 1:
            self.refused[names[0]] = problem
            return accepted
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            accepted = self._extend(accepted, {name: more[name] for name in half})
        return accepted

    def _problem(self, removals: Removals) -> str | None:
        """What goes wrong with these removals."""
        try:
            cut(self.model, self.analysis, removals)
        except PrunaError as failure:
            return failure.diagnostic.message
        except ValueError as failure:
            return str(failure)
        return None
