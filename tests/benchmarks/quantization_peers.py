"""The quantizers that quantization.py compares ours with, each as a call that reads a model and writes a quantized one.

Peers run with the settings that their documentation recommends for this processor. One that is not installed, or that
does not take a model, says so by raising.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx

from pruna_ir.data import BoundDataset

# Calibration samples a peer sees at most: ONNX Runtime holds every one in memory.
SAMPLES = 128
_YOUNGEST_OPSET = 13  # per-channel QuantizeLinear

Peer = Callable[[Path, BoundDataset, Path], None]


def _samples(data: BoundDataset) -> Iterator[dict[str, np.ndarray]]:
    return (batch.feeds for batch in data.require("calibration").head(SAMPLES).batches(1))


def _recent(source: Path) -> onnx.ModelProto:
    """The model in an opset that has per-channel quantization."""
    model = onnx.load(source)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    return model if versions[""] >= _YOUNGEST_OPSET else onnx.version_converter.convert_version(model, _YOUNGEST_OPSET)


def ort_static(source: Path, data: BoundDataset, out: Path) -> None:
    """quantize_static: unsigned activations, signed weights with a scale for each channel, min-max ranges."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = _samples(data)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(_recent(source), prepared, skip_symbolic_shape=True)
        except Exception as failure:  # its preprocessing is optional, and fails on models that the rest takes
            print(f"  onnxruntime's preprocessing fails on {source.name}: {str(failure).splitlines()[0][:100]}")
            onnx.save(_recent(source), prepared)
        quantize_static(
            prepared,
            out,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


def ort_dynamic(source: Path, _: BoundDataset, out: Path) -> None:
    """quantize_dynamic: signed weights with a scale for each channel, activations quantized as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, out, weight_type=QuantType.QInt8, per_channel=True)


def nncf(source: Path, data: BoundDataset, out: Path) -> None:
    """nncf.quantize with the preset for mixed symmetric and asymmetric ranges; a transformer is named as such."""
    import nncf as tool

    model = _recent(source)
    transformer = any(node.op_type in ("Softmax", "Attention") for node in model.graph.node[:-4])
    quantized = tool.quantize(
        model,
        tool.Dataset(list(_samples(data))),
        preset=tool.QuantizationPreset.MIXED,
        subset_size=SAMPLES,
        model_type=tool.ModelType.TRANSFORMER if transformer else None,
    )
    onnx.save(quantized, out)


PEERS: dict[str, Peer] = {"ORT static": ort_static, "ORT dynamic": ort_dynamic, "NNCF": nncf}
