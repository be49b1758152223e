"""From any graph to one that TensorRT's parser takes: passes that leave an executable ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import QUANTIZE, quantized_already, stored
from pruna_ir.backends.tensorrt.fp8 import to_fp8
from pruna_ir.backends.tensorrt.operators import needed_opset, refused
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.backends.tensorrt.small_integers import widen
from pruna_ir.backends.tensorrt.types import type_name
from pruna_ir.diagnostics import error
from pruna_ir.model import Model
from pruna_ir.passes.decomposition.decompose import decompose
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets.tensorrt import TENSORRT

if TYPE_CHECKING:
    from pruna_ir.data import Dataset

_CLEAN = "restore-qdq,simplify"
# Operators whose further outputs may be left out.
_OPTIONAL_OUTPUTS = frozenset({"Attention", "BatchNormalization", "Dropout", "LayerNormalization", "MaxPool"})
# Bodies may hold operators that have bodies themselves.
_DEEPEST = 4


@dataclass(frozen=True)
class Precision:
    """What is done for a precision that is asked for: `passes`, on a graph that is `quantized` (None: either way)."""

    passes: str = ""
    quantized: bool | None = None


_HALF, _INT4 = "convert-fp16<kernels=any>", "int4-weights"
PRECISIONS = {
    "graph": Precision(),
    "fp32": Precision(quantized=False),
    "fp16": Precision(_HALF, quantized=False),
    "int8": Precision(quantized=True),
    "int8+fp16": Precision(_HALF, quantized=True),
    "fp8": Precision(quantized=True),
    _INT4: Precision(f"quantize-weights<bits=4;block=64>,{_HALF}", quantized=False),
}


def legalize(model: Model, precision: str = "graph", cache: str = "", data: Dataset | None = None) -> Model:
    """A copy that TensorRT takes, as far as there are passes that make it so.

    `cache` is a calibration cache to quantize from. Raises Q001 if the types of Q/DQ would have to be rounded again,
    E004 if the graph is not of the kind that `precision` is for, or nothing of it can be in that.
    """
    legal = model.clone()
    imported = f'import-calibration<cache="{cache}">' if cache else ""
    _run(legal, f"{_CLEAN},{imported}" if imported else _CLEAN, data)
    if _other_integers(legal.graph):
        _run(legal, "retarget-qdq<target=tensorrt>", data)
    _require_kind(legal.graph, precision)
    _write_out(legal)
    if precision == "fp8":
        to_fp8(legal)
        _run(legal, "simplify", data)
    if PRECISIONS[precision].passes:
        _run(legal, f"{PRECISIONS[precision].passes},simplify", data)
        _write_out(legal)
    if precision == _INT4 and all(layer.precision != _INT4 for layer in layers(legal.graph)):
        help_text = "`precision=fp16` writes it in halves"
        raise error("E004", "no product has weights that can be stored in 4 bits, in blocks of 64", help=help_text)
    _drop_unread(legal.graph)
    legal.graph.opset = min(legal.opset, needed_opset(legal.graph))
    _name_nodes(legal.graph)
    return legal


def _run(model: Model, pipeline: str, data: Dataset | None) -> None:
    PassManager.parse(pipeline).run(model, target=TENSORRT, data=data)


def _other_integers(graph: gs.Graph) -> bool:
    """Whether there are activations in uint8, or biases in integers, as other runtimes have them."""
    for node in graph.nodes:
        if node.op == QUANTIZE and type_name(node.outputs[0]) == "uint8":
            return True
        inside = stored(node.outputs[0]) if node.outputs else None
        if inside is not None and inside.constant.dtype.name in ("uint8", "int32"):
            return True
    return False


def _require_kind(graph: gs.Graph, precision: str) -> None:
    wanted, found = PRECISIONS[precision].quantized, quantized_already(graph)
    if wanted is True and found is None:
        help_text = "-O2 --target tensorrt quantizes it from data, `cache=FILE` from a calibration cache"
        raise error("E004", f"the model has no Q/DQ, which `precision={precision}` is about", help=help_text)
    if wanted is False and found is not None:
        help_text = "-O1 leaves a model in float; `precision=graph` writes it as it is, `int8+fp16` with halves"
        raise error("E004", f"the model has {found}, which `precision={precision}` has no place for", help=help_text)


def _write_out(model: Model) -> None:
    """Write operators that are refused in others, by rules or as ONNX defines them."""
    for _ in range(_DEEPEST):
        _drop_unread(model.graph)
        if widen(model.graph):
            _run(model, "simplify", None)
        ops = {node.op for node, _, _ in refused(model.graph)}
        if not ops or not decompose(model, _standard() - ops, TENSORRT.name):
            return
        _run(model, "simplify", None)


def _standard() -> set[str]:
    return {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}


def _drop_unread(graph: gs.Graph) -> None:
    """Take off optional outputs that nothing reads: the parser takes these operators with one output only."""
    read = {id(tensor) for tensor in graph.outputs}
    for node in graph.nodes:
        while (
            node.op in _OPTIONAL_OUTPUTS
            and len(node.outputs) > 1
            and not node.outputs[-1].outputs
            and id(node.outputs[-1]) not in read
        ):
            node.outputs.pop()


def _name_nodes(graph: gs.Graph) -> None:
    """Give every node a name of its own: the builder tells of its layers by them."""
    taken: set[str] = set()
    for node in graph.nodes:
        name = node.name or f"{node.op}_{node.outputs[0].name}"
        fresh, number = name, 1
        while fresh in taken:
            fresh, number = f"{name}_{number}", number + 1
        node.name = fresh
        taken.add(fresh)
