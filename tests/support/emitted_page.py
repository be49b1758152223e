"""The page on how a back end fares with ONNX's backend suite: run everything, and write its tables."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backend_cases import Case, cases
from conformance import Status
from emitted_cases import FORMS, Outcome, forms, isolated

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
# Why a model is refused as a whole, by the code of the diagnostic.
EXPLAINED = {
    "M007": "sequences and optionals are no tensors",
    "M008": "a constant that is NaN is taken for a sign that training diverged",
    "M010": "ONNX's version converter cannot raise the operator",
    "Q001": "Q/DQ for which there is no kernel",
}
PARTS = 32
# Kind, name and form of a case.
Key = tuple[str, str, str]
Judge = Callable[[Case], Outcome]


@dataclass(frozen=True)
class Page:
    """What stands above the tables; `made_by` is the script, relative to the repository."""

    title: str
    made_by: str
    introduction: str


def main(page: Page, judge: Judge, out: Path) -> None:
    """Run everything and write the page; the exit code is 1 if a case is wrong or crashes."""
    parser = argparse.ArgumentParser(description=f"Run ONNX's backend suite and write {out.name}.")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=out)
    arguments = parser.parse_args()
    found = everything(judge, arguments.jobs)
    arguments.out.write_text("\n".join(lines(page, found)) + "\n")
    failed = sum(outcome.status in (Status.WRONG, Status.CRASHED) for _, outcome in found.values())
    sys.exit(failed > 0)


def everything(judge: Judge, jobs: int) -> dict[Key, tuple[str, Outcome]]:
    """Of each case in each form the operator that it is about, and its outcome. Judged in several processes."""
    outcomes: dict[Key, tuple[str, Outcome]] = {}
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(part, judge, kind, number) for kind in KINDS for number in range(PARTS)]
        for done, future in enumerate(waiting, 1):
            outcomes.update(future.result())
            print(f"\r{done}/{len(waiting)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return outcomes


def part(judge: Judge, kind: str, number: int) -> dict[Key, tuple[str, Outcome]]:
    """The outcomes of every so-many-th case of a kind."""
    chosen = list(forms(cases(kind)[number::PARTS]))
    outcomes = isolated(judge, [form for _, _, form in chosen])
    pairs = zip(chosen, outcomes, strict=True)
    return {(kind, name, form): (_operator(case), outcome) for (name, form, case), outcome in pairs}


def _operator(case: Case) -> str:
    """The operator that a case of one node is about; nothing for larger ones."""
    nodes = case.model.graph.node
    return ".".join(filter(None, (nodes[0].domain, nodes[0].op_type))) if len(nodes) == 1 else ""


def lines(page: Page, found: dict[Key, tuple[str, Outcome]]) -> Iterator[str]:
    """The page."""
    outcomes = {key: outcome for key, (_, outcome) in found.items()}
    yield from (f"# {page.title}", "", f"<!-- Written by {page.made_by}. -->", "", page.introduction)
    yield from (f"- *{name}*: {text}" for name, text in FORMS.items())
    yield from ("", "| cases | form | run | passed | refused | wrong | crashed |", "|---|---|" + "--:|" * 5)
    for kind in KINDS:
        for form in FORMS:
            row = _counted(outcome for key, outcome in outcomes.items() if (key[0], key[2]) == (kind, form))
            if row["run"]:
                yield f"| {kind} | {form} | {_cells(row)} |"
    yield f"| all | | {_cells(_counted(outcomes.values()))} |"
    yield f"| node | in one form or the other | {_cells(_counted(_best(outcomes)))} |"
    yield from _operators(found)
    yield from _reasons(outcomes)
    for status in (Status.WRONG, Status.CRASHED):
        yield from _listed(outcomes, status)


def _counted(outcomes: Iterable[Outcome]) -> Counter[str]:
    row = Counter(outcome.status.value for outcome in outcomes)
    row["run"] = sum(row.values()) - row["uncounted"]
    return row


def _cells(row: Counter[str]) -> str:
    return " | ".join(f"{row[name]:,}" for name in ("run", "passed", "refused", "wrong", "crashed"))


def _best(outcomes: dict[Key, Outcome]) -> Iterator[Outcome]:
    """Of each node case the form that went best; what went wrong in any form is wrong."""
    order = (Status.CRASHED, Status.WRONG, Status.PASSED, Status.REFUSED, Status.UNCOUNTED)
    names = dict.fromkeys(name for kind, name, _ in outcomes if kind == "node")
    for name in names:
        found = [outcomes[key] for form in FORMS if (key := ("node", name, form)) in outcomes]
        yield min(found, key=lambda outcome: order.index(outcome.status))


def _operators(found: dict[Key, tuple[str, Outcome]]) -> Iterator[str]:
    """By operator how many of the node cases pass, in one form or the other."""
    passed: dict[str, dict[str, bool]] = {}
    for (kind, name, _), (operator, outcome) in found.items():
        if kind == "node" and operator and outcome.status is not Status.UNCOUNTED:
            of = passed.setdefault(operator, {})
            of[name] = of.get(name, False) or outcome.status is Status.PASSED
    counts = {operator: (sum(of.values()), len(of)) for operator, of in sorted(passed.items())}
    whole = [f"{operator} ({total})" for operator, (good, total) in counts.items() if good == total]
    none = [f"{operator} ({total})" for operator, (good, total) in counts.items() if not good]
    yield from ("", "## By operator", "", "All node cases pass, in one form or the other (their number):", "")
    yield from (", ".join(whole) + ".", "", "Some do:", "", "| operator | passed | of |", "|---|--:|--:|")
    yield from (f"| {operator} | {good} | {total} |" for operator, (good, total) in counts.items() if 0 < good < total)
    yield from ("", "None does:", "", ", ".join(none) + ".")


def _reasons(outcomes: dict[Key, Outcome]) -> Iterator[str]:
    """Every reason for a refusal, with the number of cases (in any form) and one of them."""
    names: dict[tuple[str, str], list[str]] = {}
    for (_, name, _form), outcome in outcomes.items():
        if outcome.status is Status.REFUSED:
            whole = (outcome.code, EXPLAINED.get(outcome.code, outcome.why))
            for reason in outcome.reasons or (whole,):
                names.setdefault(reason, []).append(name)
    yield from ("", "## Refused", "", "| operator or code | reason | forms of cases | such as |", "|---|---|--:|---|")
    for (what, why), listed in sorted(names.items()):
        text = why.replace("|", "\\|")
        yield f"| {what} | {text} | {len(listed)} | `{listed[0]}` |"


def _listed(outcomes: dict[Key, Outcome], status: Status) -> Iterator[str]:
    """Every case that ended in a way that none should."""
    found = {key: outcome for key, outcome in outcomes.items() if outcome.status is status}
    if found:
        yield from ("", f"## {status.value.capitalize()}", "", "| case | form | what happened |", "|---|---|---|")
        yield from (f"| `{name}` | {form} | {outcome.why[:160]} |" for (_, name, form), outcome in found.items())
