"""TensorRT (10 and later, and TensorRT-RTX): where it wants Q/DQ, and what its parser accepts.

Zero points other than 0 and biases in integers are refused by the parser. Q/DQ stand before what reads them: in front
of ops with weights, and on the other input of an Add that ends one of those; TensorRT itself moves a Q backwards into
the kernel before it, over activation functions, pools and movements, so Q/DQ behind an op would only cost accuracy.
Inputs of a Concat have one scale, else each is rounded again. Widths are those below which NVIDIA's Model Optimizer
keeps an op in float (0.47). The rows with weights were seen to become layers that multiply int8 in engines that
TensorRT for RTX builds without a GPU (tests/pruna_ir/targets/test_tensorrt.py does it again, where it is installed),
but for ConvTranspose, which only TensorRT itself has an int8 kernel for. Speed is read, not measured.
"""

from __future__ import annotations

import numpy as np

from pruna_ir.calibration.scheme import Scheme
from pruna_ir.targets.target import Company, OpRow, Output, Scales, Target, Widths

_OPS = {
    "Conv": OpRow(weight=1, output=Output.FLOAT, widths=Widths(16, multiple=8)),
    "ConvTranspose": OpRow(weight=1, weight_axis=1, output=Output.FLOAT, requires={"group": 1}),
    "Gemm": OpRow(
        weight=1,
        weight_axis=1,
        transposed_by="transB",
        output=Output.FLOAT,
        requires={"transA": 0},
        widths=Widths(16),
    ),
    "MatMul": OpRow(
        inputs=(0, 1),
        weight=1,
        weight_axis=-1,
        weight_rank=2,
        output=Output.FLOAT,
        company=Company.NONE,
        widths=Widths(16),
    ),
    "Add": OpRow(inputs=None, output=Output.FLOAT, ends_kernel=True, company=Company.NONE),
    "Concat": OpRow(inputs=None, output=Output.FLOAT, scales=Scales.EQUAL, company=Company.READER),
    "AveragePool": OpRow(output=Output.FLOAT, company=Company.NONE),
    "GlobalAveragePool": OpRow(output=Output.FLOAT, company=Company.NONE),
}

TENSORRT = Target(
    name="tensorrt",
    description="TensorRT: symmetric int8, float biases, Q/DQ only on what weighted ops and residual sums read",
    activations=Scheme(np.dtype(np.int8), symmetric=True),
    weights=Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True),
    ops=_OPS,
    bias_dtype="float32",
    channel_multiple=16,
    runtime="TensorRT",
)
