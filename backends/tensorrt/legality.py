"""Whether TensorRT takes a network as it stands: its parser's operators, and the rules for Q/DQ, all told at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE
from pruna_ir.backends.tensorrt.operators import refused
from pruna_ir.backends.tensorrt.types import type_name
from pruna_ir.backends.unsupported import Failures, Unsupported
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model import Model
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.lint.rules import RULES
from pruna_ir.passes.quantization.lint.view import QdqView
from pruna_ir.targets.tensorrt import TENSORRT

# Rules that the builder does not insist on (weights alone in integers, -128, a scale more at a Concat), and the one
# about operators, which the table of operators is about.
_TAKEN = frozenset(
    {"half-quantized", "shared-dequantizer", "weight-range", "equal-scales", "unpaired", "integer-op", "float-output"}
)
_SHOWN = 20


def require_legal(model: Model, others: Sequence[str] = ()) -> None:
    """Raise Q001 if Q/DQ break rules, else E004 if there are operators that TensorRT lacks; the notes name all of them.

    `others` are what else is wrong with the model: notes for the same diagnostic, if there is one. A graph that passes
    is one that TensorRT's builder takes.
    """
    failures = Failures("TensorRT")
    quantizers = []
    for node, reason, help_text in refused(model.graph):
        if node.op in (QUANTIZE, DEQUANTIZE):
            quantizers.append(f"`{node_name(node)}`: {reason}")
        else:
            failures.add(node, Unsupported(reason, help_text))
    found = [*_violations(model.graph), *quantizers]
    if found:
        notes = [*found, *failures.notes, *others]
        more = [f"and {len(notes) - _SHOWN} more"] if len(notes) > _SHOWN else []
        message = f"the graph has Q/DQ at {len(found)} places that TensorRT refuses, or runs in float"
        help_text = "quantize the float model for it: -O2 --target tensorrt; `lint-qdq<target=tensorrt>` explains"
        raise error("Q001", message, help=help_text, notes=[*notes[:_SHOWN], *more])
    if failures.notes:
        failure = failures.error()
        raise PrunaError(replace(failure.diagnostic, notes=(*failure.diagnostic.notes, *others)))


def _violations(graph: gs.Graph) -> Iterator[str]:
    view = QdqView(graph, TENSORRT)
    for rule in RULES:
        if rule.advice or rule.name in _TAKEN:
            continue
        for node, reason in rule.check(view):
            if not (rule.name == "computed-scale" and _no_integers(node)):
                yield f"`{node_name(node)}`: {rule.name}: {reason}"


def _no_integers(node: gs.Node) -> bool:
    """Whether 8-bit floats stand in the place of integers: the table of operators is about those."""
    return type_name(node.outputs[0] if node.op == QUANTIZE else node.inputs[0]).startswith("float8")
