"""raise-opset: up to what is installed, never down, checked against the original."""

from __future__ import annotations

import onnx
import pytest
from onnx_text import model_from, weight

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.model.opset import UNCOMPARABLE, newest_opset
from pruna_ir.passes.simplify.raise_opset import RaiseOpset
from pruna_ir.testing import check_pass, ops, run_pass

MEAN = "g (float[n,4] x) => (float[n,1] y) { y = ReduceMean<axes=[1]>(x) }"


def test_raises() -> None:
    after, result = check_pass(RaiseOpset(to=23), model_from(MEAN))
    assert after.opset == 23
    assert ops(after)[-1] == "ReduceMean" and "axes" not in after.graph.nodes[-1].attrs
    remarks = [str(remark.reason) for remark in result.remarks]
    assert remarks == ["raised from 17 to 23, +1 nodes, checked against the original's outputs"]


def test_without_a_version_to_the_newest() -> None:
    after, _ = check_pass(RaiseOpset(), model_from(MEAN))
    assert after.opset == newest_opset()


def test_there_already() -> None:
    _, result = check_pass(RaiseOpset(to=17), model_from(MEAN))
    assert not result.changed


def test_no_standard_operators_no_version() -> None:
    text = (
        '<ir_version: 8, opset_import: ["com.microsoft": 1]> g (float[2,2] x) => (float[2,2] y) '
        "{ y = com.microsoft.FusedMatMul<alpha=2.0>(x, x) }"
    )
    _, result = check_pass(RaiseOpset(to=23), Model.from_text(text))
    assert not result.changed


@pytest.mark.parametrize(
    ("to", "message"), [(16, "cannot be lowered to 16"), (newest_opset() + 1, "newer than the installed")]
)
def test_refusals(to: int, message: str) -> None:
    with pytest.raises(PrunaError, match=message) as caught:
        run_pass(RaiseOpset(to=to), model_from(MEAN))
    assert caught.value.diagnostic.code == "M011" and caught.value.diagnostic.help


def test_an_operator_without_a_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of an operator that the runtime reads but does not run, as it does some of the newest."""
    broken = model_from(MEAN).to_proto()
    broken.graph.node[0].op_type = "NoSuchKernel"
    monkeypatch.setattr("pruna_ir.model.opset.convert", lambda proto, to: broken)
    with pytest.raises(PrunaError, match="with the opset raised to 23 the model does not run") as caught:
        run_pass(RaiseOpset(to=23), model_from(MEAN))
    assert caught.value.diagnostic.code == "M010"
    assert caught.value.diagnostic.help == "ask for a lower opset"


def test_changed_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_from("g (float[n,4] x) => (float[n,4] y) { y = Relu(x) }")
    wrong = model_from("g (float[n,4] x) => (float[n,4] y) { y = Neg(x) }", opset=23).to_proto()
    monkeypatch.setattr("pruna_ir.model.opset.convert", lambda proto, to: wrong)
    with pytest.raises(PrunaError, match="changed an output by") as caught:
        run_pass(RaiseOpset(to=23), model)
    assert caught.value.diagnostic.code == "M010"
    assert ops(model) == ["Relu"] and model.opset == 17


def test_a_model_that_made_up_inputs_cannot_run_is_raised_unchecked() -> None:
    model = model_from("g (float[6] x, int64[3] s) => (float[1,2,k] y) { y = Reshape(x, s) }")
    result = run_pass(RaiseOpset(to=23), model)
    assert model.opset == 23
    assert str(result.remarks[0].reason).endswith(f"unchecked: {UNCOMPARABLE}")


def test_notes_and_names_stay() -> None:
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17], producer_name: "them", metadata_props: ["a": "b"]> {MEAN}'
    )
    proto.graph.node[0].name = "mean"
    proto.graph.node[0].doc_string = "the mean"
    proto.graph.doc_string = "a graph"
    proto.graph.input[0].doc_string = "an input"
    model = Model.load(proto)
    run_pass(RaiseOpset(to=23), model)
    after = model.to_proto()
    assert (after.producer_name, after.metadata_props[0].value, after.graph.doc_string) == ("them", "b", "a graph")
    assert (after.graph.node[-1].name, after.graph.node[-1].doc_string) == ("mean", "the mean")
    assert after.graph.input == proto.graph.input


def test_bodies_of_control_flow_are_raised_too() -> None:
    text = (
        "g (float[n,4] x, bool c) => (float[?,?] y) { y = If(c) <then_branch = t () => (float[?,?] a) "
        "{ a = ReduceMean<axes=[1]>(x) }, else_branch = e () => (float[?,?] b) { b = Relu(x) }> }"
    )
    after, _ = check_pass(RaiseOpset(to=20), model_from(text))
    (body, _) = after.graph.nodes[-1].subgraphs()
    assert all("axes" not in node.attrs for node in body.nodes)


def test_above_two_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what holds no weights is serialized; the limit is lowered so that a small model stands for a large one."""
    monkeypatch.setattr("pruna_ir.model.external.PROTOBUF_LIMIT", 4096)
    model = model_from(
        "g (float[n,64] x) => (float[n,1] y) { a = MatMul(x, w) y = ReduceMean<axes=[1]>(a) }", w=weight(64, 64)
    )
    run_pass(RaiseOpset(to=23), model)
    assert model.opset == 23
