"""Quantization of graphs that nobody wrote."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from quantizable_networks import IMAGE, networks
from small_graphs import runtime_ops

from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

# Samples that calibrate, and are run: what is tested is the graph, not how well ranges generalize.
SAMPLES = np.random.default_rng(7).standard_normal((8, *IMAGE[1:])).astype(np.float32)
# ONNX Runtime's float kernels, by the op whose place they take.
FLOAT_KERNELS = {
    "Conv": ("Conv", "FusedConv"),
    "Gemm": ("Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
    "Add": ("Add",),
    "Mul": ("Mul",),
    "Concat": ("Concat",),
    "Sigmoid": ("Sigmoid",),
    "LeakyRelu": ("LeakyRelu",),
    "AveragePool": ("AveragePool",),
    "GlobalAveragePool": ("GlobalAveragePool",),
}


def run(model: Model, *, optimize: bool) -> dict[str, np.ndarray]:
    session = Session(model, optimize=optimize)
    rows = [session.run({"x": sample[None]}) for sample in SAMPLES]
    return {name: np.stack([row[name] for row in rows]).astype(np.float64) for name in rows[0]}


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    noise = np.square(wanted - found).sum()
    return float(10 * np.log10(np.square(wanted).sum() / noise)) if noise else np.inf


def in_float(model: Model) -> Counter[str]:
    """Nodes of each op that do not stand between Q and DQ, and so may run in float."""
    found: Counter[str] = Counter()
    for node in model.graph.nodes:
        weighted = node.op in ("Conv", "Gemm", "MatMul")
        read = [tensor for tensor in node.inputs[: 2 if weighted else None] if not tensor.is_empty()]
        enclosed = all(tensor.inputs and tensor.inputs[0].op == "DequantizeLinear" for tensor in read)
        if not weighted or node.op == "Conv":
            enclosed &= {reader.op for reader in node.outputs[0].outputs} == {"QuantizeLinear"}
        found["Gemm" if node.op == "MatMul" else node.op] += not enclosed
    return found


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(networks())
def test_random_networks(model: Model) -> None:
    for node in model.graph.nodes:
        note(f"{node.op} {[read.name for read in node.inputs]} -> {[written.name for written in node.outputs]}")
    reference = model.clone()
    manager = PassManager.parse("quantize<ranges=minmax;guard=false>")
    manager.run(model, data=SAMPLES)
    model.check()
    onnx.checker.check_model(model.to_proto(), full_check=True)
    assert (model.inputs(), model.outputs()) == (reference.inputs(), reference.outputs())

    expected = run(reference, optimize=False)
    for optimize in (False, True):
        for name, found in run(model, optimize=optimize).items():
            assert sqnr(expected[name], found) > 10, name

    floats, allowed = runtime_ops(model), in_float(model)
    for op, kernels in FLOAT_KERNELS.items():
        assert sum(floats[kernel] for kernel in kernels) <= allowed[op], op

    once = model.fingerprint()
    assert not manager.run(model, data=SAMPLES).changed
    assert model.fingerprint() == once


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from(["tflite", "coreml", "tensorrt", "portable", "ort-arm"]))
def test_random_networks_for_every_target(model: Model, target: str) -> None:
    """The target's own linter finds nothing, and the numbers stay close."""
    for node in model.graph.nodes:
        note(f"{node.op} {[read.name for read in node.inputs]} -> {[written.name for written in node.outputs]}")
    expected = run(model, optimize=False)
    PassManager.parse(f"quantize<ranges=minmax;guard=false;target={target}>").run(model, data=SAMPLES)
    model.check()
    PassManager.parse(f"lint-qdq<target={target};strict=true>").run(model)
    # Node by node: of signed integers ONNX Runtime on x86 makes unsigned ones, and then refuses some of the graphs.
    quanta = [float(node.inputs[1].values) for node in model.graph.nodes if node.op == "QuantizeLinear"]
    for name, found in run(model, optimize=False).items():
        # What is left of large values that cancel can be as small as a quantum of theirs.
        noise = float(np.sqrt(np.square(expected[name] - found).mean()))
        assert sqnr(expected[name], found) > 6 or noise < 4 * max(quanta), name
