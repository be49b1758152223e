"""Collecting: the same as capturing everything and looking at it, whatever the workers and the rounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from pruna_ir.calibration import Record, Statistics, collect, fingerprints
from pruna_ir.calibration.collect import phase_of
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.runtime import Session, capture

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 8, 8] x, int64[N] length) => (float[N, 4, 8, 8] y, int64[N] twice)
<float[4] b = {0.1, -0.2, 0.3, 0.4}>
{
    conv = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    relu = Relu (conv)
    sigmoid = Sigmoid (relu)
    y = Mul (relu, sigmoid)
    twice = Add (length, length)
}
"""


@pytest.fixture
def proto(generator: np.random.Generator) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(TEXT)
    weights = generator.standard_normal((4, 3, 3, 3), np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    return proto


@pytest.fixture
def batches(generator: np.random.Generator) -> list[dict[str, np.ndarray]]:
    return [
        {"x": generator.standard_normal((size, 3, 8, 8), np.float32), "length": np.arange(size)}
        for size in (2, 2, 1, 2, 2)  # the last batch of a data set is often smaller, and here not even the last
    ]


def expected(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    values: dict[str, list[np.ndarray]] = {"x": [feeds["x"].reshape(-1) for feeds in batches]}

    def receive(_: int, captured: dict[str, np.ndarray]) -> None:
        for name, value in captured.items():
            values.setdefault(name, []).append(value.reshape(-1))

    capture(proto, batches, ["conv", "relu", "sigmoid", "y"], receive, optimize=False)
    return {name: np.concatenate(parts) for name, parts in values.items()}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("limit", [1 << 30, 1])
def test_statistics_are_those_of_the_plain_model(
    proto: onnx.ModelProto,
    batches: list[dict[str, np.ndarray]],
    threads: int,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(collect.__globals__, "DEFAULT_LIMIT", limit)
    statistics = collect(proto, iter(batches), threads=threads)
    values = expected(proto, batches)
    assert list(statistics) == ["x", "conv", "relu", "sigmoid", "y"]
    assert statistics.samples == 9
    for name, array in values.items():
        record = statistics[name]
        assert record.count == record.sampled == array.size
        np.testing.assert_allclose([record.minimum, record.maximum], [array.min(), array.max()], atol=1e-6)
        # float noise may move a value over the edge of its bucket
        difference = np.abs(record.histogram - Record.of(array).histogram).sum()
        assert difference <= 0.02 * array.size


def test_the_result_does_not_depend_on_the_threads(
    proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]
) -> None:
    one, four = (collect(proto, batches, threads=threads, per_channel={"y": 1}) for threads in (1, 4))
    assert one == four


def test_parts_merge_to_the_whole(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> None:
    whole = collect(proto, batches, per_channel=["conv", "x"])
    parts = collect(proto, batches[:2], per_channel=["conv", "x"]).merge(
        collect(proto, batches[2:], per_channel=["conv", "x"])
    )
    assert dict(whole) == dict(parts)
    assert whole.samples == parts.samples


def test_only_what_is_asked_for(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> None:
    statistics = collect(proto, batches, ["relu", "x"], per_channel={"relu": 1})
    assert list(statistics) == ["relu", "x"]
    channels = statistics["relu"].channels
    assert channels is not None
    assert channels.minimum.shape == (4,)
    assert channels.maximum.max() == statistics["relu"].maximum
    assert statistics["x"].channels is None
    assert list(collect(proto, batches, ["x"])) == ["x"]


def test_records_carry_fingerprints(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> None:
    model = Model.load(proto)
    statistics = collect(model, batches)
    known = fingerprints(model)
    assert {name: record.fingerprint for name, record in statistics.items()} == {
        name: known[name] for name in statistics
    }
    assert not statistics.for_model(known).refused


def test_progress_counts_batches(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> None:
    calls: list[int] = []
    collect(proto, batches, threads=2, progress=calls.append)
    assert calls == [1, 2, 3, 4, 5]


def test_no_sample(proto: onnx.ModelProto) -> None:
    with pytest.raises(PrunaError) as failure:
        collect(proto, [])
    assert failure.value.diagnostic.code == "D005"


def test_an_unknown_tensor(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> None:
    with pytest.raises(PrunaError, match="no tensor `nothing`") as failure:
        collect(proto, batches, ["nothing"])
    assert failure.value.diagnostic.code == "P004"


def test_a_bad_batch_stops_every_worker(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> None:
    drawn = []

    def stream() -> Iterator[dict[str, np.ndarray]]:
        for index in range(1000):
            drawn.append(index)
            yield {"x": np.zeros((1, 2), np.float32)} if index == 3 else batches[0]

    with pytest.raises(PrunaError) as failure:
        collect(proto, stream(), threads=2)
    assert failure.value.diagnostic.code == "D003"
    assert len(drawn) < 900


def test_a_failing_iterable_is_not_swallowed(proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]]) -> None:
    def stream() -> Iterator[dict[str, np.ndarray]]:
        yield batches[0]
        raise RuntimeError("the loader broke")

    with pytest.raises(RuntimeError, match="the loader broke"):
        collect(proto, stream())


@pytest.mark.parametrize("name", ["kws_dscnn", "mobilenetv1_025_imagenet"])
def test_a_trained_model(shared: Path, generator: np.random.Generator, name: str) -> None:
    model = Model.load(shared / "models" / f"{name}.onnx")
    spec = Session(model).inputs[0]
    shape = [dim if isinstance(dim, int) else 1 for dim in spec.shape]
    batches = [{spec.name: generator.standard_normal(shape, np.float32)} for _ in range(3)]
    statistics = collect(model, batches)
    inner = [name for name in statistics if name != spec.name]
    low: dict[str, float] = {}
    high: dict[str, float] = {}

    def receive(_: int, values: dict[str, np.ndarray]) -> None:
        for name, value in values.items():
            low[name] = min(low.get(name, np.inf), float(value.min()))
            high[name] = max(high.get(name, -np.inf), float(value.max()))

    capture(model, batches, inner, receive, optimize=False)
    for name in inner:
        record = statistics[name]
        noise = 1e-5 * max(abs(low[name]), abs(high[name]))
        assert abs(record.minimum - low[name]) <= noise
        assert abs(record.maximum - high[name]) <= noise


def test_four_passes_over_a_quarter_are_one_over_all(
    proto: onnx.ModelProto, generator: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, with histograms that see one value in some: which ones must not depend on a batch's place."""
    monkeypatch.setitem(collect.__globals__, "SAMPLED_VALUES", 32)
    batches: list[dict[str, np.ndarray]] = [
        {"x": generator.standard_normal((8, 3, 8, 8), np.float32), "length": np.arange(8)} for _ in range(512 // 8)
    ]
    whole = collect(proto, batches, per_channel=["y"])
    assert whole.samples == 512
    assert all(record.stride > 2 for record in whole.values())
    quarters = [collect(proto, batches[first : first + 16], per_channel=["y"]) for first in range(0, 64, 16)]
    merged = quarters[2].merge(quarters[0]).merge(quarters[3].merge(quarters[1]))
    assert merged.samples == 512
    assert dict(merged) == dict(whole)


def test_batches_are_sampled_at_different_places(proto: onnx.ModelProto, generator: np.random.Generator) -> None:
    phases = {phase_of({"x": generator.standard_normal((1, 3, 8, 8), np.float32)}) % 97 for _ in range(50)}
    assert len(phases) > 25
    same = {"x": np.ones((2, 3), np.float32), "name": np.array(["a"], object)}
    assert phase_of(same) == phase_of(dict(reversed(same.items())))


def test_constants_are_exact_and_count_once(
    proto: onnx.ModelProto, batches: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    weights = onnx.numpy_helper.to_array(next(t for t in proto.graph.initializer if t.name == "w"))
    parts = [collect(proto, batches[cut], ["w", "y"], per_channel={"w": 0}) for cut in (slice(2), slice(2, None))]
    merged = parts[0].merge(parts[1])
    record = merged["w"]
    assert record.constant and not merged["y"].constant
    assert record.count == record.sampled == weights.size
    assert (record.minimum, record.maximum) == (weights.min(), weights.max())
    assert record.channels is not None
    np.testing.assert_array_equal(record.channels.maximum, weights.max(axis=(1, 2, 3)))
    assert merged == collect(proto, batches, ["w", "y"], per_channel={"w": 0})
    merged.save(tmp_path / "s.npz")
    assert Statistics.load(tmp_path / "s.npz")["w"] == record
    assert list(merged.for_model(fingerprints(proto))) == ["w", "y"]
