"""Outputs of the model that nobody needs."""

from __future__ import annotations

import pytest
from onnx_text import model_from, weight

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.simplify.drop_outputs import DropOutputs
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session
from pruna_ir.testing import check_text, ops, run_pass


def heads() -> Model:
    return model_from(
        "g (float[n,4] x) => (float[n,4] a, float[n,4] y, float[n,4] z) { a = Exp(x) b = Neg(a) y = Sin(b) z = Cos(x) }"
    )


def test_removes_what_only_they_needed() -> None:
    before, after = heads(), heads()
    result = run_pass(DropOutputs(names=("z", "a")), after)
    assert [spec.name for spec in after.outputs()] == ["y"]
    assert ops(after) == ["Exp", "Neg", "Sin"]
    assert result.counts == {"nodes removed": 1, "outputs removed": 2}
    feeds = {"x": weight(2, 4)}
    assert (Session(after).run(feeds)["y"] == Session(before).run(feeds)["y"]).all()


def test_order_stays() -> None:
    after = heads()
    run_pass(DropOutputs(names=("y",)), after)
    assert [spec.name for spec in after.outputs()] == ["a", "z"]
    assert ops(after) == ["Exp", "Cos"]


def test_no_names_change_nothing() -> None:
    assert not run_pass(DropOutputs(), heads()).changed


def test_as_text() -> None:
    after = heads()
    PassManager.parse("drop-outputs<names=[a,z]>").run(after)
    assert [spec.name for spec in after.outputs()] == ["y"]
    check_text(DropOutputs(names=("a", "z")))


@pytest.mark.parametrize(
    ("names", "message", "help_text"),
    [
        (("yy",), "`yy` is no output of the model", "`y`"),
        (("quite different",), "`quite different` is no output of the model", "known: a, y, z"),
        (("a", "y", "z"), "the model would have no output left", ""),
    ],
)
def test_what_cannot_be_removed(names: tuple[str, ...], message: str, help_text: str) -> None:
    with pytest.raises(PrunaError) as caught:
        run_pass(DropOutputs(names=names), heads())
    assert caught.value.diagnostic.code == "P004"
    assert caught.value.diagnostic.message == message
    assert help_text in caught.value.diagnostic.help
