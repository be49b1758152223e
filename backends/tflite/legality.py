"""Whether LiteRT has the kernels that a quantized graph asks for: the linter's rules, before anything is written."""

from __future__ import annotations

from pruna_ir.analysis.qdq import QUANTIZE, params_of
from pruna_ir.diagnostics import error
from pruna_ir.model import Model
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.lint.rules import RULES
from pruna_ir.passes.quantization.lint.view import QdqView
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets.tflite import TFLITE, TFLITE_INT16

# What is written all the same: it runs in float, between conversions, which is a remark.
_IN_FLOAT = frozenset({"unpaired", "shared-dequantizer", "half-quantized", "float-output", "one-type"})
_SHOWN = 12


def in_int8(model: Model) -> None:
    """Give a graph that was quantized in uint8 the integers of LiteRT's kernels, without changing a number.

    Raises Q001 where that would round again.
    """
    view = QdqView(model.graph, TFLITE)
    params = [params_of(node) for node in view.nodes(QUANTIZE)] if _has_kernels(view) else []
    if any(found is not None and found.zero_point.dtype.name == "uint8" for found in params):
        PassManager.parse("retarget-qdq<target=tflite>").run(model, target="tflite")


def require_legal(model: Model) -> None:
    """Raise Q001 with all places where Q/DQ ask for a kernel that LiteRT has not: it would refuse them, or worse."""
    views = [QdqView(model.graph, target) for target in (TFLITE, TFLITE_INT16)]
    if not _has_kernels(views[0]):
        return
    found = _violations(views[0]) and min((_violations(view) for view in views), key=len)
    if found:
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        message = f"the graph has Q/DQ at {len(found)} places for which LiteRT has no kernel"
        help_text = "quantize the float model for it: -O2 --target tflite; `lint-qdq<target=tflite>` lists them all"
        raise error("Q001", message, help=help_text, notes=[*found[:_SHOWN], *more])


def _has_kernels(view: QdqView) -> bool:
    """Whether anything is meant to run in integers: Q/DQ alone only convert."""
    return any(True for _ in view.quantized)


def _violations(view: QdqView) -> list[str]:
    return [
        f"`{node_name(node)}`: {rule.name}: {reason}"
        for rule in RULES
        if not rule.advice and rule.name not in _IN_FLOAT
        for node, reason in rule.check(view)
    ]
