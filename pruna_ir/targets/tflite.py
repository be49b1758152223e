"""LiteRT (TensorFlow Lite): which ONNX ops have an int8 kernel to be written as, and what that asks of scales.

The kernel is named behind each row where its name differs. Scales are those of the int8 quantization specification of
TensorFlow Lite (https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec); every row was
seen to load and to compute on the runtime versions in `proved_on` (tests/pruna_ir/targets/test_tflite.py does it again
where ai-edge-litert is installed). The runtime checks little: RESHAPE with two scales loads, and its numbers are wrong.
NEG has an int8 kernel that forgets the zero point, and so has no row.

The second table is of the kernels with activations of 16 bits and weights of 8, without the rows that have none or no
good one: PRELU's numbers are wrong, EXP and GELU interpolate in tables of 10 bits or so. Zero points are 0. In ONNX
their biases have 32 bits; written for LiteRT they must have 64: with 32 the results of CONV_2D are wrong.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pruna_ir.calibration.scheme import Scheme
from pruna_ir.targets.target import Company, Fixed, OpRow, Scales, Target

_CLIPS = ("Relu", "Clip")
_UNARY = OpRow(company=Company.NONE)
_BINARY = OpRow(inputs=None, company=Company.NONE)
_MOVES = OpRow(scales=Scales.MOVED, company=Company.NONE)
_JOINS = OpRow(inputs=None, scales=Scales.EQUAL, company=Company.NONE)
_POOL = replace(_MOVES, requires={"dilations": 1})
# LOGISTIC and SOFTMAX give 0..1, TANH and L2_NORMALIZATION -1..1, LOG_SOFTMAX -16..0.
_ZERO_TO_ONE = replace(_UNARY, fixed=Fixed(1 / 256, -128))
_MINUS_ONE_TO_ONE = replace(_UNARY, fixed=Fixed(1 / 128, 0))

_OPS = {
    "Conv": OpRow(weight=1, bias=2, absorbs=_CLIPS),  # CONV_2D, DEPTHWISE_CONV_2D
    "ConvTranspose": OpRow(  # TRANSPOSE_CONV
        weight=1, weight_axis=1, bias=2, requires={"group": 1, "dilations": 1, "output_padding": 0}, absorbs=_CLIPS
    ),
    "Gemm": OpRow(  # FULLY_CONNECTED
        weight=1,
        weight_axis=1,
        transposed_by="transB",
        bias=2,
        requires={"alpha": 1.0, "beta": 1.0, "transA": 0},
        absorbs=_CLIPS,
    ),
    "MatMul": OpRow(  # FULLY_CONNECTED, BATCH_MATMUL
        inputs=(0, 1), weight=1, weight_axis=-1, weight_rank=2, absorbs=_CLIPS, company=Company.NONE
    ),
    "Add": replace(_BINARY, absorbs=_CLIPS),
    "Sub": replace(_BINARY, absorbs=_CLIPS),
    "Mul": replace(_BINARY, absorbs=_CLIPS),
    "PRelu": _BINARY,
    "Relu": _UNARY,
    "Clip": _UNARY,  # QUANTIZE to the range that is left
    "LeakyRelu": _UNARY,
    "Elu": replace(_UNARY, requires={"alpha": 1.0}),
    "Gelu": _UNARY,
    "HardSwish": _UNARY,
    "Abs": _UNARY,
    "Exp": _UNARY,
    "Sigmoid": _ZERO_TO_ONE,
    "Softmax": _ZERO_TO_ONE,
    "LogSoftmax": replace(_UNARY, fixed=Fixed(16 / 256, 127)),
    "Tanh": _MINUS_ONE_TO_ONE,
    "LpNormalization": replace(_MINUS_ONE_TO_ONE, requires={"p": 2}),  # L2_NORMALIZATION
    "GlobalAveragePool": _UNARY,  # MEAN
    "ReduceMean": _UNARY,
    "ReduceSum": _UNARY,
    "ReduceMax": _MOVES,
    "AveragePool": _POOL,
    "MaxPool": _POOL,
    "Concat": _JOINS,
    "Max": _JOINS,
    "Min": _JOINS,
    "Where": replace(_JOINS, inputs=(1, 2)),  # SELECT_V2
    "Reshape": _MOVES,
    "Transpose": _MOVES,
    "Flatten": _MOVES,
    "Squeeze": _MOVES,
    "Unsqueeze": _MOVES,
    "Slice": _MOVES,
    "Split": replace(_MOVES, all_outputs=True),  # SPLIT, SPLIT_V
    "Gather": _MOVES,
    "GatherND": _MOVES,
    "Tile": _MOVES,
    "Expand": _MOVES,  # BROADCAST_TO
    "DepthToSpace": _MOVES,
    "SpaceToDepth": _MOVES,
    "Pad": replace(_MOVES, refuses={"mode": "edge"}, constants={2: 0.0}),  # PAD, MIRROR_PAD
    "Resize": replace(  # RESIZE_NEAREST_NEIGHBOR, RESIZE_BILINEAR
        _MOVES, refuses={"mode": "cubic", "coordinate_transformation_mode": "tf_crop_and_resize"}
    ),
}

# What has no int16 kernel, or none that is right; and what writes a fixed scale with 16 bits.
_NOT_INT16 = {
    *("DepthToSpace", "Elu", "Exp", "Gelu", "HardSwish", "LogSoftmax", "LpNormalization", "PRelu", "SpaceToDepth"),
}
_INT16_OPS = {
    **{op: row for op, row in _OPS.items() if op not in _NOT_INT16},
    **{op: replace(_UNARY, fixed=Fixed(1 / 32768, 0)) for op in ("Sigmoid", "Softmax", "Tanh")},
}

TFLITE = Target(
    name="tflite",
    description="LiteRT, int8: asymmetric activations, symmetric weights, equal and fixed scales as its kernels want",
    activations=Scheme(np.dtype(np.int8), symmetric=False),
    weights=Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True),
    ops=_OPS,
    answers_in_float=True,
    channel_multiple=8,
    runtime="LiteRT",
    proved_on=("2.3.0",),
    wider="tflite-int16",
)

TFLITE_INT16 = replace(
    TFLITE,
    name="tflite-int16",
    description="LiteRT, 16x8: symmetric int16 activations, symmetric int8 weights; slower, almost as good as float",
    activations=Scheme(np.dtype(np.int16), symmetric=True),
    ops=_INT16_OPS,
    wider="",
)
