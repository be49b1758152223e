"""recognize-rotary: the form that exporters write, and each reason not to fire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize_rotary import RecognizeRotary
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, missed, ops

HEADS, SIZE = 2, 8
FOUR = f"float[b,{HEADS},t,{SIZE}] x"
ANGLES = f"float[b,t,{SIZE // 2}] f"
PAIRED = "ff = Concat<axis=-1>(f, f) c = Cos(ff) s = Sin(ff) cos = Unsqueeze(c, one) sin = Unsqueeze(s, one) "
TURNED = "upper = Slice(x, half, end, last) lower = Slice(x, zero, half, last) n = Neg(upper) "
TURNED += "turned = Concat<axis=-1>(n, lower) "
ADDED = "p = Mul(x, cos) q = Mul(turned, sin) y = Add(p, q) "
CONSTANTS = {
    "one": np.array([1]),
    "zero": np.array([0]),
    "half": np.array([SIZE // 2]),
    "end": np.array([2**63 - 1]),
    "last": np.array([3]),
    "split": np.array([0, 0, HEADS, SIZE]),
}


def rotary(
    *parts: str, inputs: str = f"{FOUR}, {ANGLES}", outputs: str = "float[?,?,?,?] y", opset: int = 23, **more: Any
) -> Model:
    """A model of the given parts."""
    body = "".join(parts) or PAIRED + TURNED + ADDED
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    constants = {name: value for name, value in {**CONSTANTS, **more}.items() if name in words}
    return model_from(f"g ({inputs}) => ({outputs}) {{ {body} }}", opset=opset, **constants)


def fires(model: Model) -> list[str]:
    """Checks that the rule fires; the operators that come out."""
    after, result = check_pass(RecognizeRotary(), model)
    assert result.counts == {"recognize-rotary": 1}, missed(result)
    return ops(after)


def stays(model: Model) -> str:
    """Checks that the rule leaves a model alone, and why."""
    after, result = check_pass(RecognizeRotary(), model)
    assert "RotaryEmbedding" not in ops(after)
    (reason,) = missed(result)
    return reason


def paired(*shape: int) -> np.ndarray:
    """Constants with equal halves."""
    half = np.random.default_rng(len(shape)).standard_normal((*shape, SIZE // 2)).astype(np.float32)
    return np.concatenate([half, half], -1)


SHARED = ["Concat", "Cos", "Sin", "Unsqueeze", "Unsqueeze"]
HALVED = ["Slice", "Squeeze", "Slice", "Squeeze"]


def test_heads_before_tokens() -> None:
    assert fires(rotary())[5:] == [
        "Slice", "Squeeze", "Shape", "Concat", "Expand",
        "Slice", "Squeeze", "Shape", "Concat", "Expand", "RotaryEmbedding",
    ]  # fmt: skip


def test_sizes_that_are_known() -> None:
    model = rotary(inputs=f"float[3,{HEADS},5,{SIZE}] x, float[3,5,{SIZE // 2}] f")
    assert fires(model) == [*SHARED, *HALVED, "RotaryEmbedding"]


@pytest.mark.parametrize("shape", [(5,), (1, 1, 5)])
def test_constant_angles(shape: tuple[int, ...]) -> None:
    inputs = f"float[1,{HEADS},5,{SIZE}] x"
    assert fires(rotary(TURNED + ADDED, inputs=inputs, cos=paired(*shape), sin=paired(*shape))) == ["RotaryEmbedding"]


def test_one_angle_for_all_samples() -> None:
    model = rotary(inputs=f"float[3,{HEADS},5,{SIZE}] x, float[1,5,{SIZE // 2}] f")
    assert fires(model).count("Expand") == 2


def test_scaled_angles() -> None:
    text = PAIRED.replace("Unsqueeze(c, one)", "Unsqueeze(cs, one)").replace("s = Sin", "cs = Mul(c, scale) s = Sin")
    inputs = f"float[3,{HEADS},5,{SIZE}] x, float[3,5,{SIZE // 2}] f"
    assert "RotaryEmbedding" in fires(rotary(text, TURNED, ADDED, inputs=inputs, scale=np.float32(1.5)))


def test_before_the_transpose_of_a_linear_layer() -> None:
    text = "r = Reshape(w, split) x = Transpose<perm=[0,2,1,3]>(r) "
    model = rotary(text, PAIRED, TURNED, ADDED, inputs=f"float[3,5,{HEADS * SIZE}] w, float[3,5,{SIZE // 2}] f")
    assert fires(model) == [*SHARED, *HALVED, "RotaryEmbedding", "Reshape", "Transpose"]


def test_attention_behind_it_is_found() -> None:
    """Queries and keys share cos and sin, as in language models."""
    split = "{0}s = Reshape({0}, split) {0}x = Transpose<perm=[0,2,1,3]>({0}s) "
    turn = (
        "{0}u = Slice({0}x, half, end, last) {0}l = Slice({0}x, zero, half, last) {0}n = Neg({0}u) "
        "{0}t = Concat<axis=-1>({0}n, {0}l) {0}p = Mul({0}x, cos) {0}q = Mul({0}t, sin) {0}y = Add({0}p, {0}q) "
    )
    text = PAIRED + split.format("a") + split.format("k") + split.format("v") + turn.format("a") + turn.format("k")
    text += "key = Transpose<perm=[0,1,3,2]>(ky) r = MatMul(ay, key) w = Softmax(r) o = MatMul(w, vx) "
    text += "y = Transpose<perm=[0,2,1,3]>(o)"
    wide = f"float[b,t,{HEADS * SIZE}]"
    model = rotary(text, inputs=f"{wide} a, {wide} k, {wide} v, {ANGLES}")
    PassManager.parse("recognize,fuse,dead-code").run(model)
    assert ops(model).count("RotaryEmbedding") == 2 and ops(model).count("Attention") == 1
    assert not {"Transpose", "MatMul", "Neg", "Softmax"} & set(ops(model))
    assert ops(model).count("Cos") == 1


class TestReasons:
    def test_opset(self) -> None:
        reason = stays(rotary(opset=22))
        assert reason == "opset 22 has no RotaryEmbedding (since 23): `--opset 23` raises it"

    @pytest.mark.parametrize("name", ["p", "turned", "n"])
    def test_outputs_between(self, name: str) -> None:
        assert (
            stays(rotary(outputs=f"float[?,?,?,?] y, float[?,?,?,?] {name}")) == f"`{name}` is an output of the graph"
        )

    def test_other_halves(self) -> None:
        text = PAIRED.replace("Concat<axis=-1>(f, f)", "Concat<axis=-1>(f, g)")
        model = rotary(text, TURNED, ADDED, inputs=f"{FOUR}, {ANGLES}, {ANGLES.replace(' f', ' g')}")
        assert stays(model) == "the halves of `cos` are not known to be equal"

    def test_other_halves_of_a_constant(self) -> None:
        wrong = paired(5)
        wrong[0, 0] += 1
        model = rotary(TURNED + ADDED, inputs=f"float[1,{HEADS},5,{SIZE}] x", cos=paired(5), sin=wrong)
        assert stays(model) == "the halves of `sin` are not known to be equal"

    def test_angles_of_the_graph(self) -> None:
        inputs = f"{FOUR}, float[b,1,t,{SIZE}] cos, float[b,1,t,{SIZE}] sin"
        assert stays(rotary(TURNED + ADDED, inputs=inputs)) == "the halves of `cos` are not known to be equal"

    def test_angles_of_each_head(self) -> None:
        inputs = f"{FOUR}, float[b,{HEADS},t,{SIZE}] cos, float[b,{HEADS},t,{SIZE}] sin"
        assert stays(rotary(TURNED + ADDED, inputs=inputs)) == "`cos` is not known to be the same for all heads"

    def test_angles_that_are_broadcast(self) -> None:
        model = rotary(TURNED + ADDED, inputs=f"float[1,{HEADS},5,{SIZE}] x", cos=paired(1), sin=paired(5))
        assert stays(model) == "`cos` of shape [1, 8] is broadcast over the tokens or their coordinates"

    def test_angles_of_more_samples(self) -> None:
        model = rotary(inputs=f"float[1,{HEADS},5,{SIZE}] x, float[3,5,{SIZE // 2}] f")
        assert stays(model) == "`cos` of shape [3, 1, 5, 8] adds to the batch"

    def test_other_parts_than_halves(self) -> None:
        text = TURNED.replace("lower = Slice(x, zero, half, last)", "lower = Slice(x, three, end, last)")
        model = rotary(PAIRED, text, ADDED, three=np.array([4]))
        assert stays(model) == "`turned` is not made of the halves of `x`"

    def test_other_numbers(self) -> None:
        inputs = f"{FOUR}, {ANGLES}".replace("float", "double")
        assert stays(rotary(inputs=inputs, outputs="double[?,?,?,?] y")) == "`x` holds float64, not float32"

    def test_three_dimensions(self) -> None:
        inputs = f"float[b,t,{SIZE}] x, float[b,t,{SIZE}] cos, float[b,t,{SIZE}] sin"
        model = rotary(TURNED + ADDED, inputs=inputs, outputs="float[?,?,?] y", last=np.array([2]))
        assert stays(model) == "`x` does not have the dimensions batch, heads, tokens and size"
