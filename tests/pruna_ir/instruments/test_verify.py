from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx_graphsurgeon as gs
import pytest
import seeded_passes as seeded
from seeded_passes import Seeded, small_model

from pruna_ir.diagnostics import Diagnostic, PrunaError
from pruna_ir.instruments.verify import VerifyEach, type_contradictions, verify
from pruna_ir.model import Model, external
from pruna_ir.pipeline.manager import PassManager


def failure(change: Callable[[gs.Graph], object], *, says: bool = True, debug: bool = False) -> Diagnostic:
    with pytest.raises(PrunaError) as caught:
        PassManager([Seeded(seeded.nothing, says=False), Seeded(change, says)]).run(
            small_model(), instruments=[VerifyEach(debug)]
        )
    return caught.value.diagnostic


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (seeded.invalid_attribute, "onnx.checker refuses the model: Unrecognized attribute: slope"),
        (seeded.unknown_operator, "ONNX Runtime refuses the model: "),
        (seeded.wrong_type, "`r` is stated to be float[N,5], but is float[N,4]"),
    ],
)
def test_what_only_the_full_checks_see_is_found_after_the_pass(
    change: Callable[[gs.Graph], object], message: str
) -> None:
    PassManager([Seeded(change)]).run(small_model())  # the invariants do not see it
    diagnostic = failure(change)
    assert (diagnostic.code, diagnostic.place) == ("P008", "seeded")
    assert diagnostic.message.startswith(message)
    assert "bug in the pass" in diagnostic.help


@pytest.mark.parametrize(
    ("change", "says", "message"),
    [
        (seeded.change_weights, False, "`seeded` said that it changed nothing, but it changed something"),
        (seeded.nothing, True, "`seeded` said that it changed something, but it changed nothing"),
    ],
)
def test_a_lie_about_changes_is_found(change: Callable[[gs.Graph], object], says: bool, message: str) -> None:
    PassManager([Seeded(change, says)]).run(small_model(), instruments=[VerifyEach()])
    diagnostic = failure(change, says=says, debug=True)
    assert (diagnostic.code, diagnostic.place, diagnostic.message) == ("P009", "seeded", message)


def test_honest_passes_are_left_alone() -> None:
    passes = [Seeded(seeded.change_weights), Seeded(seeded.nothing, says=False), Seeded(seeded.change_weights)]
    assert PassManager(passes).run(small_model(), instruments=[VerifyEach(debug=True)]).changed


@pytest.mark.parametrize(
    "change", [seeded.unsort, seeded.invalid_attribute, seeded.unknown_operator, seeded.wrong_type]
)
def test_the_end_of_a_pipeline_is_verified(change: Callable[[gs.Graph], object]) -> None:
    model = small_model()
    verify(model)
    change(model.graph)
    with pytest.raises(PrunaError) as caught:
        verify(model)
    assert caught.value.diagnostic.code == "P008"


def test_a_model_too_large_for_a_protobuf_is_verified_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "PROTOBUF_LIMIT", 8)
    model = small_model()
    verify(model)
    seeded.invalid_attribute(model.graph)
    with pytest.raises(PrunaError, match="Unrecognized attribute"):
        verify(model)


@pytest.mark.parametrize(
    ("stated", "contradictions"),
    [
        ("float[N,4] r", []),
        ("float[M,K] r", []),  # a name says nothing that could be wrong
        ("float r", ["`r` is stated to be float[], but is float[N,4]"]),
        ("float[N,4,1] r", ["`r` is stated to be float[N,4,1], but is float[N,4]"]),
        ("int32[N,4] r", ["`r` is stated to be int32[N,4], but is float[N,4]"]),
    ],
)
def test_only_certain_contradictions_of_types_count(stated: str, contradictions: list[str]) -> None:
    proto = small_model().to_proto()
    del proto.graph.value_info[:]
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[N,4] r0) => (float[N,4] y) <{stated}> {{ y = Exp (r0) }}'
    proto.graph.value_info.extend(onnx.parser.parse_model(text).graph.value_info)
    assert type_contradictions(proto) == contradictions


def test_types_inside_of_sub_graphs_are_compared() -> None:
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        test (bool c, float[2] x) => (float[2] y) {
            y = If (c) <
                then_branch = a () => (float[2] t) { u = Neg (x)  t = Neg (u) },
                else_branch = b () => (float[2] e) { e = Identity (x) }
            >
        }
        """
    )
    verify(model)
    body = model.graph.nodes[0].attrs["then_branch"]
    body.nodes[0].outputs[0].shape = [3]
    with pytest.raises(PrunaError, match=r"`u` is stated to be float\[3\], but is float\[2\]"):
        verify(model)
