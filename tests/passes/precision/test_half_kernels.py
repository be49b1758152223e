"""What a target's table says about halves, held against the installed runtime."""

from __future__ import annotations

import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from pruna_ir import registry
from pruna_ir.targets.host import host_kind

# The operators that networks spend their time in.
COMPUTE = ("Conv", "MatMul", "Gemm", "ConvTranspose", "LSTM", "Add", "Mul", "Softmax")


@pytest.mark.skipif(not host_kind().startswith("x86"), reason="builds for other processors have other kernels")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_onnx_runtime_computes_in_no_halves(dtype: str) -> None:
    kernels = {
        kernel.op_name
        for kernel in state.get_all_opkernel_def()
        if kernel.provider == "CPUExecutionProvider" and kernel.domain == ""
        if any(f"tensor({dtype})" in types for types in kernel.type_constraints.values())
    }
    assert "Cast" in kernels
    assert not kernels.intersection(COMPUTE)
    assert not registry.target("ort-x86-vnni").half_ops[dtype].intersection(COMPUTE)
