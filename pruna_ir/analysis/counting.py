"""The size of a model: nodes, parameters and bytes on disk. `macs.py` counts its work."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from pruna_ir.model import external, load
from pruna_ir.model.scoping import graphs_of

if TYPE_CHECKING:
    from pruna_ir.model import Model


def count_nodes(model: Model) -> int:
    """Nodes of the graph and its sub-graphs; `Constant` nodes are values, not work, and do not count."""
    return sum(node.op != "Constant" for scope in graphs_of(model.graph) for node in scope.nodes)


def count_parameters(model: Model) -> int:
    """Elements of all constants, sub-graphs included; one that several nodes read counts once.

    Whatever its type: quantized weights count, and so do scales, zero points and shape constants.
    """
    sizes: dict[int, int] = {}
    for scope in graphs_of(model.graph):
        for node in scope.nodes:
            for held in [*node.inputs, *node.attrs.values()]:
                if isinstance(held, gs.Constant):
                    # The shape is known without reading external data. Shared values are one parameter.
                    sizes[id(held._values)] = math.prod(held.shape)
    return sum(sizes.values())


def bytes_on_disk(path: Path) -> int:
    """Bytes of what is written at `path`: a file, an .onnx with its external data, or everything in a folder."""
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size + sum(part.stat().st_size for part in external_files(path))


def external_files(path: Path) -> set[Path]:
    """The files that hold the external data of the ONNX model at `path`; none for a file of another kind."""
    if path.suffix != ".onnx":
        return set()
    return external.files(load.read(path).graph, path.parent)
