"""The linter: a clean graph for each target, and for each rule a graph that breaks it and it alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx_text import model_from
from small_graphs import build, conv, samples, small_net, weights

from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model import Model
from pruna_ir.passes.quantization.lint.rules import RULES
from pruna_ir.passes.quantization.lint.runtime import integer_share
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.remarks import Remark, RemarkKind

# Conv with everything in integers, as LiteRT wants it.
CONV = """
g (float[1,2,4,4] x) => (float[1,2,4,4] y)
<float s = {0.1}, int8 z = {3}, float t = {0.2}, int8 u = {-4},
 int8[2,2,1,1] w = {1, -127, 127, 4}, float[2] ws = {0.01, 0.02}, int8[2] wz = {0, 0},
 int32[2] b = {5, -6}, float[2] bs = {0.001, 0.002}, int32[2] bz = {0, 0}>
{
   q = QuantizeLinear (x, s, z)
   d = DequantizeLinear (q, s, z)
   wd = DequantizeLinear <axis = 0> (w, ws, wz)
   bd = DequantizeLinear <axis = 0> (b, bs, bz)
   c = Conv (d, wd, bd)
   qc = QuantizeLinear (c, t, u)
   y = DequantizeLinear (qc, t, u)
}
"""

# Ops without weights, each between pairs of its own.
OPS = """
g (float[1,2,4,4] x, float[1,2,4,4] v) => (float[1,4,4,4] j, float[1,2,3,3] m, float[1,2,4,4] o)
<float s = {0.1}, int8 z = {3}, float t = {0.1}, int8 u = {3}, float f = {0.00390625}, int8 h = {-128}>
{
   q = QuantizeLinear (x, s, z)
   d = DequantizeLinear (q, s, z)
   p = QuantizeLinear (v, t, u)
   e = DequantizeLinear (p, t, u)
   jc = Concat <axis = 1> (d, e)
   jq = QuantizeLinear (jc, s, z)
   j = DequantizeLinear (jq, s, z)
   mc = MaxPool <kernel_shape = [2, 2]> (d)
   mq = QuantizeLinear (mc, s, z)
   m = DequantizeLinear (mq, s, z)
   oc = Sigmoid (d)
   oq = QuantizeLinear (oc, f, h)
   o = DequantizeLinear (oq, f, h)
}
"""
SYMMETRIC = (("z = {3}", "z = {0}"), ("u = {-4}", "u = {0}"))
FLOAT_BIAS = (("Conv (d, wd, bd)", "Conv (d, wd, fb)"), ("int32[2] bz", "float[2] fb = {0.5, 0.25}, int32[2] bz"))
NO_OUTPUT_PAIR = (("   qc = QuantizeLinear (c, t, u)\n", ""), ("DequantizeLinear (qc, t, u)", "Neg (c)"))
FOR_TENSORRT = (*SYMMETRIC, *FLOAT_BIAS, *NO_OUTPUT_PAIR)

Edits = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Broken:
    """A rule, and the edits that make a clean graph break it."""

    rule: str
    edits: Edits
    node: str = "c"
    target: str = "tflite"
    text: str = CONV
    clean: Edits = ()


BROKEN = [
    Broken(
        "integer-op",
        (("qc = QuantizeLinear (c, t, u)", "qc = QLinearConv (q, s, z, w, ws, wz, t, u)"),),
        node="qc",
    ),
    Broken(
        "computed-scale",
        (("   q = Q", "   sc = Abs (s)\n   q = Q"), ("QuantizeLinear (x, s, z)", "QuantizeLinear (x, sc, z)")),
        node="q",
    ),
    Broken("scale-value", (("ws = {0.01, 0.02}", "ws = {0.01, 0}"),), "wd"),
    Broken("scale-value", (("float s = {0.1}", "float s = {-0.1}"),), "q", "tensorrt", clean=FOR_TENSORRT),
    Broken(
        "unpaired",
        (("   c = Conv", "   n = Reshape (q, n0)\n   c = Conv"), ("float t", "int64[1] n0 = {-1}, float t")),
        "q",
    ),
    Broken("pair-mismatch", (("y = DequantizeLinear (qc, t, u)", "y = DequantizeLinear (qc, s, u)"),), "y"),
    Broken("activation-dtype", (("int8 u = {-4}", "uint8 u = {4}"),), "qc"),
    Broken(
        "weight-dtype", (("int8[2,2,1,1] w = {1, -127", "uint8[2,2,1,1] w = {1, 127"), ("int8[2] wz", "uint8[2] wz"))
    ),
    Broken("activation-zero-point", (("z = {0}", "z = {3}"),), "q", "tensorrt", clean=FOR_TENSORRT),
    Broken("weight-zero-point", (("wz = {0, 0}", "wz = {0, 1}"),)),
    Broken(
        "activation-axis",
        (
            ("qc = QuantizeLinear (c, t, u)", "qc = QuantizeLinear <axis = 1> (c, ts, us)"),
            ("y = DequantizeLinear (qc, t, u)", "y = DequantizeLinear <axis = 1> (qc, ts, us)"),
            ("float t", "float[2] ts = {0.1, 0.2}, int8[2] us = {0, 0}, float t"),
        ),
        "qc",
    ),
    Broken("weight-axis", (("<axis = 0> (w", "<axis = 1> (w"),)),
    Broken("weight-range", (("{1, -127", "{1, -128"),)),
    Broken("weight-range", (("{1, -63, 63", "{1, -63, 64"),), target="ort-x86", clean=(("-127, 127", "-63, 63"),)),
    Broken("integer-bias", (("Conv (d, wd, fb)", "Conv (d, wd, bd)"),), target="coreml", clean=FLOAT_BIAS),
    Broken("integer-bias", (("Conv (d, wd, fb)", "Conv (d, wd, bd)"),), target="tensorrt", clean=FOR_TENSORRT),
    Broken("bias-scale", (("bs = {0.001, 0.002}", "bs = {0.001, 0.001}"),)),
    Broken("bias-scale", (("bz = {0, 0}", "bz = {1, 0}"),)),
    Broken(
        "shared-dequantizer",
        (("y = DequantizeLinear (qc, t, u)", "yd = DequantizeLinear (qc, t, u)\n   y = Add (yd, wd)"),),
        node="wd",
    ),
    Broken("half-quantized", (("Conv (d, wd, bd)", "Conv (x, wd, bd)"),)),
    Broken("float-output", NO_OUTPUT_PAIR),
    Broken("float-output", NO_OUTPUT_PAIR, target="ort-x86-vnni"),
    Broken("equal-scales", (("t = {0.1}", "t = {0.2}"),), "jc", text=OPS),
    Broken("equal-scales", (("u = {3}", "u = {4}"),), "jc", text=OPS),
    Broken(
        "equal-scales",
        (("QuantizeLinear (mc, s, z)", "QuantizeLinear (mc, s, h)"), ("(mq, s, z)", "(mq, s, h)")),
        "mc",
        text=OPS,
    ),
    Broken("fixed-scale", (("f = {0.00390625}", "f = {0.004}"),), "oc", text=OPS),
    Broken("fixed-scale", (("h = {-128}", "h = {-127}"),), "oc", text=OPS),
    Broken("one-type", (("int8 u = {-4}", "int16 u = {0}"),)),
]
ADVICE = [
    Broken(
        "useless-pair",
        (("Neg (c)", "DequantizeLinear (qc, t, u)"), ("   y =", "   qc = QuantizeLinear (c, t, u)\n   y =")),
        "c",
        "tensorrt",
        clean=FOR_TENSORRT,
    ),
    Broken("narrow", FOR_TENSORRT, target="tensorrt"),
    Broken(
        "in-float", (("Conv (d, wd, bd)", "Conv (d, fw)"), ("float t", "float[2,2,1,1] fw = {1, 2, 3, 4}, float t"))
    ),
    Broken("no-kernel", (("c = Conv (d, wd, bd)", "c = Erf (d)"),)),
]


def graph(text: str, edits: Edits) -> Model:
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return model_from(text)


def lint(model: Model, target: str, more: str = "") -> list[Remark]:
    before = model.fingerprint()
    result = PassManager.parse(f"lint-qdq<target={target}{more}>").run(model)
    assert not result.changed and model.fingerprint() == before
    return list(result.remarks)


def rules(remarks: list[Remark], kind: RemarkKind = RemarkKind.MISSED) -> set[str]:
    return {str(remark.reason).split(":")[0] for remark in remarks if remark.kind is kind and remark.node}


@pytest.mark.parametrize(
    ("target", "text", "edits"),
    [
        ("tflite", CONV, ()),
        ("tflite", OPS, ()),
        ("ort-x86-vnni", CONV, ()),
        ("coreml", CONV, FLOAT_BIAS),
        ("tensorrt", CONV, FOR_TENSORRT),
        ("portable", CONV, (*SYMMETRIC, *FLOAT_BIAS)),
    ],
)
def test_clean_graph(target: str, text: str, edits: Edits) -> None:
    assert not rules(lint(graph(text, edits), target, ";strict=true"))


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: f"{b.rule}-{b.target}")
def test_each_rule_finds_what_breaks_it(broken: Broken) -> None:
    assert not rules(lint(graph(broken.text, broken.clean), broken.target)), "the edits alone break it"
    remarks = lint(graph(broken.text, (*broken.clean, *broken.edits)), broken.target)
    assert broken.rule in rules(remarks)
    place = next(remark.node for remark in remarks if str(remark.reason).startswith(f"{broken.rule}: "))
    assert place == broken.node


@pytest.mark.parametrize("broken", ADVICE, ids=lambda b: str(b.rule))
def test_each_advice_is_no_violation(broken: Broken) -> None:
    remarks = lint(graph(broken.text, (*broken.clean, *broken.edits)), broken.target, ";strict=true")
    assert not rules(remarks)
    assert rules(remarks, RemarkKind.ANALYSIS) >= {broken.rule}


def test_every_rule_has_a_graph_that_breaks_it() -> None:
    assert {broken.rule for broken in BROKEN} == {rule.name for rule in RULES if not rule.advice}
    assert {broken.rule for broken in ADVICE} == {rule.name for rule in RULES if rule.advice}


def test_strict_fails_with_the_violations() -> None:
    with pytest.raises(PrunaError) as failure:
        lint(graph(CONV, (("{1, -127", "{1, -128"),)), "tflite", ";strict=true")
    assert failure.value.diagnostic.code == "Q001"
    assert failure.value.diagnostic.notes == ("`c`: weight-range: its weight holds -128..127, beyond -127..127",)


@pytest.mark.parametrize("target", ["tflite", "coreml", "tensorrt", "portable", "ort-x86-vnni", "ort-x86", "ort-arm"])
def test_what_quantize_writes_is_clean(target: str) -> None:
    model = small_net()
    PassManager.parse(f"quantize<target={target};guard=false>").run(model, data=samples())
    lint(model, target, ";strict=true")


@pytest.mark.parametrize("other", ["tflite", "coreml", "tensorrt", "ort-x86-vnni", "ort-arm"])
def test_portable_graph_is_legal_everywhere(other: str) -> None:
    model = small_net()
    PassManager.parse("quantize<target=portable;guard=false>").run(model, data=samples())
    assert any(node.op == "QuantizeLinear" for node in model.graph.nodes)
    assert not rules(lint(model, other, ";strict=true")) - {"not-fused"}


def test_runtime_tells_what_it_fused() -> None:
    model = small_net()
    PassManager.parse("quantize<target=ort-x86-vnni;guard=false>").run(model, data=samples())
    remarks = lint(model, "ort-x86-vnni")
    found = "ONNX Runtime runs 3 of 3 kernels with weights in integers (100.0% of the MACs)"
    assert found in map(str, (remark.reason for remark in remarks))
    assert not rules(remarks)


def test_runtime_tells_what_it_did_not_fuse_and_why() -> None:
    model = small_net()
    PassManager.parse("quantize<target=portable;guard=false>").run(model, data=samples())
    remarks = {remark.node: str(remark.reason) for remark in lint(model, "ort-x86-vnni")}
    stays = "stays in front of its QuantizeLinear, whose range does not end where it clips"
    assert remarks["c1"] == f"not-fused: it runs in float: Relu {stays}"
    assert remarks["a"] == f"not-fused: it runs in float: Clip {stays}"
    share = 80 / (3 * 8 * 9 * 64 + 8 * 8 * 9 * 64 + 80)
    counts = f"ONNX Runtime runs 1 of 3 kernels with weights in integers ({share:.1%} of the MACs)"
    assert counts in map(str, (remark.reason for remark in lint(model, "ort-x86-vnni")))


def test_float_model_has_nothing_to_violate() -> None:
    remarks = lint(small_net(), "tflite", ";strict=true")
    assert rules(remarks, RemarkKind.ANALYSIS) == {"in-float"}


def test_half_of_a_model_in_float_is_legal() -> None:
    """What a guard leaves in float reads rounded values, and breaks no rule."""
    model = build(
        [conv("c", "x", "w"), onnx.helper.make_node("Tanh", ["c"], ["t"], name="t"), conv("y", "c", "w2")],
        {"x": [1, 3, 4, 4]},
        ["y", "t"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    feeds = np.random.default_rng(0).standard_normal((4, 3, 4, 4)).astype(np.float32)
    PassManager.parse("quantize<target=tflite;guard=false;exclude=[y]>").run(model, data=feeds)
    assert not rules(lint(model, "tflite", ";strict=true"))


def test_share_of_work_in_integers() -> None:
    model = small_net()
    assert integer_share(model) == 0.0
    PassManager.parse("quantize<target=ort-x86-vnni;guard=false;exclude=[c1]>").run(model, data=samples())
    assert integer_share(model) == pytest.approx(1 - 3 * 8 * 9 * 64 / (3 * 8 * 9 * 64 + 8 * 8 * 9 * 64 + 80))


def test_share_of_integer_operators_that_were_there_before() -> None:
    text = CONV.replace("qc = QuantizeLinear (c, t, u)", "qc = QLinearConv (q, s, z, w, ws, wz, t, u)")
    assert integer_share(graph(text, (("   c = Conv (d, wd, bd)\n", ""),))) == 1.0


def test_graph_that_the_runtime_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise error("M009", "ONNX Runtime refuses the model: no reason")

    monkeypatch.setattr("pruna_ir.passes.quantization.lint.runtime.optimized", refuse)
    remarks = lint(graph(CONV, ()), "ort-x86-vnni", ";strict=true")
    assert "refused: ONNX Runtime refuses the model: no reason" in [str(remark.reason) for remark in remarks]


def test_weights_of_depthwise_convolutions_may_use_all_bits_without_vnni() -> None:
    model = build(
        [conv("c", "x", "w", group=3), conv("y", "c", "v")],
        {"x": [1, 3, 8, 8]},
        ["y"],
        {"w": weights(0, 3, 1, 3, 3), "v": weights(1, 4, 3, 1, 1)},
    )
    PassManager.parse("quantize<target=ort-x86;guard=false>").run(model, data=samples())
    largest = {name: int(np.abs(model.graph.tensors()[f"{name}_q"].values).max()) for name in "wv"}
    assert largest == {"w": 127, "v": 63}
    lint(model, "ort-x86", ";strict=true")
