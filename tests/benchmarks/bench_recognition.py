"""Each operator that recognition makes, next to the nodes that it replaces: `bench_recognition.py [SECONDS]`.

Both run in ONNX Runtime with all its optimizations, one thread, in turn; the ratio is the time of the nodes over the
operator's. Operators that are slower than their nodes belong into `slow_ops` of the target: the last column says
whether they are there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from decomposed import ACTIVATIONS, NORMS, Idiom

from pruna_ir import registry
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.latency import Comparison, compare
from pruna_ir.runtime.session import Session

TARGET = registry.target("ort-cpu")
WILLING = replace(TARGET, slow_ops=frozenset())

# The shapes of a sentence encoder and of an image network, by the rank that an idiom is written for.
SHAPES = {3: (1, 128, 384), 4: (1, 32, 56, 56)}
GROUPS = 8


def sized(idiom: Idiom) -> Idiom:
    """The idiom at the size of a real layer, behind another node as in a network."""
    shape = SHAPES[idiom.shape.count(",") + 1]
    weights = (
        {
            **idiom.weights,
            "gamma": np.linspace(0.5, 1.5, shape[-1]),
            "beta": np.linspace(-1, 1, shape[-1]),
            "reduced": np.array([*shape[:-1], 1]),
            "full": np.array(shape),
            "shape": np.array(shape),
            "groups": np.array([0, GROUPS, -1]),
            "three": np.ones(GROUPS),
            "two": idiom.weights["two"] if idiom.op != "GroupNormalization" else np.zeros(GROUPS),
        }
        if idiom.weights
        else {}
    )
    body = "behind = Neg(x) " + re.sub(r"\bx\b", "behind", idiom.body)
    return replace(idiom, body=body, shape=",".join(map(str, shape)), weights=weights)


def measured(idiom: Idiom, seconds: float) -> Comparison:
    """The idiom next to its operator."""
    before = sized(idiom).model()
    after = before.clone()
    PassManager.parse(idiom.rule).run(after, target=WILLING)
    sessions = Session(before), Session(after)
    feeds, _ = runnable_feeds(sessions[0].run, sessions[0].inputs)
    return compare(*sessions, feeds, seconds=seconds)


def rows(seconds: float) -> Iterator[tuple[str, ...]]:
    """A row for each idiom."""
    for idiom in (*ACTIVATIONS, *NORMS):
        result = measured(idiom, seconds)
        nodes = len(idiom.model().graph.nodes)
        spread = f"{result.low:.2f} to {result.high:.2f}"
        makes = getattr(registry.pass_class(idiom.rule), "makes", None)
        made = "not made" if makes and makes[0] in TARGET.slow_ops else ""
        yield (
            idiom.op,
            str(nodes),
            f"{result.before_ms:.4f}",
            f"{result.after_ms:.4f}",
            f"{result.speedup:.2f}",
            spread,
            made,
        )


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.3
    table = Table("operator", "nodes", "nodes, ms", "operator, ms", "ratio", "10 % to 90 %", TARGET.name)
    for row in rows(seconds):
        table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
