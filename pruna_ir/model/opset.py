"""Raising a model's opset, checked by running both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.conversion import convert
from pruna_ir.model.random_feeds import runnable_feeds

# Per-axis QuantizeLinear and DequantizeLinear appear in opset 13.
MINIMUM_OPSET = 13
# Largest error, relative to the range of the output, that two opsets' kernels may differ by.
TOLERANCE = 1e-5
# Why a new opset could not be checked.
UNCOMPARABLE = "the original does not run on made-up inputs"

Difference = Callable[[onnx.ModelProto, onnx.ModelProto], float | None]


def default_opset(proto: onnx.ModelProto) -> int:
    """Version of the standard operator set; the largest there is if the model imports none (it uses none)."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    return versions[0] if versions else onnx.defs.onnx_opset_version()


def newest_opset() -> int:
    """The newest standard operator set that both the installed onnx and the installed ONNX Runtime know."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    known = max(schema.since_version for schema in state.get_all_operator_schema() if schema.domain == "")
    return min(int(known), onnx.defs.onnx_opset_version())


def raise_opset(
    proto: onnx.ModelProto, to: int, place: str, difference: Difference | None = None
) -> tuple[onnx.ModelProto, str]:
    """The model at the operator set `to`, and in words how that was checked.

    `difference` says by how much the outputs of two models differ, relative to their range, or None if the first
    gives nothing to compare with; it raises `PrunaError` if only the second does not run. Raises M010 if the outputs
    differ or the result does not run, M006 if the model cannot be converted.
    """
    measure = difference or largest_difference
    try:
        raised = convert(proto, to)
    except RuntimeError as failure:
        reason = str(failure).strip().splitlines()[0]
        help_text = f"export the model with opset_version={to} or higher"
        raise error("M006", f"the opset cannot be raised: {reason}", place=place, help=help_text) from None
    help_text = "export the model again with a newer opset" if to == MINIMUM_OPSET else "ask for a lower opset"
    try:
        found = measure(proto, raised)
    except PrunaError as failure:
        message = f"with the opset raised to {to} the model does not run: {failure.diagnostic.message}"
        raise error("M010", message, place=place, help=help_text) from None
    if found is None:
        return raised, f"unchecked: {UNCOMPARABLE}"
    if found > TOLERANCE:
        message = f"raising the opset to {to} changed an output by {found:.1e} of its range"
        raise error("M010", message, place=place, help=help_text)
    return raised, "checked against the original's outputs"


def largest_difference(first: onnx.ModelProto, second: onnx.ModelProto) -> float | None:
    """Largest difference of the two models' outputs on one random sample, relative to the output's range.

    None if the first does not load or does not run on random inputs. Raises D003 or M009 if only the second does not.
    """
    from pruna_ir.runtime.session import Session

    try:
        reference = Session(first, optimize=False)
    except PrunaError:
        return None
    candidate = Session(second, optimize=False)
    try:
        feeds, expected = runnable_feeds(reference.run, reference.inputs)
    except PrunaError:
        return None
    return relative_error(expected, candidate.run(feeds))


def relative_error(expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> float:
    """Largest difference over all outputs, relative to the expected output's range.

    Infinite if an output is missing or has another shape, if values that are not numbers differ, and if one is NaN or
    infinite where the other is not. Equal values never count, whatever they are.
    """
    return max((_relative(wanted, actual.get(name)) for name, wanted in expected.items()), default=0.0)


def _relative(wanted: np.ndarray, found: np.ndarray | None) -> float:
    if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
        return math.inf
    different = wanted != found
    if wanted.dtype.kind in "fc":
        different &= ~(np.isnan(wanted) & np.isnan(found))
    if not different.any():
        return 0.0
    if wanted.dtype.kind not in "iuf":
        return math.inf
    finite = wanted[np.isfinite(wanted)].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(wanted[different].astype(np.float64) - found[different].astype(np.float64))
    if not np.isfinite(gap).all():
        return math.inf
    span = float(np.ptp(finite)) if finite.size else 0.0
    return float(gap.max()) / (span or float(np.abs(finite).max(initial=0.0)) or 1.0)
