"""Run ONNX's backend suite through -O1 and write `docs/conformance.md`: `python scripts/make_conformance.py`.

It takes some minutes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from backend_cases import KINDS, VARIANTS, cases, variants  # noqa: E402
from conformance import INVALID, Outcome, Status, judge  # noqa: E402

from pruna_ir.pipeline.manager import PassManager  # noqa: E402

FORMS = {
    "as written": "the case itself",
    "weights": "all inputs but the first are constants",
    "symbolic": "so, and no dimension of the first input is known",
    "folded": "all inputs are constants, and the outputs can be folded",
}
INTRODUCTION = """\
The [backend tests](https://github.com/onnx/onnx/tree/main/onnx/backend/test) of ONNX {onnx}: single nodes, their
function bodies, converted PyTorch modules and light forms of well-known networks. Each goes through load,
`-O1`, save and ONNX Runtime {runtime}, with its optimizations off and on; every pass is verified.

*Run* counts the cases that ONNX Runtime itself passes. *Passed* means equal to the outputs that the case gives, within
its own tolerance, and to those of ONNX Runtime for the original model, to 1e-5 of their range. *Changed* counts those
that a pass changed; the others have nothing to fold or fuse. Beside the cases as they are written there are forms of
them in which more can be:
"""
# Why a model is refused, by the code of the diagnostic.
EXPLAINED = {
    "M007": "sequences and optionals are no tensors: graphs of them cannot be held",
    "M008": "a constant that is NaN is taken for a sign that training diverged",
    "M010": "ONNX's version converter leaves the operator as it was, and the result does not run",
}
# Why ONNX Runtime does not pass a case, by what it says.
UNCOUNTED = {
    "no kernel for the operator, or not for the type": "Could not find an implementation|Failed to find kernel",
    "a type that NumPy does not have": "(?i)numpy.type|do not fit the model's inputs|uint8 instead of",
    "an operator that it does not know": "is not a registered function",
    "other numbers than the case asks for": "Not equal to tolerance|mismatch",
    "a form that is not valid": "ShapeInferenceError|ONNX asks for|is invalid|Type Error|invalid",
    "anything else": "",
}
PARTS = 64
Key = tuple[str, str, str]


def part(kind: str, number: int) -> dict[Key, Outcome]:
    """Judge every so-many-th case of a kind, in all forms."""
    manager = PassManager.parse("O1")
    return {
        (kind, case.name, name): judge(form, manager)
        for case in cases(kind)[number::PARTS]
        for name, form in variants(case)
    }


def everything(jobs: int) -> dict[Key, Outcome]:
    """Judge all cases, in several processes."""
    outcomes: dict[Key, Outcome] = {}
    with ProcessPoolExecutor(jobs) as pool:
        waiting = [pool.submit(part, kind, number) for kind in KINDS for number in range(PARTS)]
        for done, future in enumerate(waiting, 1):
            outcomes.update(future.result())
            print(f"\r{done}/{len(waiting)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return outcomes


def page(outcomes: dict[Key, Outcome]) -> Iterator[str]:
    """The table, and why what did not pass did not."""
    yield from ("# Conformance", "", "<!-- Written by scripts/make_conformance.py. -->", "")
    yield INTRODUCTION.format(onnx=onnx.__version__, runtime=onnxruntime.__version__)
    yield from (f"- *{name}*: {text}" for name, text in FORMS.items())
    yield from ("", "| cases | form | run | passed | changed | refused | wrong | crashed |", "|---|---|" + "--:|" * 6)
    totals: Counter[str] = Counter()
    for kind in KINDS:
        for form in VARIANTS:
            found = [outcome for key, outcome in outcomes.items() if (key[0], key[2]) == (kind, form)]
            row = Counter(outcome.status.value for outcome in found)
            row["run"] = sum(row.values()) - row["uncounted"]
            row["changed"] = sum(outcome.changed for outcome in found)
            totals += row
            if row["run"]:
                yield f"| {kind} | {form} | {_cells(row)} |"
    yield f"| all | | {_cells(totals)} |"
    yield from _refused(outcomes)
    for status in (Status.WRONG, Status.CRASHED):
        yield from _listed(outcomes, status)
    yield from _uncounted(outcomes)


def _cells(row: Counter[str]) -> str:
    return " | ".join(f"{row[name]:,}" for name in ("run", "passed", "changed", "refused", "wrong", "crashed"))


def _refused(outcomes: dict[Key, Outcome]) -> Iterator[str]:
    """Every refusal with its reason."""
    names: dict[str, set[str]] = {}
    for (_, name, _form), outcome in outcomes.items():
        if outcome.status is Status.REFUSED:
            names.setdefault(outcome.code, set()).add(name)
    yield from ("", "## Refused", "", "| code | reason | cases | in one form or more |", "|---|---|--:|---|")
    for code, cases_refused in sorted(names.items()):
        listed = ", ".join(f"`{name}`" for name in sorted(cases_refused))
        yield f"| {code} | {EXPLAINED.get(code, '?')} | {len(cases_refused)} | {listed} |"


def _listed(outcomes: dict[Key, Outcome], status: Status) -> Iterator[str]:
    """Every case that ended in a way that none should."""
    found = {key: outcome for key, outcome in outcomes.items() if outcome.status is status}
    if found:
        yield from ("", f"## {status.value.capitalize()}", "", "| case | form | what happened |", "|---|---|---|")
        yield from (f"| `{name}` | {form} | {outcome.why} |" for (_, name, form), outcome in found.items())


def _uncounted(outcomes: dict[Key, Outcome]) -> Iterator[str]:
    """Why ONNX Runtime does not pass what it does not pass, of the cases as they are written."""
    reasons = Counter(
        next(reason for reason, pattern in UNCOUNTED.items() if re.search(pattern, outcome.why))
        for (_, _, form), outcome in outcomes.items()
        if outcome.status is Status.UNCOUNTED and form == "as written"
    )
    yield from ("", "## Not run", "", "Cases, as written, that ONNX Runtime itself does not pass:", "")
    yield from ("| because of | cases |", "|---|--:|")
    yield from (f"| {reason} | {reasons[reason]} |" for reason in UNCOUNTED if reasons[reason])
    yield from ("", *(f"`{name}` is not valid: {why}." for name, why in INVALID.items()))


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description="Run ONNX's backend suite and write docs/conformance.md.")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "conformance.md")
    arguments = parser.parse_args()
    outcomes = everything(arguments.jobs)
    arguments.out.write_text("\n".join(page(outcomes)) + "\n")
    failed = sum(outcome.status in (Status.WRONG, Status.CRASHED) for outcome in outcomes.values())
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
