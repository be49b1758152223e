"""Raising a model's opset, checked by running both."""

from __future__ import annotations

import numpy as np
import onnx

from pruna_ir.diagnostics import error
from pruna_ir.model.random_feeds import runnable_feeds

# Per-axis QuantizeLinear and DequantizeLinear appear in opset 13.
MINIMUM_OPSET = 13
# Largest error, relative to the range of the output, that two opsets' kernels may differ by.
TOLERANCE = 1e-5


def default_opset(proto: onnx.ModelProto) -> int:
    """Version of the standard operator set; the largest there is if the model imports none (it uses none)."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    return versions[0] if versions else onnx.defs.onnx_opset_version()


def raise_opset(proto: onnx.ModelProto, place: str) -> onnx.ModelProto:
    """The model at opset 13, by ONNX's version converter; M010 if its outputs differ, M006 if it cannot."""
    try:
        raised = onnx.version_converter.convert_version(proto, MINIMUM_OPSET)
    except (RuntimeError, onnx.checker.ValidationError) as failure:
        reason = str(failure).strip().splitlines()[0]
        help_text = f"export the model with opset_version={MINIMUM_OPSET} or higher"
        raise error("M006", f"the opset cannot be raised: {reason}", place=place, help=help_text) from None
    difference = largest_difference(proto, raised)
    if difference > TOLERANCE:
        message = f"raising the opset to {MINIMUM_OPSET} changed an output by {difference:.1e} of its range"
        raise error("M010", message, place=place, help="export the model again with a newer opset")
    return raised


def largest_difference(first: onnx.ModelProto, second: onnx.ModelProto) -> float:
    """Largest difference of the two models' outputs on one random sample, relative to the output's range."""
    from pruna_ir.runtime.session import Session

    reference, candidate = Session(first, optimize=False), Session(second, optimize=False)
    feeds, expected = runnable_feeds(reference.run, reference.inputs)
    return relative_error(expected, candidate.run(feeds))


def relative_error(expected: dict[str, np.ndarray], actual: dict[str, np.ndarray]) -> float:
    """Largest difference over all outputs, relative to the expected output's range (infinite for unequal shapes)."""
    worst = 0.0
    for name, reference in expected.items():
        other = actual[name]
        if reference.shape != other.shape:
            return float("inf")
        if reference.size == 0 or np.array_equal(reference, other):
            continue
        if not np.issubdtype(reference.dtype, np.number):
            return float("inf")
        gap = np.abs(reference.astype(np.float64) - other.astype(np.float64))
        same = (reference == other) | (np.isnan(gap) & np.isnan(reference) & np.isnan(other))
        span = float(np.ptp(reference[np.isfinite(reference)].astype(np.float64))) if reference.size > 1 else 0.0
        scale = span or float(np.abs(reference).max()) or 1.0
        gap = np.where(same, 0.0, gap)
        worst = max(worst, float(np.max(np.nan_to_num(gap, nan=np.inf)) / scale))
    return worst
