"""Passes in the middle of an onnx-graphsurgeon script: a `gs.Graph` goes in, a `gs.Graph` comes out.

python examples/graph_in_graph_out.py MODEL.onnx OUT.onnx
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs

import pruna_ir as pi


def optimize(graph: gs.Graph) -> gs.Graph:
    """The same numbers with fewer nodes. The graph that was given stays as it is."""
    result = pi.PassManager.parse("simplify,fuse").run(graph)
    for stage in result.stages:
        if stage.changed:
            print(f"{stage.text}: {stage.counts}")
    return result.graph


def main(source: Path, out: Path) -> None:
    """Name the outputs in onnx-graphsurgeon, optimize here, and go on in onnx-graphsurgeon."""
    graph = gs.import_onnx(onnx.load(source))
    for index, output in enumerate(graph.outputs):
        output.name = f"score_{index}"

    optimized = optimize(graph)

    optimized.doc = "optimized"
    onnx.save(gs.export_onnx(optimized), out)
    print(f"{len(graph.nodes)} nodes before, {len(optimized.nodes)} after")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
