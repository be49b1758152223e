"""The promises that every pass makes, checked on a model: for our own tests, and for packages that bring passes.

from pruna_ir.testing import check_pass

def test_my_rule() -> None:
    model = Model.from_text("<ir_version: 8, opset_import: ['' : 17]> ...")
    after, result = check_pass(MyRule(), model)
    assert result.counts == {"my-rule": 1}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import onnx

from pruna_ir import registry
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.pipeline.context import Context, Steps
from pruna_ir.pipeline.grammar import parse_pipeline
from pruna_ir.pipeline.options import read_options
from pruna_ir.pipeline.pass_base import Effect, Pass, PassResult
from pruna_ir.remarks import RemarkKind
from pruna_ir.runtime.session import Session
from pruna_ir.targets import Target

TOLERANCE = 1e-5
_TARGET = "ort-cpu"

Feeds = Mapping[str, np.ndarray]


def run_pass(
    item: Pass,
    model: Model,
    *,
    data: Dataset | None = None,
    steps: Steps | None = None,
    target: Target | None = None,
) -> PassResult:
    """Run one pass over a model, which it changes, and check the invariants of the IR (P008)."""
    context = Context(
        reference=model.clone(),
        target=target or registry.target(_TARGET),
        data=None if data is None else data.bind(model.inputs()),
        steps=steps or Steps(),
    )
    result = item.run(model, context)
    model.check(item.name)
    return result


def check_pass(
    item: Pass,
    model: Model,
    *,
    feeds: Feeds | None = None,
    data: Dataset | None = None,
    tolerance: float = TOLERANCE,
    target: Target | None = None,
) -> tuple[Model, PassResult]:
    """Run a pass over a copy of `model` and check what it promises; the copy, and what the pass said.

    Raises AssertionError if the pass lies about having changed the model, breaks an invariant, leaves a graph that
    onnx.checker or ONNX Runtime refuses, changes inputs or outputs, is not repeatable, or does something again when
    it runs a second time; a pass that calls itself exact, also if an output differs by more than `tolerance` of its
    range. `feeds` are the inputs to compare on, random ones by default; `target` is `ort-cpu` by
    default.
    """
    check_text(item)
    after, again = model.clone(), model.clone()
    result = run_pass(item, after, data=data, target=target)
    same = after.fingerprint() == model.fingerprint()
    assert result.changed != same, f"says changed={result.changed}, but the model is {'the same' if same else 'not'}"
    run_pass(item, again, data=data, target=target)
    assert after.fingerprint() == again.fingerprint(), "two runs on equal models give different models"
    onnx.checker.check_model(after.to_proto())
    if item.effect is not Effect.STRUCTURAL:
        assert _interface(after) == _interface(model), f"{_interface(model)} became {_interface(after)}"
    if item.effect is Effect.EXACT:
        difference = largest_difference(model, after, feeds)
        assert difference <= tolerance, f"an output differs by {difference:.1e} of its range"
    second = run_pass(item, again, data=data, target=target)
    assert not second.changed, f"does more in a second run: {second.counts}"
    return after, result


def check_text(item: Pass) -> None:
    """Check that the pass prints to text that reads back as the same pass."""
    text = str(item)
    (element,) = parse_pipeline(text)
    read = type(item)(**read_options(type(item), element, text, "test"))
    assert all(getattr(read, field.name) == getattr(item, field.name) for field in fields(item)), text


def largest_difference(before: Model, after: Model, feeds: Feeds | None = None) -> float:
    """Largest difference of the outputs of two models, relative to their ranges, ONNX Runtime's optimizations off."""
    reference, candidate = Session(before, optimize=False), Session(after, optimize=False)
    if feeds is None:
        feeds, expected = runnable_feeds(reference.run, reference.inputs)
    else:
        expected = reference.run(feeds)
    return relative_error(expected, candidate.run(feeds))


def missed(result: PassResult) -> list[str]:
    """The reasons that a pass gave for what it did not do, as text."""
    return [str(remark.reason) for remark in result.remarks if remark.kind is RemarkKind.MISSED]


def ops(model: Model) -> list[str]:
    """The operators of the outermost graph, in order."""
    return [node.op for node in model.graph.nodes]


def _interface(model: Model) -> tuple[list[str], list[str]]:
    return [str(spec) for spec in model.inputs()], [str(spec) for spec in model.outputs()]
