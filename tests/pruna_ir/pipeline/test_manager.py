from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs
import pytest
import seeded_passes as seeded
from seeded_passes import Seeded, small_model

from pruna_ir.diagnostics import PrunaError
from pruna_ir.instruments.base import Instrument
from pruna_ir.model import Model
from pruna_ir.passes.simplify.dead_code import DeadCode
from pruna_ir.pipeline.context import Context, Steps
from pruna_ir.pipeline.manager import PassManager, Stage
from pruna_ir.pipeline.pass_base import Pass, PassResult
from pruna_ir.remarks import RemarkKind

BROKEN: list[tuple[Callable[[gs.Graph], object], str]] = [
    (seeded.unsort, "`exp` (Exp) stands before the node that writes `r`"),
    (seeded.forget_type, "`r`, written by `relu` (Relu), has no type"),
    (seeded.forget_shape, "`r`, written by `relu` (Relu), has no shape"),
    (seeded.drop_writer, "`exp` (Exp) reads `r`, which nothing writes"),
    (seeded.dangle, "`exp` (Exp) reads `nowhere`, which nothing writes"),
    (seeded.drop_output, "nothing writes the output `y`"),
    (seeded.clash, "two tensors are named `r`"),
    (seeded.write_twice, "`r` is written twice"),
    (seeded.write_constant, "`relu` (Relu) writes the constant `k`"),
    (seeded.write_input, "`x` is written twice"),
    (seeded.forget_input_type, "the input `x` has no type"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_broken_invariant_names_the_pass(change: Callable[[gs.Graph], object], message: str) -> None:
    with pytest.raises(PrunaError) as caught:
        PassManager([Seeded(change)]).run(small_model())
    diagnostic = caught.value.diagnostic
    assert (diagnostic.code, diagnostic.place, diagnostic.message) == ("P008", "seeded", message)


def test_writing_into_shared_constants_fails() -> None:
    """The run keeps a clone for reference, so the arrays are read-only."""
    model = small_model()
    before = model.graph.nodes[0].inputs[1].values.copy()
    with pytest.raises(PrunaError, match="read-only") as caught:
        PassManager([Seeded(seeded.write_into_weights)]).run(model)
    assert caught.value.diagnostic.code == "P007"
    np.testing.assert_array_equal(model.graph.nodes[0].inputs[1].values, before)


def test_a_failing_pass_is_named_without_a_traceback() -> None:
    with pytest.raises(PrunaError) as caught:
        PassManager([Seeded(seeded.fail)]).run(small_model())
    diagnostic = caught.value.diagnostic
    assert (diagnostic.code, diagnostic.message) == ("P007", "`seeded` failed: KeyError: 'oops'")
    assert isinstance(caught.value.__cause__, KeyError)


class Recorder(Instrument):
    """Writes down which hook is called when."""

    def __init__(self, skipped: str = "") -> None:
        self.calls: list[str] = []
        self._skipped = skipped

    def start(self, model: Model, context: Context) -> None:
        self.calls.append("start")

    def should_run(self, item: Pass, index: int) -> bool:
        return item.name != self._skipped

    def before(self, item: Pass, index: int, model: Model, context: Context) -> None:
        self.calls.append(f"before {index} {item.name}")

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        self.calls.append(f"after {index} {stage.changed}")

    def failed(self, item: Pass, index: int, failure: Exception) -> None:
        self.calls.append(f"failed {index} {type(failure).__name__}")

    def finish(self, model: Model, context: Context) -> None:
        self.calls.append("finish")


def test_instruments_see_every_pass() -> None:
    recorder = Recorder()
    result = PassManager.parse("dead-code,fuse").run(small_model(), instruments=[recorder])
    assert recorder.calls == [
        "start",
        "before 0 dead-code",
        "after 0 False",
        "before 1 fuse",
        "after 1 False",
        "finish",
    ]
    assert [stage.text for stage in result.stages] == ["dead-code", "fuse"]
    assert not result.changed


def test_every_instrument_hears_of_a_failure() -> None:
    recorders = [Recorder(), Recorder()]
    with pytest.raises(PrunaError):
        PassManager([Seeded(seeded.fail)]).run(small_model(), instruments=recorders)
    for recorder in recorders:
        assert recorder.calls == ["start", "before 0 seeded", "failed 0 KeyError"]


def test_any_instrument_can_skip_a_pass() -> None:
    recorders = [Recorder(), Recorder("fuse")]
    result = PassManager.parse("dead-code,fuse").run(small_model(), instruments=recorders)
    assert [stage.text for stage in result.stages] == ["dead-code"]


def test_steps_limit_the_passes() -> None:
    model, steps = small_model(), Steps(limit=1)
    change = Seeded(seeded.change_weights)
    result = PassManager([change, change, change]).run(model, steps=steps)
    assert steps.taken == ["seeded"]
    assert [stage.changed for stage in result.stages] == [True, False, False]
    np.testing.assert_array_equal(model.graph.nodes[0].inputs[1].values, [2, 3, 4, 5])


CONVS = """
    <ir_version: 8, opset_import: ["" : 17]>
    test (float[1,1,4,4] x) => (float[1,1,4,4] y)
    <float[1,1,1,1] w = {2}, float[1] one = {1}, float[1] zero = {0}> {
        [c0] t0 = Conv (x, w)
        [b0] t1 = BatchNormalization (t0, one, zero, zero, one)
        [c1] t2 = Conv (t1, w)
        [b1] y = BatchNormalization (t2, one, zero, zero, one)
    }
"""


@pytest.mark.parametrize(("limit", "nodes"), [(0, 4), (1, 3), (2, 2), (None, 2)])
def test_every_application_of_a_rule_is_a_step(limit: int | None, nodes: int) -> None:
    model, steps = Model.from_text(CONVS), Steps(limit)
    PassManager.parse("fuse<only=[fuse-conv-bn]>").run(model, steps=steps)
    assert len(model.graph.nodes) == nodes
    assert steps.taken == ["fuse-conv-bn at `b0`", "fuse-conv-bn at `b1`"][: limit if limit is not None else 2]


def test_a_graph_is_copied_and_a_model_is_changed_in_place() -> None:
    model = Model.from_text(CONVS)
    graph = model.graph
    result = PassManager.parse("fuse<only=[fuse-conv-bn]>").run(graph)
    assert (len(graph.nodes), len(result.graph.nodes)) == (4, 2)
    assert PassManager.parse("fuse<only=[fuse-conv-bn]>").run(model).model is model
    assert len(model.graph.nodes) == 2


def test_missing_data_is_known_before_any_work() -> None:
    recorder = Recorder()
    with pytest.raises(PrunaError) as caught:
        PassManager.parse("dead-code,quantize").run(small_model(), instruments=[recorder])
    assert caught.value.diagnostic.code == "P006"
    assert recorder.calls == []


def test_what_was_done_at_load_becomes_a_remark() -> None:
    model = Model.from_text(
        """
        <ir_version: 8, opset_import: ["" : 11]>
        test (float[N,4] x) => (float[N,4] y) { y = Softmax <axis = 1> (x) }
        """
    )
    (remark,) = PassManager([]).run(model).remarks
    assert (remark.kind, remark.pass_name) == (RemarkKind.ANALYSIS, "load")
    assert "opset raised from 11 to 13" in str(remark)


def test_text_is_canonical() -> None:
    assert PassManager.parse(" fuse , quantize<samples=8;guard=true>").text == "fuse,quantize<samples=8>"


def test_a_pass_that_did_nothing_runs_again_only_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    original = DeadCode.run

    def run(self: DeadCode, model: Model, context: Context) -> PassResult:
        runs.append(self.name)
        return original(self, model, context)

    monkeypatch.setattr(DeadCode, "run", run)
    model = Model.from_text(CONVS)
    result = PassManager.parse("dead-code,dead-code,fuse-conv-bn,dead-code,dead-code").run(model)
    assert [stage.changed for stage in result.stages] == [False, False, True, False, False]
    assert len(runs) == 2
