"""The sentence encoder all-MiniLM-L6-v2, before and after: `bench_minilm.py MODEL [--seconds S] [--data D] [OTHER...]`.

MODEL is its export with the inputs input_ids and attention_mask, of open batch and length; OTHER are forms of it that
other tools wrote. All run in ONNX Runtime with all its optimizations, one thread, each in turn with the export; a ratio
is the time of the export over the form's. With --data (a dataset with a metric), its score before and after too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table
from simplifier_tools import TOOLS, run

from pruna_ir.data import Dataset
from pruna_ir.data.metrics import evaluate
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.session import Session

# Sentences and tokens.
SHAPES = ((1, 16), (1, 128), (8, 16), (8, 128))
OURS = {"-O1": "O1", "-O1 --opset 20": "raise-opset<to=20>,O1", "-O1 --opset 23": "raise-opset<to=23>,O1"}
RECOGNIZED = ("LayerNormalization", "Gelu", "Attention")
VOCABULARY = (1000, 20000)
# Sentences scored at once.
BATCH = 32


def forms(source: Path, others: list[Path], folder: Path) -> dict[str, Path]:
    """What ours and other tools make of the export, by name."""
    found = {"export": source}
    for name in ("onnxsim", "onnxslim"):
        path = folder / f"{name}.onnx"
        if TOOLS[name].version() and run(name, source, path)[0] is not None:
            found[name] = path
    found.update((path.stem, path) for path in others)
    for name, text in OURS.items():
        model = Model.load(source)
        PassManager.parse(text).run(model)
        found[name] = folder / f"{text.replace(',', '-')}.onnx"
        model.save(found[name])
    return found


def sentences(batch: int, length: int) -> dict[str, np.ndarray]:
    """Random tokens; every second sentence is padded in its last quarter."""
    tokens = np.random.default_rng(0).integers(*VOCABULARY, (batch, length))
    mask = np.ones((batch, length), np.int64)
    mask[1::2, -(length // 4) :] = 0
    return {"input_ids": tokens.astype(np.int64), "attention_mask": mask}


def score(path: Path, data: Dataset) -> str:
    """The metric on the split `test`."""
    bound = data.bind(Model.load(path).inputs())
    metric = bound.metric()
    if metric is None:
        return "-"
    return f"{evaluate(Session(path).run, bound.require('test'), metric, BATCH):.4f}"


def compared(paths: Mapping[str, Path], seconds: float) -> dict[str, list[str]]:
    """For each form its ratios, one for each of SHAPES, and the largest error over them."""
    sessions = {name: Session(path) for name, path in paths.items()}
    cells: dict[str, list[str]] = {name: [] for name in paths}
    worst = dict.fromkeys(paths, 0.0)
    for shape in SHAPES:
        feeds = sentences(*shape)
        expected = sessions["export"].run(feeds)
        for name, session in sessions.items():
            result = compare(sessions["export"], session, feeds, seconds=seconds)
            cells[name].append(f"{result.speedup:.2f} ({result.low:.2f}-{result.high:.2f})")
            worst[name] = max(worst[name], relative_error(expected, session.run(feeds)))
    for name, largest in worst.items():
        cells[name].append(f"{largest:.0e}")
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("others", type=Path, nargs="*")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--data")
    options = parser.parse_args()
    if not options.model.is_file():
        print(f"skipped: there is no {options.model}; export the encoder first")
        return
    header = ["form", "nodes", *RECOGNIZED, *(f"{batch} x {length}" for batch, length in SHAPES), "error"]
    table = Table(*header, *(["score"] if options.data else []))
    with tempfile.TemporaryDirectory() as folder:
        paths = forms(options.model, options.others, Path(folder))
        cells = compared(paths, options.seconds)
        data = Dataset.load(options.data) if options.data else None
        for name, path in paths.items():
            nodes = [node.op_type for node in onnx.load(path).graph.node if node.op_type != "Constant"]
            counts = [str(nodes.count(op)) for op in RECOGNIZED]
            table.add_row(name, str(len(nodes)), *counts, *cells[name], *([score(path, data)] if data else []))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
