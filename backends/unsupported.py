"""Operators that a back end cannot write: each says why, and all are reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.invariants import node_name

_SHOWN = 20


class Unsupported(Exception):  # noqa: N818 (what it says is all that it is)
    """An operator that cannot be written, and why: reported with all others of its kind."""

    def __init__(self, reason: str, help: str = "") -> None:
        super().__init__(reason)
        self.reason, self.help = reason, help


@dataclass
class Failures:
    """The operators of a model that cannot be written for a runtime, with the reasons."""

    runtime: str
    notes: list[str] = field(default_factory=list)

    def add(self, node: gs.Node, failure: Unsupported, inputs: Sequence[gs.Tensor] | None = None) -> None:
        """One more; `inputs` are what it reads, if those are not the node's."""
        read = node.inputs if inputs is None else inputs
        shapes = ", ".join(str(list(tensor.shape or ())) for tensor in read if not tensor.is_empty())
        text = f"`{node_name(node)}` ({qualified(node)}, reads {shapes}): {failure.reason}"
        self.notes.append(text + (f"; {failure.help}" if failure.help else ""))

    def error(self) -> PrunaError:
        """E004 with all of them."""
        shown = self.notes[:_SHOWN]
        more = [f"and {len(self.notes) - _SHOWN} more"] if len(self.notes) > _SHOWN else []
        count = f"{len(self.notes)} operators" if len(self.notes) > 1 else "one operator"
        help_text = "write them in other operators, or leave them out of the model"
        return error("E004", f"{count} cannot be written for {self.runtime}", help=help_text, notes=[*shown, *more])


def qualified(node: gs.Node) -> str:
    """The operator of a node; those of other domains than ONNX's carry their domain's name."""
    return str(node.op) if node.domain in (None, "", "ai.onnx") else f"{node.domain}.{node.op}"
