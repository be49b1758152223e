"""TensorRT's table, proved where TensorRT for RTX is: each row with a weight becomes a layer that multiplies int8."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_text import model_from, weight

from pruna_ir.backends.tensorrt import build_log, proof
from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.precision import layers
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets.tensorrt import TENSORRT

pytest.importorskip("tensorrt_rtx")

IMAGE, ROW = "g (float[1,32,8,8] x) => (float[1,a,b,c] y) ", "g (float[4,64] x) => (float[4,64] y) "
# Of each row the graphs, and the weights that they read.
ROWS: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "Conv": (IMAGE + "{ y = Conv (x, w) }", (32, 32, 3, 3)),
    "Conv, grouped": (IMAGE + "{ y = Conv <group = 2> (x, w) }", (32, 16, 3, 3)),
    "Conv, depthwise": (IMAGE + "{ y = Conv <group = 32> (x, w) }", (32, 1, 3, 3)),
    "ConvTranspose": (IMAGE + "{ y = ConvTranspose (x, w) }", (32, 32, 2, 2)),
    "Gemm": (ROW + "{ y = Gemm (x, w) }", (64, 64)),
    "Gemm, transposed": (ROW + "{ y = Gemm <transB = 1> (x, w) }", (64, 64)),
    "MatMul": (ROW + "{ y = MatMul (x, w) }", (64, 64)),
    "MatMul of activations": (ROW + "{ t = Transpose <perm = [1,0]> (x) y = MatMul (t, x) }", None),
}
# What TensorRT has an int8 kernel for, and TensorRT for RTX has not.
IN_FLOAT = {"ConvTranspose"}


def quantized(name: str) -> Model:
    text, shape = ROWS[name]
    model = model_from(text, w=weight(*(shape or (1,))))
    data = (weight(*spec_shape(model), seed=seed) for seed in range(4))
    PassManager.parse("quantize<guard=false>").run(model, data=data, target="tensorrt")
    return model


def spec_shape(model: Model) -> list[int]:
    return [size for size in model.inputs()[0].shape if isinstance(size, int)]


@pytest.mark.parametrize("name", ROWS)
def test_row_becomes_a_layer_in_8_bits(name: str, tmp_path: Path) -> None:
    backend = TensorrtBackend(build="never")
    legal = backend.legalize(quantized(name))
    backend.emit(legal, tmp_path / "bundle")
    outcome = build_log.compare(layers(legal.graph), proof.build(tmp_path / "bundle").layers)
    assert outcome.intended == 1
    assert len(outcome.missed) == (name in IN_FLOAT), dict(outcome.missed)


def test_every_row_with_a_weight_is_tried() -> None:
    tried = {name.split(",")[0].split(" ")[0] for name in ROWS}
    assert tried == {op for op, row in TENSORRT.ops.items() if row.weight is not None}
