"""Graphs that each break one rule of TensorRT's for Q/DQ, with what we say or do, and what its builder does."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from onnx_text import model_from

from pruna_ir.model import Model


@dataclass(frozen=True)
class Broken:
    """An edit of a clean graph that breaks a rule.

    `says` is what the refusal says; nothing if legalization makes it legal. `builder` is what TensorRT for RTX does
    with the graph as it stands: "refuses" it, or computes the layer in "Float" or "Int8".
    """

    text: str
    edit: tuple[str, str]
    says: str
    builder: str
    opset: int = 21
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


ACTIVATION = "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) "
CONSTANTS = "<float s = {0.05}, int8 z = {0}, uint8 u = {128}, int16 h = {0}, float o = {0.002}, int32 i = {0}> "
IMAGE = "g (float[1,16,8,8] x) => (float[1,16,a,b] y) " + CONSTANTS + "{ " + ACTIVATION
ROW = "g (float[4,16] x) => (float[4,16] y) " + CONSTANTS + "{ " + ACTIVATION
CONV = IMAGE + "v = DequantizeLinear <axis = 0> (w, t, n) y = Conv (d, v, b) }"
TRANSPOSED = IMAGE + "v = DequantizeLinear <axis = 1> (w, t, n) y = ConvTranspose (d, v, b) }"
GEMM = ROW + "v = DequantizeLinear <axis = 1> (m, t, n) y = Gemm (d, v, b) }"
GEMM_TRANSPOSED = ROW + "v = DequantizeLinear <axis = 0> (m, t, n) y = Gemm <transB = 1> (d, v, b) }"
MATMUL = ROW + "v = DequantizeLinear <axis = 1> (m, t, n) y = MatMul (d, v) }"
OTHER_AXES = (("axis = 0", "axis = 1"), ("axis = 1", "axis = 0"))

BROKEN = {
    "zero point": Broken(CONV, ("int8 z = {0}", "int8 z = {3}"), "its zero point is 3, and must be 0", "refuses"),
    "lowest zero point": Broken(CONV, ("int8 z = {0}", "int8 z = {-128}"), "its zero point is -128", "refuses"),
    "unsigned": Broken(CONV, (ACTIVATION, ACTIVATION.replace("z)", "u)")), "", "refuses"),
    "unsigned, zero point 0": Broken(
        CONV.replace("u = {128}", "u = {0}"),
        (ACTIVATION, ACTIVATION.replace("z)", "u)")),
        "without rounding",
        "Int8",
    ),
    "16 bits": Broken(CONV, (ACTIVATION, ACTIVATION.replace("z)", "h)")), "int16", "refuses"),
    "zero point of a weight": Broken(
        CONV, ("(w, t, n)", "(w, t, e)"), "zero point", "refuses", arrays={"e": np.ones(16, np.int8)}
    ),
    "unsigned weight": Broken(
        CONV.replace("(w, t, n)", "(k, t, g)"),
        ("", ""),
        "",
        "refuses",
        arrays={"k": np.full((16, 16, 3, 3), 131, np.uint8), "g": np.full(16, 128, np.uint8)},
    ),
    "bias in integers": Broken(
        CONV, ("Conv (d, v, b)", "Conv (d, v, c)"), "", "refuses", arrays={"j": np.arange(16, dtype=np.int32)}
    ),
    "scale of zero": Broken(
        CONV, ("s = {0.05}", "s = {0}"), "its scale is 0, and must be a positive number", "refuses"
    ),
    "negative scale": Broken(CONV, ("s = {0.05}", "s = {-0.05}"), "its scale is -0.05", "refuses"),
    "computed scale": Broken(
        CONV,
        (ACTIVATION, "r = ReduceMax <keepdims = 0> (x) " + ACTIVATION.replace("s, z)", "r, z)")),
        "",
        "refuses",
    ),
    "scales of an activation": Broken(
        CONV,
        (ACTIVATION, ACTIVATION.replace("s, z)", "t, n)")),
        "an activation has 16 scales, and may have one",
        "Float",
    ),
    "pair of two scales": Broken(CONV, ("(q, s, z)", "(q, o, z)"), "pair-mismatch", "Int8"),
    "axis of a Conv": Broken(CONV, OTHER_AXES[0], "weight-axis", "Float"),
    "axis of a ConvTranspose": Broken(TRANSPOSED, OTHER_AXES[1], "weight-axis", "Float"),
    "axis of a Gemm": Broken(GEMM, OTHER_AXES[1], "weight-axis", "Float"),
    "axis of a transposed Gemm": Broken(GEMM_TRANSPOSED, OTHER_AXES[0], "weight-axis", "Float"),
    "axis of a MatMul": Broken(MATMUL, OTHER_AXES[1], "weight-axis", "Float"),
    "QLinearMatMul": Broken(
        MATMUL,
        (
            "v = DequantizeLinear <axis = 1> (m, t, n) y = MatMul (d, v)",
            "f = QLinearMatMul (q, s, z, m, t, n, s, z) y = DequantizeLinear (f, s, z)",
        ),
        "",
        "refuses",
    ),
    "QLinearConv": Broken(
        CONV,
        (
            "v = DequantizeLinear <axis = 0> (w, t, n) y = Conv (d, v, b)",
            "f = QLinearConv (q, s, z, w, t, n, s, z) y = DequantizeLinear (f, s, z)",
        ),
        "",
        "refuses",
    ),
    "quantized at run time": Broken(
        MATMUL,
        (
            ACTIVATION + "v = DequantizeLinear <axis = 1> (m, t, n) y = MatMul (d, v)",
            "q, d, e = DynamicQuantizeLinear (x) p = MatMulInteger (q, m, e) f = Cast <to = 1> (p) v = Mul (d, o) "
            "y = Mul (f, v)",
        ),
        "",
        "refuses",
    ),
}
_NUMBERS = np.random.default_rng(0)
ARRAYS = {
    "w": _NUMBERS.integers(-127, 127, (16, 16, 3, 3)).astype(np.int8),
    "m": _NUMBERS.integers(-127, 127, (16, 16)).astype(np.int8),
    "t": np.linspace(0.01, 0.02, 16, dtype=np.float32),
    "n": np.zeros(16, np.int8),
    "b": np.ones(16, np.float32),
}


def broken_graph(name: str, edited: bool = True) -> Model:
    """The graph that breaks a rule, or the one that it was made from."""
    case = BROKEN[name]
    text = case.text
    assert case.edit[0] in text
    if edited:
        text = text.replace(*case.edit)
        if "j" in case.arrays:  # the bias
            text = text.replace("y = Conv", "c = DequantizeLinear (j, o, i) y = Conv")
    arrays = {**ARRAYS, **(case.arrays if edited or case.edit[0] == "" else {})}
    read = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return model_from(text, opset=case.opset, **{key: value for key, value in arrays.items() if key in read})
