"""ONNX Runtime, wrapped: running a model, reading its inner tensors, timing it."""

from pruna_ir.runtime.capture import capture, float_tensors, with_outputs, written_tensors
from pruna_ir.runtime.latency import Comparison, compare, measure
from pruna_ir.runtime.session import Session

__all__ = ["Comparison", "Session", "capture", "compare", "float_tensors", "measure", "with_outputs", "written_tensors"]
