from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx_text import model_from
from seeded_passes import change_weights, small_model

from pruna_ir.analysis import accuracy
from pruna_ir.analysis.accuracy import Evaluator
from pruna_ir.data import BoundDataset, Dataset
from pruna_ir.model import Model

GENERATOR = np.random.default_rng(0)
SAMPLES = GENERATOR.standard_normal((40, 4)).astype(np.float32)
SHIFTS = np.arange(1, 5)


def outputs(samples: np.ndarray, shift: int = 0) -> np.ndarray:
    """What `small_model` gives, after `change_weights` was done `shift` times."""
    return np.exp(np.maximum(samples.astype(np.float64) + SHIFTS + shift, 0))


def bound(model: Model, *splits: object, **options: object) -> BoundDataset:
    names = ("calibration", "train", "test")
    given = dict(zip(names, splits, strict=False))
    return Dataset.from_arrays(**given, **options).bind(model.inputs())  # type: ignore[arg-type]


def changed() -> Model:
    model = small_model()
    change_weights(model.graph)
    return model


def test_equal_models_do_not_differ() -> None:
    model = small_model()
    evaluator = Evaluator(bound(model, SAMPLES), model)
    assert evaluator.compare(model.clone()) == (math.inf, 0.0)
    assert evaluator.drop(model) == 0.0


def test_the_difference_is_that_of_the_first_samples() -> None:
    model = small_model()
    sqnr, error = Evaluator(bound(model, SAMPLES), model).compare(changed())
    wanted = outputs(SAMPLES[: accuracy.COMPARED_SAMPLES])
    gap = outputs(SAMPLES[: accuracy.COMPARED_SAMPLES], shift=1) - wanted
    assert sqnr == pytest.approx(10 * np.log10(np.square(wanted).sum() / np.square(gap).sum()), rel=1e-5)
    batches = [slice(at, at + accuracy.BATCH) for at in range(0, accuracy.COMPARED_SAMPLES, accuracy.BATCH)]
    assert error == pytest.approx(max(np.abs(gap[part]).max() / np.ptp(wanted[part]) for part in batches), rel=1e-5)


def test_labels_decide_the_score() -> None:
    model = small_model()
    labels = outputs(SAMPLES).argmax(1)
    labels[:10] = (labels[:10] + 1) % 4
    evaluator = Evaluator(bound(model, (SAMPLES, labels), metric="top1"), model)
    assert evaluator.metric_name == "top1"
    assert evaluator.reference_score == pytest.approx(0.75)
    right = (outputs(SAMPLES, shift=1).argmax(1) == labels).mean()
    assert evaluator.score(changed()) == pytest.approx(right)
    assert evaluator.drop(changed()) == pytest.approx((0.75 - right) / 0.75)


CLASSIFIER = "g (float[n,3] x) => (float[n,3] y) { y = Add(x, b) }"


def classifier(*bias: float) -> Model:
    return model_from(CLASSIFIER, b=np.array(bias, np.float32))


def test_the_drop_of_a_classifier_is_the_one_to_be_expected() -> None:
    samples = np.random.default_rng(1).standard_normal((200, 3)).astype(np.float32)
    labels = np.where(np.arange(200) % 10, samples.argmax(1), samples.argmin(1))
    evaluator = Evaluator(bound(classifier(0, 0, 0), (samples, labels), metric="top1"), classifier(0, 0, 0))
    moved = classifier(0.02, 0, 0)
    assert evaluator.score(moved) == evaluator.reference_score  # nobody changed sides
    drop = evaluator.drop(moved)
    assert 0 < abs(drop) < 0.02
    assert evaluator.acceptable(0.004, 0.005) and not evaluator.acceptable(0.0051, 0.005)  # a sample is 0.0056
    assert evaluator.drop(classifier(5, 0, 0)) > 0.3


def test_few_samples_are_counted_and_one_may_change_sides() -> None:
    samples = np.random.default_rng(1).standard_normal((40, 3)).astype(np.float32)
    evaluator = Evaluator(bound(classifier(0, 0, 0), (samples, samples.argmax(1)), metric="top1"), classifier(0, 0, 0))
    assert evaluator.drop(classifier(0.02, 0, 0)) in (0.0, 0.025)
    assert evaluator.acceptable(0.025, 0.005) and not evaluator.acceptable(0.05, 0.005)


def test_without_labels_the_score_is_agreement_with_the_reference() -> None:
    model = small_model()
    evaluator = Evaluator(bound(model, SAMPLES), model)
    assert evaluator.metric_name == "agreement"
    assert evaluator.reference_score == 1.0
    agreeing = (outputs(SAMPLES, shift=1).argmax(1) == outputs(SAMPLES).argmax(1)).mean()
    assert evaluator.score(changed()) == pytest.approx(agreeing)


def test_a_metric_that_falls_when_things_get_better_is_turned_around() -> None:
    model = small_model()
    evaluator = Evaluator(bound(model, (SAMPLES, outputs(SAMPLES)), metric="mse"), model)
    assert evaluator.score(changed()) > evaluator.reference_score >= 0
    assert evaluator.drop(changed()) > 0


def test_splits_are_weighted_by_their_samples() -> None:
    model = small_model()
    right, wrong = outputs(SAMPLES).argmax(1), (outputs(SAMPLES).argmax(1) + 1) % 4
    data = bound(model, (SAMPLES[:10], right[:10]), (SAMPLES[10:], wrong[10:]), metric="top1")
    assert Evaluator(data, model).score(model) == pytest.approx(0.25)


def test_the_test_split_is_not_opened() -> None:
    model = small_model()

    def opened() -> object:
        pytest.fail("the test split was opened")

    data = bound(model, SAMPLES, None, SAMPLES)
    sources = {**data.dataset.sources, "test": opened}
    evaluator = Evaluator(BoundDataset(Dataset("data", sources), data.inputs), model)  # type: ignore[arg-type]
    evaluator.compare(changed())
    evaluator.drop(changed())


def test_scores_are_taken_over_a_bounded_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "SCORED_SAMPLES", 20)
    model = small_model()
    labels = outputs(SAMPLES).argmax(1)
    labels[20:] = -1  # would all be wrong
    data = bound(model, (SAMPLES, labels), (SAMPLES, labels), metric="top1")
    assert Evaluator(data, model).score(model) == 1.0


MASKED = """
    <ir_version: 8, opset_import: ["" : 17]>
    test (float[N,4] x) => (float[N,4] y) <float[4] b = {0, 0, 0, 0}> { y = Add (x, b) }
"""


def shifted(value: float | np.ndarray) -> Model:
    model = Model.from_text(MASKED)
    model.graph.nodes[0].inputs[1].values = np.broadcast_to(np.float32(value), 4).copy()
    return model


MINUS_INFINITY = np.array([0, 0, 0, -np.inf])


@pytest.mark.parametrize(
    ("reference", "candidate", "sqnr", "error"),
    [
        (MINUS_INFINITY, MINUS_INFINITY, math.inf, 0.0),  # a mask on both sides is no difference
        (0.0, np.nan, -math.inf, math.inf),
        (0.0, np.inf, -math.inf, math.inf),
        (MINUS_INFINITY, 0.0, -math.inf, math.inf),
    ],
)
def test_values_that_are_no_numbers(reference: float, candidate: float, sqnr: float, error: float) -> None:
    model = shifted(reference)
    assert Evaluator(bound(model, SAMPLES), model).compare(shifted(candidate)) == (sqnr, error)


def test_a_difference_beside_a_mask_is_measured() -> None:
    model = shifted(MINUS_INFINITY)
    sqnr, error = Evaluator(bound(model, SAMPLES), model).compare(shifted(MINUS_INFINITY + np.array([1, 0, 0, 0])))
    assert math.isfinite(sqnr)
    assert 0.1 < error < 1


def reshape(model: Model) -> None:
    """Give the output another shape."""
    graph = model.graph
    graph.nodes[-1].op = "ReduceSum"
    graph.nodes[-1].attrs["keepdims"] = 1
    graph.outputs[0].shape = [1, 1]


def test_an_output_that_was_dropped_is_not_compared() -> None:
    def model() -> Model:
        return model_from("g (float[n,4] x) => (float[n,4] y, float[n,4] z) { y = Neg(x) z = Exp(x) }")

    fewer = model()
    del fewer.graph.outputs[1]
    fewer.graph.cleanup()
    assert Evaluator(bound(model(), SAMPLES), model()).compare(fewer) == (math.inf, 0.0)


def rename(model: Model) -> None:
    """Give the output another name."""
    model.graph.outputs[0].name = "z"


@pytest.mark.parametrize("change", [reshape, rename])
def test_an_output_that_is_not_there_differs_infinitely(change: Callable[[Model], None]) -> None:
    model, other = small_model(), small_model()
    change(other)
    assert Evaluator(bound(model, SAMPLES), model).compare(other) == (-math.inf, math.inf)


def test_outputs_that_are_no_floats_count_where_there_are_no_others() -> None:
    def classifier(shift: int) -> Model:
        proto = small_model().to_proto()
        proto.graph.node.append(onnx.helper.make_node("ArgMax", ["y"], ["best"], "best", axis=1, keepdims=0))
        proto.graph.node[0].op_type = "Sub" if shift else "Add"
        proto.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("best", onnx.TensorProto.INT64, ["N"]))
        return Model.load(proto)

    model = classifier(0)
    evaluator = Evaluator(bound(model, SAMPLES), model)
    assert evaluator.compare(classifier(0)) == (math.inf, 0.0)
    assert evaluator.compare(classifier(1))[1] > 0


def skewed() -> Model:
    """`small_model` with weights that make the first class win."""
    model = small_model()
    weights = next(tensor for tensor in model.graph.tensors().values() if isinstance(tensor, gs.Constant))
    weights.values = np.array([9, 0, 0, 0], np.float32)
    return model


class _Counting:
    """A user's metric that notes how many samples it was asked about, and fails on fewer than `least`."""

    def __init__(self, least: int = 0) -> None:
        self.least = least
        self.asked: list[int] = []

    def __call__(self, scores: np.ndarray, labels: np.ndarray) -> float:
        self.asked.append(len(scores))
        if len(scores) < self.least:
            raise ValueError("too few")
        return float((scores.argmax(1) == labels).mean())


def _many(function: _Counting) -> Evaluator:
    model = small_model()
    samples = np.random.default_rng(3).standard_normal((160, 4)).astype(np.float32)
    return Evaluator(bound(model, (samples, outputs(samples).argmax(1)), metric=function), model)


def test_hopeless_model_is_run_on_a_quarter_of_the_samples() -> None:
    metric = _Counting()
    evaluator = _many(metric)
    whole = evaluator.drop(skewed())
    assert whole > 0.1
    metric.asked.clear()
    assert evaluator.drop(skewed(), hopeless=0.05) > 0.05
    assert metric.asked == [48]  # the first whole batches that hold a quarter
    metric.asked.clear()
    assert evaluator.drop(skewed(), hopeless=2.0) == whole
    assert metric.asked == [48, 160]


def test_metric_that_has_no_value_for_a_quarter_is_asked_at_the_end() -> None:
    evaluator = _many(_Counting(least=100))
    assert evaluator.drop(skewed(), hopeless=0.0) == evaluator.drop(skewed()) > 0


def test_score_that_is_no_number_is_the_worst_drop() -> None:
    scores = iter([1.0, math.nan])
    model = small_model()
    evaluator = Evaluator(bound(model, SAMPLES, metric=lambda *_: next(scores)), model)
    assert evaluator.drop(changed()) == math.inf


def test_metric_on_which_the_reference_scores_nothing_gives_way_to_agreement() -> None:
    """Labels that are not the model's (shifted by one, say) would let every model pass."""
    model = small_model()
    wrong = (outputs(SAMPLES).argmax(1) + 1) % 4
    evaluator = Evaluator(bound(model, (SAMPLES, wrong), metric="top1"), model)
    assert evaluator.reference_score == 1.0
    assert evaluator.metric_name == "agreement"
    assert evaluator.drop(skewed()) > 0.1
