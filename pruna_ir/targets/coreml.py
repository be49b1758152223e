"""Core ML (ML programs from iOS 17 on): what `quantize` and `dequantize` around MIL ops are fused into.

An ML program states all rounding explicitly, so any scale is legal; those that 16-bit floats hold let everything around
them compute in 16 bits, which the Neural Engine does. Rows are the patterns that Core ML Tools' own
quantizer marks for the Neural Engine (coremltools 9, CoreMLQuantizer): weighted ops with the activation function behind
them, sums and products, pools and movements with one scale on both sides. Biases stay in float: `dequantize` takes 8
bits only. Nothing here can run without Apple's hardware: the rows are read, not proved.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pruna_ir.calibration.scheme import Scheme
from pruna_ir.targets.target import OpRow, Scales, Target

_ACTIVATIONS = (
    *("Relu", "Clip", "LeakyRelu", "Elu", "Celu", "Selu", "Gelu"),
    *("Sigmoid", "HardSigmoid", "Swish", "HardSwish", "Mish", "Tanh"),
)
_MOVES = OpRow(scales=Scales.MOVED)
_MATRIX = OpRow(weight=1, weight_axis=1, transposed_by="transB", absorbs=_ACTIVATIONS)

_OPS = {
    "Conv": OpRow(weight=1, absorbs=_ACTIVATIONS),
    "ConvTranspose": OpRow(weight=1, weight_axis=1, absorbs=_ACTIVATIONS, requires={"group": 1}),
    "Gemm": replace(_MATRIX, requires={"alpha": 1.0, "beta": 1.0, "transA": 0}),
    "MatMul": replace(_MATRIX, inputs=(0, 1), weight_axis=-1, weight_rank=2, transposed_by=None),
    "Add": OpRow(inputs=None, absorbs=_ACTIVATIONS),
    "Mul": OpRow(inputs=None, absorbs=_ACTIVATIONS),
    "Concat": OpRow(inputs=None, scales=Scales.EQUAL),
    "AveragePool": _MOVES,
    "GlobalAveragePool": _MOVES,
    "ReduceMean": _MOVES,
    "MaxPool": _MOVES,
    "Reshape": _MOVES,
    "Transpose": _MOVES,
    "Flatten": _MOVES,
    "Squeeze": _MOVES,
    "Unsqueeze": _MOVES,
    "DepthToSpace": _MOVES,
    "Split": replace(_MOVES, all_outputs=True),
}

COREML = Target(
    name="coreml",
    description="Core ML from iOS 17 on: asymmetric int8 activations, symmetric int8 weights, float biases",
    activations=Scheme(np.dtype(np.int8), symmetric=False, half_scales=True),
    weights=Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True, half_scales=True),
    ops=_OPS,
    accepts=("int8", "uint8"),
    bias_dtype="float32",
    channel_multiple=8,
    runtime="Core ML",
)
