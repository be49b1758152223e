"""Calibration data as they come: ragged, of several shapes, constant, infinite; all the way through `quantize`."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, samples, small_net, weights

from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.runtime.session import Session

ALL = "quantize<guard=false>"
node = onnx.helper.make_node


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


def quantized(model: Model, data: object) -> tuple[Model, RunResult]:
    after = model.clone()
    result = PassManager.parse(ALL).run(after, data=data)
    return after, result


def missed(result: RunResult) -> list[str]:
    return [str(remark.reason) for remark in result.remarks if remark.kind == "missed"]


def any_size() -> Model:
    """x [n, 3, h, w] -> Conv -> SiLU -> Conv -> GlobalAveragePool -> y."""
    return build(
        [
            conv("c", "x", "w", pads=[1, 1, 1, 1]),
            node("Sigmoid", ["c"], ["s"]),
            node("Mul", ["c", "s"], ["m"]),
            conv("d", "m", "w2"),
            node("GlobalAveragePool", ["d"], ["y"]),
        ],
        {"x": ["n", 3, "h", "w"]},
        ["y"],
        {"w": weights(0, 4, 3, 3, 3), "w2": weights(1, 5, 4, 1, 1)},
    )


def test_samples_of_several_shapes() -> None:
    """Other heights and widths in every sample, as images and sentences have."""
    random = np.random.default_rng(0)
    feeds = [{"x": random.standard_normal((1, 3, 4 + i, 12 - i)).astype(np.float32)} for i in range(8)]
    model, result = quantized(any_size(), feeds)
    assert result.stages[0].counts == {"integer kernels": 4}
    for item in feeds:
        assert sqnr(Session(any_size()).run(item)["y"], Session(model).run(item)["y"]) > 15


def test_ragged_batches() -> None:
    """Batches of 5, 5 and 2 give what single samples give."""
    x = samples(12)
    ragged, _ = quantized(small_net(), [{"x": x[:5]}, {"x": x[5:10]}, {"x": x[10:]}])
    single, _ = quantized(small_net(), x)
    assert ragged.fingerprint() == single.fingerprint()


def test_several_inputs_of_different_ranges() -> None:
    """Each input has its own range, also where only one of them is large."""
    model = build(
        [conv("a", "x", "w"), conv("b", "z", "w"), node("Add", ["a", "b"], ["t"]), conv("y", "t", "w2")],
        {"x": [1, 3, 8, 8], "z": [1, 3, 8, 8]},
        ["y"],
        {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)},
    )
    random = np.random.default_rng(0)
    feeds = [
        {name: (size * random.standard_normal((1, 3, 8, 8))).astype(np.float32) for name, size in (("x", 1), ("z", 20))}
        for _ in range(8)
    ]
    after, result = quantized(model, feeds)
    assert result.stages[0].counts == {"integer kernels": 4}
    scales = {name: float(after.graph.tensors()[f"{name}_scale"].values) for name in ("x", "z")}
    assert 10 < scales["z"] / scales["x"] < 40
    assert sqnr(Session(model).run(feeds[0])["y"], Session(after).run(feeds[0])["y"]) > 25


def test_constant_tensors_are_represented() -> None:
    """A tensor that is 0.25 in every sample: its range holds it, to the last digits that 8 bits have."""
    model = build([conv("c", "x", "w"), conv("y", "c", "w2")], {"x": [1, 3, 8, 8]}, ["y"], two_weights())
    feeds = [{"x": np.full((1, 3, 8, 8), 0.25, np.float32)} for _ in range(3)]
    after, result = quantized(model, feeds)
    assert result.stages[0].counts == {"integer kernels": 2}
    assert sqnr(Session(model).run(feeds[0])["y"], Session(after).run(feeds[0])["y"]) > 25


def two_weights() -> dict[str, np.ndarray]:
    return {"w": weights(0, 4, 3, 1, 1), "w2": weights(1, 4, 4, 1, 1)}


@pytest.mark.parametrize("dead", [[1], [0, 1, 2, 3]], ids=["one", "all"])
def test_all_zero_channels(dead: list[int]) -> None:
    """Channels whose weights are zero: nothing divides by their scale, and the others are as exact as without."""
    constants = two_weights()
    constants["w"][dead] = 0
    model = build([conv("c", "x", "w"), conv("y", "c", "w2")], {"x": [1, 3, 8, 8]}, ["y"], constants)
    after, result = quantized(model, samples(4))
    feeds = {"x": samples(1)}
    wanted, found = Session(model).run(feeds)["y"], Session(after).run(feeds)["y"]
    if len(dead) == 4:
        np.testing.assert_array_equal(found, wanted)
        assert any("`c` is zero in all calibration samples" in reason for reason in missed(result))
    else:
        assert sqnr(wanted, found) > 25
        assert result.stages[0].counts == {"integer kernels": 2}


def attention(minus: float) -> tuple[Model, list[dict[str, np.ndarray]]]:
    """softmax(q k + mask) v, with projections before and after; half of the positions are masked in every sample."""
    model = build(
        [
            node("MatMul", ["x", "wq"], ["q"]),
            node("MatMul", ["x", "wk"], ["k"]),
            node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["a"]),
            node("Greater", ["keep", "zero"], ["kept"]),
            node("Where", ["kept", "zero", "minus"], ["mask"]),
            node("Add", ["a", "mask"], ["masked"], name="masking"),
            node("Softmax", ["masked"], ["p"], axis=-1),
            node("MatMul", ["p", "x"], ["v"]),
            node("MatMul", ["v", "wo"], ["y"]),
        ],
        {"x": [1, 6, 8], "keep": [1, 1, 6]},
        ["y"],
        {name: weights(index, 8, 8) for index, name in enumerate(("wq", "wk", "wo"))}
        | {"zero": np.array(0, np.float32), "minus": np.array(minus, np.float32)},
    )
    random = np.random.default_rng(0)
    keep = (np.arange(6) < 3).astype(np.float32).reshape(1, 1, 6)
    feeds = [{"x": random.standard_normal((1, 6, 8)).astype(np.float32), "keep": keep} for _ in range(8)]
    return model, feeds


@pytest.mark.parametrize("minus", [-np.inf, np.finfo(np.float32).min, -1e9, -1e4], ids=str)
def test_masks_in_attention(minus: float) -> None:
    """As good as infinite stays in float with its Softmax; what can be quantized is, and the numbers hold."""
    model, feeds = attention(minus)
    after, result = quantized(model, feeds)
    counts = result.stages[0].counts
    assert counts.get("integer kernels", 0) >= 2
    if minus < -1e5:
        assert any("as good as infinite" in reason for reason in missed(result))
    wanted, found = (Session(item).run(feeds[0])["y"] for item in (model, after))
    assert np.isfinite(found).all()
    assert sqnr(wanted, found) > 12


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "mse", "entropy", "auto"])
def test_masked_logits_take_no_integers_from_the_others(ranges: str) -> None:
    model, feeds = attention(-1e4)
    PassManager.parse(f"quantize<guard=false;ranges={ranges}>").run(model, data=feeds)
    scale = float(model.graph.tensors()["masked_scale"].values)
    assert scale < 0.3


def test_one_sample() -> None:
    model, result = quantized(small_net(), samples(1))
    assert result.stages[0].counts == {"integer kernels": 6}
    feeds = {"x": samples(1)}
    assert sqnr(Session(small_net()).run(feeds)["y"], Session(model).run(feeds)["y"]) > 20


def test_the_error_behind_silu_decides() -> None:
    """Values that SiLU squashes get few integers: the range is cut on their side, and the output is closer for it."""
    random = np.random.default_rng(0)
    data = random.standard_normal((32, 3, 8, 8)).astype(np.float32)
    data[:, :, ::4] -= 12
    plain = any_size()
    behind, _ = quantized(plain, data)
    bare = build(
        [conv("c", "x", "w", pads=[1, 1, 1, 1]), conv("y", "c", "w2")],
        {"x": ["n", 3, "h", "w"]},
        ["y"],
        {"w": weights(0, 4, 3, 3, 3), "w2": weights(1, 5, 4, 1, 1)},
    )
    alone, _ = quantized(bare, data)
    scales = [float(model.graph.tensors()["c_scale"].values) for model in (behind, alone)]
    assert scales[0] < 0.8 * scales[1]
