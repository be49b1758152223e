"""Raising a model's opset, checked by running both."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.random_feeds import runnable_feeds

# Per-axis QuantizeLinear and DequantizeLinear appear in opset 13.
MINIMUM_OPSET = 13
# Largest error, relative to the range of the output, that two opsets' kernels may differ by.
TOLERANCE = 1e-5


def default_opset(proto: onnx.ModelProto) -> int:
    """Version of the standard operator set; the largest there is if the model imports none (it uses none)."""
    versions = [entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")]
    return versions[0] if versions else onnx.defs.onnx_opset_version()


def raise_opset(proto: onnx.ModelProto, place: str) -> tuple[onnx.ModelProto, str]:
    """The model at opset 13, by ONNX's version converter, and in words how that was checked.

    Raises M010 if its outputs differ, M006 if it cannot be converted.
    """
    try:
        raised = onnx.version_converter.convert_version(proto, MINIMUM_OPSET)
    except (RuntimeError, onnx.checker.ValidationError) as failure:
        reason = str(failure).strip().splitlines()[0]
        help_text = f"export the model with opset_version={MINIMUM_OPSET} or higher"
        raise error("M006", f"the opset cannot be raised: {reason}", place=place, help=help_text) from None
    try:
        difference = largest_difference(proto, raised)
    except PrunaError as failure:
        message = f"with the opset raised to {MINIMUM_OPSET} the model does not run: {failure.diagnostic.message}"
        raise error("M010", message, place=place, help="export the model again with a newer opset") from None
    if difference is None:
        return raised, "unchecked: the original does not run on made-up inputs"
    if difference > TOLERANCE:
        message = f"raising the opset to {MINIMUM_OPSET} changed an output by {difference:.1e} of its range"
        raise error("M010", message, place=place, help="export the model again with a newer opset")
    return raised, "checked against the original's outputs"


def largest_difference(first: onnx.ModelProto, second: onnx.ModelProto) -> float | None:
    """Largest difference of the two models' outputs on one random sample, relative to the output's range.

    None if the first does not run on random inputs. Raises D003 or M009 if only the second does not.
    """
    from pruna_ir.runtime.session import Session

    try:
        reference = Session(first, optimize=False)
        feeds, expected = runnable_feeds(reference.run, reference.inputs)
    except PrunaError:
        return None
    return relative_error(expected, Session(second, optimize=False).run(feeds))


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
