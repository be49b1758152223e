"""ONNX Runtime's CPU execution provider: which Q/DQ groups become integer kernels, on three kinds of processor.

Every row was seen to fuse on the runtime versions in `proved_on` (each op built as DQ -> op -> Q and the optimized
graph read back; tests/pruna_ir/targets/test_ort_cpu.py does it again on the installed version). What has no row runs
in float. Absorbed activations: ONNX Runtime drops a Relu or Clip before a QuantizeLinear whose range lies within it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pruna_ir.calibration.scheme import Scheme
from pruna_ir.targets.host import host_kind
from pruna_ir.targets.target import OpRow, Output, Scales, Target

_ACTIVATIONS = ("Relu", "Clip")
_MOVES = OpRow(scales=Scales.MOVED)

_OPS = {
    "Conv": OpRow(weight=1, bias=2, absorbs=_ACTIVATIONS),
    "Gemm": OpRow(
        weight=1,
        weight_axis=1,
        transposed_by="transB",
        bias=2,
        output=Output.OPTIONAL,
        absorbs=_ACTIVATIONS,
        requires={"alpha": 1.0, "beta": 1.0, "transA": 0},
    ),
    "MatMul": OpRow(
        inputs=(0, 1),
        weight=1,
        weight_axis=-1,
        weight_rank=2,
        bias_added_by="Add",
        output=Output.OPTIONAL,
        absorbs=_ACTIVATIONS,
    ),
    "Add": OpRow(inputs=None, absorbs=_ACTIVATIONS),
    "Mul": OpRow(inputs=None, absorbs=_ACTIVATIONS),
    "Concat": OpRow(inputs=None, scales=Scales.UNION),
    "Sigmoid": OpRow(),
    "LeakyRelu": OpRow(),
    "Softmax": OpRow(),
    "AveragePool": OpRow(requires={"dilations": 1}),
    "GlobalAveragePool": OpRow(),
    "MaxPool": _MOVES,
    "Reshape": _MOVES,
    "Transpose": _MOVES,
    "Flatten": _MOVES,
    "Squeeze": _MOVES,
    "Unsqueeze": _MOVES,
    "DepthToSpace": _MOVES,
    "Split": replace(_MOVES, all_outputs=True),
    # Cropping writes a constant where it leaves the image: in integers that is another number.
    "Resize": replace(
        _MOVES, requires={"mode": "nearest"}, refuses={"coordinate_transformation_mode": "tf_crop_and_resize"}
    ),
}

# Swish and GroupNormalization have no kernel and run from the parts that ONNX defines them by, which are more than
# exporters write; GroupNormalization loses digits there (its variance is a difference of means), and Swish does not run
# at all from opset 25 on. The kernels of the others do not use the vector units as those of their parts do.
# tests/benchmarks/bench_recognition.py prints the ratios.
_SLOW = frozenset(
    {
        "GroupNormalization",
        "LpNormalization",
        "Softplus",
        "Swish",
    }
)

# It has kernels for halves that move values and normalize, none that multiplies: between those it casts back and forth.
_HALF = {"float16": frozenset[str](), "bfloat16": frozenset[str]()}

X86_VNNI = Target(
    name="ort-x86-vnni",
    description="ONNX Runtime on x86 with AVX512-VNNI or AVX-VNNI: unsigned activations, signed weights",
    activations=Scheme(np.dtype(np.uint8), symmetric=False),
    weights=Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True),
    ops=_OPS,
    accepts=("int8", "uint8"),
    integer_ops=True,
    stores_weights=True,
    slow_ops=_SLOW,
    half_ops=_HALF,
    channel_multiple=16,
    runtime="ONNX Runtime",
    proved_on=("1.31.1", "1.32.0"),
    runs_on=("x86-vnni",),
)

# Without VNNI two products are added in 16 bits, which saturate: 255 * (a + b) passes 32767 once two weights of one
# output channel add up to 129, and the largest of each is 127. Weights of 7 bits cannot overflow them. The kernels of
# depthwise convolutions widen what they multiply instead (MLAS: qdwconv, ConvSymDepthwise) and take all 8.
X86 = replace(
    X86_VNNI,
    name="ort-x86",
    description="ONNX Runtime on x86 without VNNI: unsigned activations, weights of 7 bits so that nothing saturates",
    weights=Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True, bits=7),
    depthwise_bits=8,
    runs_on=("x86", "x86-vnni"),
)

ARM = replace(
    X86_VNNI,
    name="ort-arm",
    description="ONNX Runtime on 64-bit Arm: signed activations and weights",
    activations=Scheme(np.dtype(np.int8), symmetric=False),
    runs_on=("arm",),
)

_BY_HOST = {"x86-vnni": X86_VNNI, "x86": X86, "arm": ARM, "other": X86}


def detect() -> Target:
    """The table for this machine, under the name `ort-cpu`."""
    return replace(_BY_HOST[host_kind()], name="ort-cpu")
