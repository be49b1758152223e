"""expand: operators written out as ONNX defines them."""

from __future__ import annotations

import onnx
import pytest
from onnx_text import model_from

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.recognition.expand import Expand, expandable
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, missed, ops, run_pass

SCALE = "<float[4] s = {1, 2, 3, 4}>"
# The operator, the opset, and what is left of the text of a graph of x[n,4].
WRITTEN_OUT = [
    ("HardSwish", 14, "{ y = HardSwish(x) }"),
    ("Gelu", 20, "{ y = Gelu(x) }"),
    ("Gelu", 23, '{ y = Gelu<approximate="tanh">(x) }'),
    ("LayerNormalization", 17, SCALE + "{ y = LayerNormalization(x, s) }"),
    ("RMSNormalization", 23, SCALE + "{ y = RMSNormalization(x, s) }"),
    ("Mish", 18, "{ y = Mish(x) }"),
    ("Softplus", 18, "{ y = Softplus(x) }"),
    ("Elu", 18, "{ y = Elu(x) }"),
    ("LeakyRelu", 17, "{ y = LeakyRelu<alpha=0.2>(x) }"),
    ("ThresholdedRelu", 18, "{ y = ThresholdedRelu(x) }"),
    ("Softmax", 17, "{ y = Softmax(x) }"),
    ("ReduceL2", 18, "<int64[1] a = {1}> { y = ReduceL2(x, a) }"),
    ("Swish", 24, "{ y = Swish<alpha=1.5>(x) }"),
]


@pytest.mark.parametrize(("op", "opset", "body"), WRITTEN_OUT)
def test_writes_out(op: str, opset: int, body: str) -> None:
    after, result = check_pass(Expand(ops=(op,)), model_from(f"g (float[n,4] x) => (float[n,?] y) {body}", opset=opset))
    assert op not in ops(after) and "CastLike" not in ops(after)
    assert result.counts == {op: 1}
    assert str(result.remarks[0].reason) == "1 written out"


def test_nothing_named_nothing_done() -> None:
    after, result = check_pass(Expand(), model_from("g (float[n,4] x) => (float[n,4] y) { y = HardSwish(x) }"))
    assert ops(after) == ["HardSwish"] and not result.remarks


def test_others_stay() -> None:
    model = model_from("g (float[n,4] x) => (float[n,4] y) { a = HardSwish(x) y = Softplus(a) }", opset=18)
    after, _ = check_pass(Expand(ops=("HardSwish", "Gelu")), model)
    assert ops(after) == ["HardSigmoid", "Mul", "Softplus"]


def test_several_users_and_an_output_between() -> None:
    text = "g (float[n,4] x) => (float[n,4] a, float[n,4] y) { a = HardSwish(x) b = HardSwish(a) y = Add(a, b) }"
    after, result = check_pass(Expand(ops=("HardSwish",)), model_from(text))
    assert result.counts == {"HardSwish": 2}
    assert sorted(ops(after)) == ["Add", "HardSigmoid", "HardSigmoid", "Mul", "Mul"]


def test_sub_graphs_too() -> None:
    text = (
        "g (float[n,4] x, bool c) => (float[n,4] y) { y = If(c) <then_branch = t () => (float[n,4] a) "
        "{ a = HardSwish(x) }, else_branch = e () => (float[n,4] b) { b = Relu(x) }> }"
    )
    after, result = check_pass(Expand(ops=("HardSwish",)), model_from(text))
    assert result.counts == {"HardSwish": 1}
    body = next(iter(after.graph.nodes[0].subgraphs()))
    assert [node.op for node in body.nodes] == ["HardSigmoid", "Mul"]


def test_names_do_not_clash() -> None:
    """The body's tensors would be called like these."""
    text = "g (float[n,4] x) => (float[n,4] y) { HS_X__1 = Neg(x) HS_X__2 = HardSwish(HS_X__1) y = HardSwish(HS_X__2) }"
    after, _ = check_pass(Expand(ops=("HardSwish",)), model_from(text))
    assert len(ops(after)) == 5


def test_notes_stay() -> None:
    proto = model_from("g (float[n,4] x) => (float[n,4] y) { a = Neg(x) y = HardSwish(a) }").to_proto()
    proto.graph.node[0].doc_string, proto.producer_name = "the other side", "them"
    model = Model.load(proto)
    run_pass(Expand(ops=("HardSwish",)), model)
    after = model.to_proto()
    assert (after.graph.node[0].doc_string, after.producer_name) == ("the other side", "them")


def test_no_body_at_this_opset() -> None:
    after, result = check_pass(Expand(ops=("Relu",)), model_from("g (float[n,4] x) => (float[n,4] y) { y = Relu(x) }"))
    assert ops(after) == ["Relu"]
    assert missed(result) == ["ONNX gives it no body at opset 17"]


def test_left_out_inputs() -> None:
    """Of what is left out the inliner asks for the type too."""
    text = (
        "g (float[1,2,n,4] q, float[1,2,p,4] k, float[1,2,p,4] v) => (float[1,2,n,4] y, float[1,2,t,4] a, "
        "float[1,2,t,4] b) { y, a, b = Attention(q, q, q, , k, v) }"
    )
    after, _ = check_pass(Expand(ops=("Attention",)), model_from(text, opset=23))
    assert "Attention" not in ops(after) and "Softmax" in ops(after)
    assert all(value.name for value in after.to_proto().graph.value_info)


def test_an_inliner_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> onnx.ModelProto:
        raise RuntimeError("out of ideas")

    monkeypatch.setattr("onnx.inliner.inline_selected_functions", failing)
    model = model_from("g (float[n,4] x) => (float[n,4] y) { y = HardSwish(x) }")
    result = run_pass(Expand(ops=("HardSwish",)), model)
    assert ops(model) == ["HardSwish"]
    assert missed(result) == ["ONNX cannot write it out: out of ideas"]


def test_other_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = model_from("g (float[n,4] x) => (float[n,4] y) { y = Neg(x) }").to_proto()
    monkeypatch.setattr("pruna_ir.passes.recognition.expand.expand", lambda proto, op: wrong)
    model = model_from("g (float[n,4] x) => (float[n,4] y) { y = HardSwish(x) }")
    result = run_pass(Expand(ops=("HardSwish",)), model)
    assert ops(model) == ["HardSwish"] and not result.changed
    assert missed(result)[0].startswith("an output would change by ")


def test_what_cannot_be_verified_stays() -> None:
    model = model_from("g (float[6] x, int64[3] s) => (float[1,2,k] y) { a = HardSwish(x) y = Reshape(a, s) }")
    result = run_pass(Expand(ops=("HardSwish",)), model)
    assert ops(model) == ["HardSwish", "Reshape"]
    assert missed(result)[0].startswith("the result cannot be verified: ")


@pytest.mark.parametrize("op", ["Conv", "Gelú", "hardswish"])
def test_operators_without_a_body_are_refused(op: str) -> None:
    with pytest.raises(PrunaError, match="has no body to expand to") as caught:
        Expand(ops=(op,))
    assert caught.value.diagnostic.code == "P004" and "LayerNormalization" in caught.value.diagnostic.help


def test_expandable_operators_are_of_the_standard() -> None:
    assert {"Gelu", "LayerNormalization", "HardSwish"} <= set(expandable())
    assert all(onnx.defs.has(op) for op in expandable())


def test_simplifying_folds_what_bodies_leave() -> None:
    model = model_from("g (float[2,4] x) => (float[2,4] y) { y = Gelu(x) }", opset=20)
    PassManager.parse("expand<ops=Gelu>,fold-constants,fuse,dead-code").run(model)
    assert not {"Cast", "CastLike", "Constant", "Sqrt"} & set(ops(model))
