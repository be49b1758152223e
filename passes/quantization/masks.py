"""Masked logits: values so low that Softmax makes nothing of them, and that a range need not hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.calibration.derive import Derivation
from pruna_ir.calibration.distribution import Distribution
from pruna_ir.calibration.record import Record
from pruna_ir.remarks import Reason

# Softmax makes less than 1e-7 of a value that lies so far below another, and less than 1e-4 at the second distance.
_UNHEARD = 17.0
_WHISPER = 10.0
# Integer kernels add in float32, in units of the output's scale: a mask of so many of its ranges drowns the rest.
_DROWNING = 1e4


def raise_masked(tensor: gs.Tensor, record: Record) -> Record:
    """The statistics of a tensor with masked values raised to where they still count for nothing.

    Masks are added to logits (-10000, or far more), and no range of 8 bits holds both. They show as a gap in the values
    that is wider than all that lies above it. If Softmax alone reads the tensor, only that they are low counts. The
    record itself if there is no such gap, or something else reads the tensor.
    """
    if not tensor.outputs or any(node.op != "Softmax" for node in tensor.outputs):
        return record
    distribution = Distribution.of(record)
    zero = [0.0] if distribution.zero else []
    low, high = (np.sort([*ends, *zero])[::-1] for ends in (distribution.low, distribution.high))
    gaps = low[:-1] - high[1:]
    masked = np.flatnonzero((gaps >= _UNHEARD) & (gaps >= distribution.maximum - low[:-1]))
    if not len(masked):
        return record
    return Derivation(str(tensor.name), low=float(low[masked[0]]) - _WHISPER).apply(record)


def drowned(tensor: gs.Tensor, records: Mapping[str, Record]) -> Reason | None:
    """Why a tensor cannot be computed in integers, if its mask is so large that an integer kernel loses the logits."""
    if tensor.name not in records:
        return None
    record = records[tensor.name]
    raised = raise_masked(tensor, record)
    if raised is record or -record.minimum <= _DROWNING * (raised.maximum - raised.minimum):
        return None
    return Reason("`{}` is masked with {:.3g}, as good as infinite", tensor.name, record.minimum)
