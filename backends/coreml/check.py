"""A written package next to the ONNX model that it was made from: its scales, and what the evaluator makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pruna_ir.analysis.qdq import QUANTIZE
from pruna_ir.backends.agreement import (
    Agreement,
    Params,
    as_bytes,
    compare,
    fill_batch,
    graph_params,
    require_agreement,
    require_same_scales,
)
from pruna_ir.backends.coreml.evaluate.package import Package
from pruna_ir.backends.coreml.evaluate.program import every_op
from pruna_ir.backends.coreml.session import CoremlSession, EvaluatorSession, PackageSession
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Check

if TYPE_CHECKING:
    from pruna_ir.emission import Emitted, Feeds
    from pruna_ir.model import Model
    from pruna_ir.runtime.session import Session

# Root of the mean squared error relative to the range of an output beyond which the package is not the model. Integers
# round another way where a sum is taken in another order, and half precision where a value is on the border.
LIMITS = {"fp32": 1e-4, "fp16": 2e-2, "quantized": 0.05}
_HELP = {"fp16": "where 16 bits are too few, `coreml<compute=fp32>` computes in 32"}
# By operator: the inputs that hold integers, scales and zero points, and that is named after the tensor.
_SCALED = {
    "quantize": ("scale", "zero_point"),
    "dequantize": ("scale", "zero_point"),
    "constexpr_affine_dequantize": ("scale", "zero_point"),
    "constexpr_blockwise_shift_scale": ("scale", "offset"),
}


def check(emitted: Emitted, samples: Sequence[Feeds], compute: str) -> tuple[Check, ...]:
    """Read the package back, compare its scales bit for bit, and its outputs in the evaluator; E002 if they differ.

    On a Mac the package runs on Core ML too.
    """
    import coremltools

    session = EvaluatorSession(emitted.path)
    count = sum(op.op_type != "const" for op in every_op(session.program.function))
    loads = Check("loads", f"coremltools {coremltools.__version__} reads it back: {count} operators")
    scales = check_scales(emitted.model, session.package)
    if not samples:
        return (loads, scales, Check("outputs", "not compared: no inputs are known that the model runs on"))
    quantized = any(op.op_type == "quantize" for op in every_op(session.program.function))
    kind = "quantized" if quantized else compute
    found = [loads, scales, _compared(emitted, session, samples, kind, "the evaluator")]
    if quantized:
        found.append(check_steps(emitted.model, session, samples))
    native = _native(emitted)
    if native is not None:
        found.append(_compared(emitted, native, samples, kind, "Core ML"))
    return tuple(found)


def check_scales(model: Model, package: Package) -> Check:
    """Scales and zero points of the package, which must be the graph's; E002 with all that are not."""
    return require_same_scales(model.graph, package_params(package, graph_params(model.graph)))


def package_params(package: Package, named: Iterable[str]) -> Iterator[tuple[str, Params]]:
    """Scales and zero points of every operator of a package that has some, by the tensor of the graph that it is of.

    Where the package's name could be that of several tensors, or of none, the name is not the graph's.
    """
    plain: dict[str, list[str]] = {}
    for name in named:
        plain.setdefault(_plain(name), []).append(name)
    for op in every_op(package.program.functions["main"]):
        if op.op_type in _SCALED:
            scale, zero_point = (op.inputs[name] for name in _SCALED[op.op_type])
            var = op.outputs[0] if op.op_type != "dequantize" else op.inputs["input"]
            tensors = plain.get(var.name, [])
            yield (tensors[0] if len(tensors) == 1 else f"{var.name} of the package"), _params(scale, zero_point)


def check_steps(model: Model, session: EvaluatorSession, samples: Sequence[Feeds]) -> Check:
    """How far the quantized tensors inside are from the model's, in units of their last bit."""
    found = compare_steps(model, session, samples)
    worst = max((agreement.steps for agreement in found.values()), default=0)
    differ = sum(agreement.differ for agreement in found.values()) / max(sum(a.values for a in found.values()), 1)
    return Check("steps", f"at most {worst} in {len(found)} quantized tensors, {differ:.1e} of the values differ")


def compare_steps(model: Model, session: EvaluatorSession, samples: Sequence[Feeds]) -> dict[str, Agreement]:
    """The integers of every quantized tensor that both have, by its name in the model.

    Each is computed from the model's integers before it: a value on the border between two integers, which the order of
    a sum decides, would move others behind it.
    """
    quantized = [str(node.outputs[0].name) for node in model.graph.nodes if node.op == QUANTIZE]
    inside = {op.outputs[0].name for op in every_op(session.program.function) if op.op_type == "quantize"}
    names = {_plain(name): name for name in quantized if _plain(name) in inside}
    reference = _reference(model, list(names.values()))
    found = {name: Agreement(1.0) for name in names.values()}
    for feeds in samples:
        full = fill_batch(feeds, reference)
        wanted = reference.run(full)

        def replace(name: str, value: np.ndarray, wanted: Mapping[str, np.ndarray] = wanted) -> np.ndarray | None:
            if name not in names:
                return None
            found[names[name]].add(wanted[names[name]], value)
            return wanted[names[name]]

        session.run_observed(full, replace)
    return found


def _reference(model: Model, tensors: Sequence[str]) -> Session:
    from pruna_ir.runtime.capture import with_outputs
    from pruna_ir.runtime.session import Session

    return Session(with_outputs(model, tensors), optimize=False)


def _compared(emitted: Emitted, session: PackageSession, samples: Sequence[Feeds], kind: str, runtime: str) -> Check:
    help_text = _HELP.get(kind, "")
    agreement = compare(emitted.model, emitted.reference, session, samples, help_text)
    require_agreement(agreement, LIMITS[kind], emitted.path.name, runtime, help_text)
    outputs = "; ".join(f"`{output}` {values}" for output, values in agreement.items())
    return Check(runtime.removeprefix("the "), f"{outputs}, on {len(samples)} samples")


def _native(emitted: Emitted) -> CoremlSession | None:
    """The package on Core ML, where that is."""
    try:
        return CoremlSession(emitted.path)
    except PrunaError as failure:
        if failure.diagnostic.code == "E003":
            return None
        raise


def _params(scale: Any, zero_point: Any) -> Params:
    return as_bytes(scale.val, np.asarray(0) if zero_point is None else np.ravel(zero_point.val))


def _plain(name: str) -> str:
    """A tensor's name as packages have it."""
    from pruna_ir.backends.coreml.values import Names

    return Names().unique(name)
