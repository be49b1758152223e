"""ONNX's backend suite as a test of a back end: which cases, and what must be true of how they end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backend_cases import Case, cases
from conformance import Status
from emitted_cases import REFUSALS, Outcome, forms, isolated

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
# Every so many cases in the fast tests; parts that the slow ones are run in.
STRIDES = {"node": 48, "simple": 4, "pytorch-converted": 8, "pytorch-operator": 8}
PARTS = range(8)


def sample(kind: str) -> Sequence[Case]:
    """The cases of a kind that the fast tests run."""
    return cases(kind)[:: STRIDES[kind]]


def share(kind: str, part: int) -> Sequence[Case]:
    """One of the parts of all cases of a kind."""
    return cases(kind)[part :: len(PARTS)]


def case_named(name: str) -> Case:
    """A case of one operator."""
    return next(case for case in cases("node") if case.name == name)


def check(judge: Callable[[Case], Outcome], chosen: Sequence[Case]) -> None:
    """None is wrong or crashes, many pass, and what is refused is refused with reasons."""
    found = list(forms(chosen))
    names = [f"{name} / {form}" for name, form, _ in found]
    outcomes = dict(zip(names, isolated(judge, [case for _, _, case in found]), strict=True))
    bad = {name: outcome for name, outcome in outcomes.items() if outcome.status in (Status.WRONG, Status.CRASHED)}
    assert not bad, "\n".join(f"{name}: {outcome.status}: {outcome.why}" for name, outcome in bad.items())
    refused = [outcome for outcome in outcomes.values() if outcome.status is Status.REFUSED]
    assert {outcome.code for outcome in refused} <= set(REFUSALS)
    assert all(outcome.reasons for outcome in refused if outcome.code == "E004")
    read = [item for item in outcomes.values() if item.status is not Status.UNCOUNTED and item.code[:1] != "M"]
    assert sum(outcome.status is Status.PASSED for outcome in read) >= len(read) // 4
