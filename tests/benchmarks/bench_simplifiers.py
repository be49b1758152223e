"""`-O1` beside onnxsim, onnxslim and ONNX Runtime's basic optimizations: nodes, numbers, bytes, latency, run time.

    python tests/benchmarks/bench_simplifiers.py [--zoo FOLDER] [--results FOLDER] [--no-latency] [--models a,b]

The models are those of the shared folder (PRUNA_SHARED names another) and what export_zoo.py wrote to `--zoo`. Prints
a Markdown table. With `--results` what was measured is kept, and a later call measures only what has changed: another
version of a tool, or our own sources.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.inliner import inline_local_functions
from simplifier_latency import METHOD, latencies
from simplifier_tools import OURS, TOOLS, run

import pruna_ir
from pruna_ir.analysis.counting import bytes_on_disk
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.opset import relative_error
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.runtime.session import Session

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("PRUNA_SHARED", ROOT.parent / "shared"))
# The tools whose outputs ours are timed against; simplifier_latency.py says how.
TIMED = ("onnxsim", "onnxslim")
PEERS = [name for name in TOOLS if name != OURS]
SEEDS = (0, 1)
# Outputs further off than this are wrong, and their nodes do not count. Ours must stay below the second.
WRONG, EXACT = 1e-3, 1e-5
# The ratio of latencies of one and the same graph.
SAME = 1.0

Results = dict[str, Any]


def count_nodes(path: Path) -> int:
    """Nodes of a file and its sub-graphs, functions inlined; `Constant` nodes are values, not work."""
    return sum(operator != "Constant" for operator in operators(path))


def operators(path: Path) -> list[str]:
    """The operators of a file's nodes, those in sub-graphs and functions too."""
    proto = onnx.load(path, load_external_data=False)
    return list(_operators(inline_local_functions(proto).graph if proto.functions else proto.graph))


def _operators(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _operators(inner)


def versions() -> dict[str, str]:
    """What each tool's results depend on; ours on every source file of the package."""
    found = {name: tool.version() for name, tool in TOOLS.items()}
    package = Path(pruna_ir.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *(package / "passes").resolve().rglob("*.py")]):
        digest.update(path.read_bytes())
    return {name: value for name, value in found.items() if value} | {OURS: digest.hexdigest()[:16]}


def detection_error(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> float:
    """The largest relative error of outputs that list detections, whose rows may swap where scores are equal.

    Each row of all outputs side by side, divided by their ranges, is compared with the nearest found; infinite if two
    have the same nearest.
    """
    if any(actual[name].shape != wanted.shape for name, wanted in expected.items()):
        return math.inf
    spans = {name: float(np.ptp(wanted)) or 1.0 for name, wanted in expected.items()}
    wanted, found = (
        np.hstack([values[name].reshape(len(values[name]), -1) / span for name, span in spans.items()])
        for values in (expected, actual)
    )
    distances = np.abs(wanted[:, None] - found[None]).max(axis=2)
    nearest = distances.argmin(axis=1)
    return float(distances.min(axis=1).max(initial=0.0)) if len(set(nearest)) == len(nearest) else math.inf


class Case:
    """A model, what was measured on it, and the file that keeps it."""

    def __init__(self, source: Path, store: Path) -> None:
        self.source = source
        self.store = store
        self.name = source.name.removesuffix(".onnx")
        stat = source.stat()
        stamp = [str(source), stat.st_size, int(stat.st_mtime)]
        known = json.loads(store.read_text()) if store.exists() else {}
        fresh = known.get("stamp") == stamp
        self.results: Results = known if fresh else {"stamp": stamp, "tools": {}, "latency": {}}

    def measure(self, keys: dict[str, str], latency: bool) -> None:
        """Run the tools whose results are missing, or all that are timed if the latency is."""
        timed = {name: key for name, key in keys.items() if name in (OURS, *TIMED)}
        timing = {"method": METHOD, **timed}
        untimed = latency and self.results["latency"].get("keys") != timing
        old = [name for name, key in keys.items() if self.results["tools"].get(name, {}).get("key") != key]
        if not old and not untimed:
            return
        with tempfile.TemporaryDirectory() as folder:
            outs = {name: Path(folder) / f"{name.replace(' ', '_')}.onnx" for name in keys}
            for name in {*old, *(timed if untimed else {})}:
                self._run(name, outs[name], keys[name], measured=name in old)
            if "input" not in self.results:
                self.results["input"] = self._describe_input()
            self._compare(old, outs)
            if untimed:
                self.results["latency"] = {"keys": timing, "speedup": self._time(outs)}
        self.store.write_text(json.dumps(self.results, indent=1))

    def _run(self, name: str, out: Path, key: str, measured: bool) -> None:
        seconds, failure = run(name, self.source, out)
        if not measured:
            return
        result: Results = {"key": key, "seconds": seconds, "failure": failure}
        if seconds is not None:
            result |= {"nodes": count_nodes(out), "bytes": bytes_on_disk(out)}
        self.results["tools"][name] = result

    def _describe_input(self) -> Results:
        proto = onnx.load(self.source, load_external_data=False)
        opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
        return {"nodes": count_nodes(self.source), "bytes": bytes_on_disk(self.source), "opset": opset}

    def _compare(self, names: list[str], outs: dict[str, Path]) -> None:
        """The largest error of each output, relative to its range, no optimizations of the runtime on either side."""
        difference = detection_error if "NonMaxSuppression" in operators(self.source) else relative_error
        original = Session(self.source, optimize=False)
        sets = [runnable_feeds(original.run, original.inputs, seed) for seed in SEEDS]
        if "noise" not in self.results:
            optimized = Session(self.source)
            self.results["noise"] = max(difference(wanted, optimized.run(feeds)) for feeds, wanted in sets)
        for name in names:
            result = self.results["tools"][name]
            if result["seconds"] is None:
                continue
            try:
                session = Session(outs[name], optimize=False)
                result["error"] = max(difference(wanted, session.run(feeds)) for feeds, wanted in sets)
            except PrunaError as failure:
                result["failure"] = failure.diagnostic.message[:200]

    def _time(self, outs: dict[str, Path]) -> dict[str, list[float] | None]:
        """Latency of each peer's output over that of ours; None where ONNX Runtime runs the same graph."""
        made = {name: out for name, out in outs.items() if self.valid(name) and out.exists()}
        return latencies(made[OURS], {name: made[name] for name in TIMED if name in made}) if OURS in made else {}

    def valid(self, name: str) -> bool:
        """Whether the tool wrote a model that runs and is right."""
        return bool(self.results["tools"].get(name, {}).get("error", np.inf) <= WRONG)

    def nodes(self, name: str) -> int | None:
        """Nodes of the tool's output, None if that is no model."""
        return int(self.results["tools"][name]["nodes"]) if self.valid(name) else None


def row(case: Case) -> list[str]:
    """A row of the table."""
    tools, ours = case.results["tools"], case.nodes(OURS)
    cells = [case.name, str(case.results["input"]["nodes"])]
    others = [count for name in PEERS if name in tools and (count := case.nodes(name)) is not None]
    best = ours is not None and ours <= min(others, default=ours)
    cells.append("fails" if ours is None else f"**{ours}**" if best else f"{ours} (!)")
    for name in PEERS:
        count = case.nodes(name) if name in tools else None
        error = tools.get(name, {}).get("error")
        shown = "-" if name not in tools else "fails" if error is None else f"wrong by {error:.1g}"
        cells.append(shown if count is None else f"{count} =" if count == ours else str(count))
    mine = tools[OURS]
    cells.append(f"{mine['error']:.0e}" if "error" in mine else "-")
    cells.append(f"{case.results['noise']:.0e}")
    cells.append(f"{mine['bytes'] / case.results['input']['bytes']:.3f}" if "bytes" in mine else "-")
    speed = slowest(case)
    cells.append("-" if speed is None else "=" if speed == SAME else f"{speed:.2f}")
    times = [tools[name]["seconds"] if name in tools else None for name in TOOLS]
    cells.append(" / ".join("-" if value is None else f"{value:.1f}" for value in times))
    return cells


def slowest(case: Case) -> float | None:
    """Our speedup over the better of the two tools' outputs; SAME if it runs as the same graph."""
    found = case.results["latency"].get("speedup", {}).values()
    return min((SAME if speed is None else speed[0] for speed in found), default=None)


def summary(cases: list[Case]) -> Iterator[str]:
    """What the table says, in lines; also what a tool could not do."""
    both = [(case, ours) for case in cases if (ours := case.nodes(OURS)) is not None]
    counts = [(case, ours, [n for name in PEERS if (n := case.nodes(name)) is not None]) for case, ours in both]
    lost = [case.name for case, ours, others in counts if others and ours > min(others)]
    ties = [case.name for case, ours, others in counts if others and ours == min(others)]
    yield f"{len(cases)} models; ours the fewest nodes on {len(counts) - len(lost)}, of which {len(ties)} are ties"
    yield f"more nodes than another: {', '.join(lost) or 'none'}"
    errors = {case.name: case.results["tools"][OURS]["error"] for case, _ in both}
    inexact = ", ".join(name for name, error in errors.items() if error > EXACT)
    yield f"largest error: {max(errors.values(), default=0):.1e}; above {EXACT:.0e}: {inexact or 'none'}"
    larger = [case for case, _ in both if case.results["tools"][OURS]["bytes"] > case.results["input"]["bytes"]]
    yield f"larger than the input: {', '.join(case.name for case in larger) or 'none'}"
    speeds = {case.name: speed for case in cases if (speed := slowest(case)) is not None}
    timed = {name: speed for name, speed in speeds.items() if speed != SAME}
    if speeds:
        yield f"ONNX Runtime runs the same graph as for the better tool: {len(speeds) - len(timed)} of {len(speeds)}"
    if timed:
        slow = ", ".join(f"{name} {speed:.2f}" for name, speed in timed.items() if speed < 0.98)
        yield f"latency of the others: median {np.median(list(timed.values())):.2f}; below 0.98: {slow or 'none'}"
    for case in cases:
        for name, result in case.results["tools"].items():
            if not case.valid(name):
                yield f"{name} on {case.name}: {result['failure'] or 'wrong by {:.1e}'.format(result['error'])}"


def sources(zoo: Path | None, chosen: set[str]) -> list[Path]:
    """The models, those of the shared folder first; all of them if none is chosen."""
    found = sorted((SHARED / "models").glob("*.onnx"))
    found += sorted(zoo.glob("*.onnx")) if zoo else []
    return [path for path in found if not chosen or {path.name.removesuffix(".onnx"), path.name.split(".")[0]} & chosen]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path, help="a folder of models, as export_zoo.py writes it")
    parser.add_argument("--results", type=Path, help="the folder in which measurements are kept")
    parser.add_argument("--models", default="", help="names, with or without the exporter, separated by commas")
    parser.add_argument("--no-latency", action="store_true", help="nodes, errors and bytes only")
    parser.add_argument("--kept", action="store_true", help="measure nothing: print what --results has")
    arguments = parser.parse_args()
    paths = sources(arguments.zoo, set(filter(None, arguments.models.split(","))))
    if not paths:
        print(f"no models: neither in {SHARED / 'models'} nor in --zoo")
        return
    keys = versions()
    with tempfile.TemporaryDirectory() as temporary:
        store = arguments.results or Path(temporary)
        store.mkdir(parents=True, exist_ok=True)
        cases = [Case(path, store / f"{path.name}.json") for path in paths]
        for index, case in enumerate(sorted(cases, key=lambda case: case.source.stat().st_size)):
            if arguments.kept:
                continue
            case.measure(keys, not arguments.no_latency)
            print(f"[{index + 1}/{len(cases)}]", *row(case), file=sys.stderr, flush=True)
        cases = [case for case in cases if "input" in case.results]
    heads = ["model", "input", *TOOLS, "error", "noise", "bytes", "latency", "seconds"]
    print(f"| {' | '.join(heads)} |", f"|---{'|---:' * (len(heads) - 1)}|", sep="\n")
    print(*(f"| {' | '.join(row(case))} |" for case in cases), sep="\n", end="\n\n")
    print(*(f"- {line}" for line in summary(cases)), sep="\n")


if __name__ == "__main__":
    main()
