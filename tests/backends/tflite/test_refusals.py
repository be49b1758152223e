"""What cannot be written: all of it at once, with the reasons, and what to do."""

from __future__ import annotations

import onnx_graphsurgeon as gs
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import program
from onnx_text import model_from, weight

from pruna_ir.backends.refusals import refusal
from pruna_ir.backends.tflite.table import table
from pruna_ir.diagnostics import PrunaError


def test_all_at_once() -> None:
    text = """g (float[4,4] x, bool c) => (float[4,4] y, float[4,4] u, int64[2,k] n) {
        y = If(c) <
            then_branch = a () => (float[4,4] p) { p = Relu(x) },
            else_branch = b () => (float[4,4] q) { q = Neg(x) }
        >
        u = Det(x)
        n = NonZero(x)
    }""".replace("float[4,4] u", "float u")
    with pytest.raises(PrunaError) as failure:
        program(model_from(text))
    found = failure.value.diagnostic
    assert found.code == "E004"
    assert found.message == "3 operators cannot be written for LiteRT"
    assert [note.split(": ", 1)[1] for note in found.notes] == [
        "control flow is not written; what decides must be a constant: `simplify` then takes the branch, or writes "
        "the loop out",
        "LiteRT has no operator for Det",
        "how large its result is depends on the values, and a file has fixed shapes; end the model before it, and do "
        "the rest in the application",
    ]


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ("Loop", "control flow is not written"),
        ("SequenceConstruct", "it works on sequences of tensors"),
        ("StringSplit", "it works on text"),
        ("RandomNormal", "its results are random"),
        ("com.acme.Frobnicate", "Frobnicate of the domain `com.acme` is not known"),
        ("Det", "LiteRT has no operator for Det"),
    ],
)
def test_reasons(op: str, reason: str) -> None:
    assert op not in table()
    domain, _, name = op.rpartition(".")
    assert refusal(gs.Node(name, domain=domain or None), "LiteRT").reason == reason


def test_why_it_is_not_written_out() -> None:
    text = "g (float[1001,1,3] x) => (float[1001,1,1,4] y) { y = RNN<hidden_size=4>(x, w, r) }"
    with pytest.raises(PrunaError) as failure:
        program(model_from(text, w=weight(1, 4, 3), r=weight(1, 4, 4)))
    (note,) = failure.value.diagnostic.notes
    reason = "1001 steps, and at most 1000 are written out"
    assert note.endswith(f"LiteRT has no operator for RNN, and it cannot be written in others: {reason}")
