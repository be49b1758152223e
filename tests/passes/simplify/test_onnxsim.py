"""onnxsim as a pass: what it does, and that nothing it can do wrong gets through."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_text import model_from, weight

from pruna_ir.data import Dataset
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.simplify import onnxsim, onnxsim_process
from pruna_ir.passes.simplify.onnxsim import Onnxsim
from pruna_ir.testing import check_pass, missed, ops, run_pass

CHAIN = """g (float[N,3,4] x) => (float[N,12] y) {
    s = Shape(x) i = Constant <value = int64[1] {0}> () n = Gather(s, i)
    k = Constant <value = int64[1] {12}> () t = Concat <axis: int = 0> (n, k)
    r = Relu(x) f = Reshape(r, t) y = Identity(f)
}"""


def chain() -> Model:
    return model_from(CHAIN)


def test_simplifies() -> None:
    after, result = check_pass(Onnxsim(), chain())
    assert ops(after) == ["Relu", "Reshape"]
    assert result.counts == {"nodes removed": 6}
    assert [str(remark.reason) for remark in result.remarks] == [
        "removed 1 Concat, 2 Constant, 1 Gather, 1 Identity, 1 Shape; added nothing"
    ]


def test_leaves_no_noise_behind() -> None:
    model = chain()
    run_pass(Onnxsim(), model)
    proto = model.to_proto()
    assert list(proto.metadata_props) == []
    assert {node.name for node in proto.graph.node} == {""}
    assert proto.opset_import[0].version == 17
    assert proto.ir_version == 8


def test_keeps_the_notes_of_the_model() -> None:
    proto = chain().to_proto()
    proto.doc_string = "a model"
    proto.metadata_props.add(key="author", value="me")
    proto.graph.node[5].doc_string = "the only activation"
    model = Model.load(proto)
    run_pass(Onnxsim(), model)
    written = model.to_proto()
    assert written.doc_string == "a model"
    assert [(entry.key, entry.value) for entry in written.metadata_props] == [("author", "me")]
    assert written.graph.node[0].doc_string == "the only activation"


def test_keeps_symbolic_dimensions_of_the_interface() -> None:
    model = chain()
    run_pass(Onnxsim(), model)
    assert [str(spec) for spec in (*model.inputs(), *model.outputs())] == ["x: float32[N, 3, 4]", "y: float32[N, 12]"]


def test_says_nothing_where_there_is_nothing_to_do() -> None:
    result = run_pass(Onnxsim(), model_from("g (float[3] x) => (float[3] y) { a = Relu(x) y = Exp(a) }"))
    assert not result.changed
    assert result.remarks == []


@pytest.mark.parametrize(
    "body",
    [
        "c = Conv(x, w) y = Add(c, k)",
        "c = Conv(x, w) y = BatchNormalization(c, one, one, one, one)",
    ],
)
def test_leaves_fusion_to_our_rules(body: str) -> None:
    text = f"g (float[1,3,4,4] x) => (float[1,4,4,4] y) {{ {body} }}"
    model = model_from(text, w=weight(4, 3, 1, 1), k=weight(4, 1, 1), one=np.ones(4, np.float32))
    assert not run_pass(Onnxsim(), model).changed


def test_large_graphs_are_simplified_without_new_shapes() -> None:
    model = chain()
    run_pass(Onnxsim(infer_up_to=0), model)
    assert "Identity" not in ops(model)


def replace_worker(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """Let a script take the place of the worker; `model` is what it got, `answer(model)` gives it back."""
    script = folder / "worker.py"
    lines = [
        "import os, sys, time, onnx",
        "model = onnx.ModelProto.FromString(sys.stdin.buffer.read())",
        "def answer(model): open(sys.argv[2], 'wb').write(model.SerializeToString())",
        body,
    ]
    script.write_text("\n".join(lines))
    monkeypatch.setattr(onnxsim_process, "_WORKER", script)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.abort()", "onnxsim was stopped by signal 6"),
        ("sys.exit(3)", "onnxsim failed: exit code 3"),
        ("raise MemoryError('out of memory')", "onnxsim failed: MemoryError: out of memory"),
        ("time.sleep(60)", "onnxsim did not end within 1 seconds (`timeout`)"),
        ("open(sys.argv[2], 'wb')", "onnxsim returned nothing: its result is above 2 GB"),
        (
            "model.graph.output[0].name = model.graph.node[-1].output[0] = 'z'; answer(model)",
            "onnxsim changed the inputs, the outputs or the operator set",
        ),
        (
            "model.opset_import[0].version = 18; model.graph.node.pop(0); answer(model)",
            "onnxsim changed the inputs, the outputs or the operator set",
        ),
        ("model.graph.node[0].op_type = 'Abs'; answer(model)", "of its range"),
        (
            "model.graph.node[0].op_type = 'No'; answer(model)",
            "the result of onnxsim cannot be verified: ONNX Runtime refuses the model",
        ),
    ],
)
def test_what_goes_wrong_becomes_a_remark(
    body: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replace_worker(monkeypatch, tmp_path, body)
    model = model_from("g (float[6] x) => (float[6] y) { a = Relu(x) y = Neg(a) }")
    result = run_pass(Onnxsim(timeout=1.0 if "sleep" in body else 60.0), model)
    assert len(missed(result)) == 1
    assert reason in missed(result)[0]
    assert not result.changed
    assert ops(model) == ["Relu", "Neg"]


def test_a_larger_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = "n = model.graph.node.add(op_type='Relu', input=['x'], output=['unused']); answer(model)"
    replace_worker(monkeypatch, tmp_path, body)
    result = run_pass(Onnxsim(), model_from("g (float[6] x) => (float[6] y) { y = Relu(x) }"))
    assert len(missed(result)) == 1
    assert missed(result)[0].startswith("onnxsim made the file ")


def test_the_check_uses_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Clip to [-100, 100] is nothing to random inputs, and is found out by a sample that reaches 1000."""
    replace_worker(monkeypatch, tmp_path, "model.graph.node.pop(0); model.graph.node[0].input[0] = 'x'; answer(model)")
    text = "g (float[N,4] x) => (float[N,4] y) { a = Clip(x, low, high) y = Neg(a) }"

    def model() -> Model:
        return model_from(text, low=np.float32(-100), high=np.float32(100))

    assert run_pass(Onnxsim(), model()).changed
    data = Dataset.from_arrays(np.array([[1, 2, 3, 1000]], np.float32))
    assert "of its range" in missed(run_pass(Onnxsim(), model(), data=data))[0]


def test_large_models_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxsim, "PROTOBUF_LIMIT", 100)
    model = model_from("g (float[64] x) => (float[64] y) { y = Add(x, k) }", k=weight(64))
    assert missed(run_pass(Onnxsim(), model)) == ["the model is above 2 GB, which onnxsim cannot hold"]


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PrunaError, match="X001"):
        run_pass(Onnxsim(), chain())


def test_torch_is_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A torch that fails when it is imported does not disturb, and neither does an onnxsim in the working folder."""
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    (tmp_path / "onnxsim.py").write_text("raise SystemExit('the wrong onnxsim')")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    assert run_pass(Onnxsim(), chain()).changed


def test_models_that_want_one_sample_are_verified() -> None:
    """Random inputs of one size for all open dimensions do not fit this model; a batch of one does."""
    body = "s = Constant <value = int64[2] {1, 64}> () r = Reshape(x, s) y = Identity(r)"
    model = model_from(f"g (float[A,B] x) => (float[C,D] y) {{ {body} }}")
    assert run_pass(Onnxsim(), model).changed
    assert ops(model) == ["Reshape"]
