"""Remarks: the reasons that passes give, attached to nodes, as LLVM's optimization remarks are to code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class RemarkKind(StrEnum):
    """What a remark reports: something done, something not done, or a finding."""

    PASSED = "passed"
    MISSED = "missed"
    ANALYSIS = "analysis"


class Reason:
    """A sentence with the values it is about, formatted only when somebody reads it.

    Rules are tried at thousands of nodes; most reasons are never shown.
    """

    __slots__ = ("_template", "_values")

    def __init__(self, template: str, *values: object) -> None:
        self._template = template
        self._values = values

    def __str__(self) -> str:
        return self._template.format(*self._values)


@dataclass(frozen=True)
class Remark:
    """A reason that a pass gives for what it did, or did not do, at a node (or to the whole model: `node` is empty).

    `stake` is the number of elements that the node writes: the larger, the more a missed transformation would save.
    `warns` is for what the user asked for and does not get: the command line warns, and fails under --strict.
    """

    kind: RemarkKind
    pass_name: str
    node: str
    reason: Reason | str
    stake: int = 0
    warns: bool = False

    def __str__(self) -> str:
        place = f" `{self.node}`" if self.node else ""
        return f"{self.kind} [{self.pass_name}]{place}: {self.reason}"

    def to_json(self) -> dict[str, str]:
        """The remark as `--json` shows it."""
        return {"kind": str(self.kind), "pass": self.pass_name, "node": self.node, "reason": str(self.reason)}


def best_first(remarks: Iterable[Remark]) -> Iterator[str]:
    """Missed remarks as lines, those with most at stake first; the same reason of a pass at other nodes is counted."""
    groups: dict[tuple[str, str], list[Remark]] = {}
    for remark in remarks:
        groups.setdefault((remark.pass_name, str(remark.reason)), []).append(remark)
    for group in sorted(groups.values(), key=lambda group: -sum(remark.stake for remark in group)):
        first = max(group, key=lambda remark: remark.stake)
        yield f"{first} (and at {len(group) - 1} more)" if len(group) > 1 else str(first)
