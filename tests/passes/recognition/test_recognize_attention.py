"""recognize-attention: the forms that exporters write, and each reason not to fire."""

from __future__ import annotations

import numpy as np
import pytest
from attention_models import (
    CONTEXT,
    FIXED,
    HEADS,
    JOIN,
    OPEN,
    ROOT,
    SCORES,
    SIZE,
    SOFTMAX,
    SPLIT,
    SPLITTING,
    WIDTH,
    attention,
    fires,
    stays,
)
from onnx_text import model_from

from pruna_ir.passes.recognition.recognize_attention import RecognizeAttention
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, missed, ops


def test_between_linear_layers() -> None:
    assert fires(attention()) == ["Reshape"]


@pytest.mark.parametrize("opset", [23, 24, 27])
def test_opsets(opset: int) -> None:
    fires(attention(opset=opset))


def test_fixed_sizes() -> None:
    assert fires(attention(inputs=FIXED)) == ["Reshape"]


def test_one_token_and_one_sample() -> None:
    one = f"float[1,1,{WIDTH}]"
    assert fires(attention(inputs=f"{one} q, {one} k, {one} v")) == ["Reshape"]


@pytest.mark.parametrize(
    ("scores", "scale"),
    [
        ("a = MatMul(qh, kt) ", 1.0),
        ("r = MatMul(qh, kt) a = Mul(root, r) ", 2.0),
        ("n = Mul(qh, root) r = MatMul(n, kt) a = Div(r, root) ", 1.0),
        ("n = Mul(qh, root) m = Mul(root, kt) a = MatMul(n, m) ", 4.0),
        ("n = Div(qh, root) a = MatMul(n, kt) ", 0.5),
    ],
)
def test_the_scale_may_stand_anywhere(scores: str, scale: float) -> None:
    assert fires(attention(scores, SOFTMAX, CONTEXT, JOIN), scale=scale) == ["Reshape"]


def test_a_scale_before_the_heads_stays_there() -> None:
    text = SPLITTING.replace("Reshape(q,", "Reshape(n,")
    assert fires(attention("n = Mul(q, root) ", text, SCORES, SOFTMAX, CONTEXT, JOIN)) == ["Mul", "Reshape"]


def test_a_key_transposed_twice() -> None:
    twice = "kx = Transpose<perm=[0,2,1,3]>(k4) kt = Transpose<perm=[0,1,3,2]>(kx) "
    text = SPLITTING.replace("kt = Transpose<perm=[0,2,3,1]>(k4) ", twice)
    assert fires(attention(text, SCORES, SOFTMAX, CONTEXT, JOIN)) == ["Reshape"]


@pytest.mark.parametrize("target", [[0, -1, HEADS, SIZE], [-1, 5, HEADS, SIZE], [3, 5, -1, SIZE], [3, 5, HEADS, -1]])
def test_targets_of_reshapes(target: list[int]) -> None:
    assert fires(attention(inputs=FIXED, split=np.array(target))) == ["Reshape"]


def test_the_reshape_behind_joins() -> None:
    model = attention(
        SPLITTING, SCORES, SOFTMAX, CONTEXT, "j = Transpose<perm=[0,2,1,3]>(c) y = Reshape(j, joined)",
        outputs="float[?,?,?] y", joined=np.array([0, 0, WIDTH]),
    )  # fmt: skip
    PassManager.parse("recognize-attention,fuse").run(model)
    assert ops(model) == ["Attention"]


def test_shared_operands_stay_for_their_other_users() -> None:
    model = attention(SCORES + SOFTMAX + CONTEXT + JOIN + "z = Neg(kt)", outputs="float[?,?,?,?] y, float[?,?,?,?] z")
    assert sorted(fires(model)) == ["Neg", "Reshape", "Reshape", "Transpose"]


def test_operands_that_are_outputs_stay() -> None:
    """As exports with a cache of keys and values have them."""
    model = attention(outputs="float[?,?,?,?] y, float[?,?,?,?] kt, float[?,?,?,?] vh")
    assert sorted(fires(model)) == ["Reshape", "Reshape", "Reshape", "Transpose", "Transpose"]


class TestLayouts:
    """Where the operands come from."""

    def test_one_tensor_of_all_three(self) -> None:
        """As image transformers have it: [batch, tokens, 3, heads, size]."""
        text = (
            "q5 = Reshape(x, five) o = Transpose<perm=[2,0,3,1,4]>(q5) qh = Gather<axis=0>(o, i0) "
            "k4 = Gather<axis=0>(o, i1) vh = Gather<axis=0>(o, i2) kt = Transpose<perm=[0,1,3,2]>(k4) "
        )
        model = model_from(
            f"g (float[b,t,{3 * WIDTH}] x) => (float[?,?,?,?] y) {{ {text} {SCORES} {SOFTMAX} {CONTEXT} {JOIN} }}",
            opset=23, five=np.array([0, 0, 3, HEADS, SIZE]), root=ROOT,
            i0=np.array(0), i1=np.array(1), i2=np.array(-1),
        )  # fmt: skip
        assert fires(model) == ["Slice", "Slice", "Slice", "Reshape"]

    def test_split_and_squeezed(self) -> None:
        text = (
            "q5 = Reshape(x, five) o = Transpose<perm=[2,0,3,1,4]>(q5) s0, s1, s2 = Split<axis=0, num_outputs=3>(o) "
            "qh = Squeeze(s0, zero) k4 = Squeeze(s1, zero) vh = Squeeze(s2, zero) kt = Transpose<perm=[0,1,3,2]>(k4) "
        )
        model = model_from(
            f"g (float[2,5,{3 * WIDTH}] x) => (float[?,?,?,?] y) {{ {text} {SCORES} {SOFTMAX} {CONTEXT} {JOIN} }}",
            opset=23, five=np.array([2, 5, 3, HEADS, SIZE]), root=ROOT, zero=np.array([0]),
        )  # fmt: skip
        assert fires(model) == ["Slice", "Slice", "Slice", "Reshape"]

    def test_tokens_first(self) -> None:
        """As torch.nn.MultiheadAttention has it: [tokens, batch, heads * size], and heads within the batch."""
        part = "{0}3 = Reshape({0}, three) {0}x = Transpose<perm=[1,0,2]>({0}3) {0}4 = Reshape({0}x, four) "
        text = "".join(part.format(name) for name in "qkv") + "kt = Transpose<perm=[0,1,3,2]>(k4) "
        text += "r = MatMul(q4, kt) a = Div(r, root) p = Softmax(a) c = MatMul(p, v4) y = Transpose<perm=[2,0,1,3]>(c) "
        model = model_from(
            f"g (float[5,2,{WIDTH}] q, float[5,2,{WIDTH}] k, float[5,2,{WIDTH}] v) => (float[?,?,?,?] y) {{ {text} }}",
            opset=23, three=np.array([5, 2 * HEADS, SIZE]), four=np.array([2, HEADS, 5, SIZE]), root=ROOT,
        )  # fmt: skip
        assert fires(model) == ["Transpose", "Transpose", "Transpose", "Transpose", "Reshape"]

    @pytest.mark.parametrize("shared", [1, 2])
    def test_heads_that_share_keys(self, shared: int) -> None:
        """Repeated by Unsqueeze, Expand and Reshape, as grouped-query attention is exported."""
        heads, width = 4, shared * SIZE
        repeat = (
            "{0}4 = Reshape({0}, few) {0}f = Transpose<perm=[0,2,1,3]>({0}4) {0}u = Unsqueeze({0}f, two) "
            "{0}e = Expand({0}u, five) {0}h = Reshape({0}e, all) "
        )
        text = "q4 = Reshape(q, many) qh = Transpose<perm=[0,2,1,3]>(q4) " + repeat.format("k") + repeat.format("v")
        text += "kt = Transpose<perm=[0,1,3,2]>(kh) " + SCORES + SOFTMAX + CONTEXT + JOIN
        model = model_from(
            f"g (float[2,5,{heads * SIZE}] q, float[2,5,{width}] k, float[2,5,{width}] v) => (float[?,?,?,?] y) "
            f"{{ {text} }}",
            opset=23, root=ROOT, few=np.array([0, 0, shared, SIZE]), many=np.array([0, 0, heads, SIZE]),
            two=np.array([2]), five=np.array([2, shared, heads // shared, 5, SIZE]), all=np.array([2, heads, 5, SIZE]),
        )  # fmt: skip
        assert fires(model, q_num_heads=heads, kv_num_heads=shared) == ["Reshape"]

    def test_values_of_another_size(self) -> None:
        model = attention(
            SPLITTING.replace("Reshape(v, split)", "Reshape(v, wide)"), SCORES, SOFTMAX, CONTEXT, JOIN,
            inputs=f"float[b,t,{WIDTH}] q, float[b,s,{WIDTH}] k, float[b,s,12] v", wide=np.array([0, 0, HEADS, 6]),
        )  # fmt: skip
        assert fires(model) == ["Reshape"]


class TestReasons:
    def test_opset(self) -> None:
        assert stays(attention(opset=22)) == "opset 22 has no Attention (since 23): `--opset 23` raises it"

    @pytest.mark.parametrize("name", ["r", "a", "p", "c"])
    def test_outputs_between(self, name: str) -> None:
        reason = stays(attention(outputs=f"float[?,?,?,?] y, float[?,?,?,?] {name}"))
        assert reason == f"`{name}` is an output of the graph"

    def test_other_users(self) -> None:
        parts = SCORES + SOFTMAX + CONTEXT + JOIN + "z = Neg(p)"
        assert stays(attention(parts, outputs="float[?,?,?,?] y, float[?,?,?,?] z")).startswith("`p` is also read by")

    def test_a_computed_scale(self) -> None:
        model = attention("r = MatMul(qh, kt) a = Div(r, f) ", SOFTMAX, CONTEXT, JOIN, inputs=f"{OPEN}, float f")
        assert stays(model) == "the scale `f` is not a constant"

    def test_another_axis(self) -> None:
        model = attention(SCORES, "p = Softmax<axis=2>(a) ", CONTEXT, JOIN, inputs=FIXED)
        assert stays(model) == "the softmax is over axis 2, not over the last one"

    def test_other_numbers(self) -> None:
        inputs = OPEN.replace("float", "float16")
        model = attention(inputs=inputs, outputs="float16[?,?,?,?] y", root=ROOT.astype(np.float16))
        _, result = check_pass(RecognizeAttention(), model, tolerance=1e-2)
        assert missed(result) == ["`qh` holds float16, not float32"]

    def test_operands_without_heads(self) -> None:
        four = f"float[b,{HEADS},t,{SIZE}]"
        text = f"r = MatMul(q4, kt) a = Div(r, root) {SOFTMAX} {CONTEXT} {JOIN}"
        model = attention(text, inputs=f"{four} q4, float[b,{HEADS},{SIZE},t] kt, {four} vh")
        assert stays(model) == "`q4` is not split into heads: `q4` has no axis of heads times size"

    def test_rotated_operands(self) -> None:
        text = SPLITTING + "n = Add(qh, qh) r = MatMul(n, kt) a = Div(r, root) " + SOFTMAX + CONTEXT + JOIN
        assert stays(attention(text)) == "`n` is not split into heads: `n` has no axis of heads times size"

    def test_three_dimensions(self) -> None:
        model = model_from(
            "g (float[b,t,4] q, float[b,4,s] k, float[b,s,4] v) => (float[?,?,?] y) "
            "{ r = MatMul(q, k) p = Softmax(r) c = MatMul(p, v) y = Transpose<perm=[1,0,2]>(c) }", opset=23,
        )  # fmt: skip
        assert stays(model) == "`q` does not have the 4 dimensions batch, heads, tokens and size"

    def test_heads_that_are_not_joined(self) -> None:
        model = attention(SCORES, SOFTMAX, "c = MatMul(p, vh) y = Relu(c)")
        assert stays(model) == "the heads of `c` are not joined: no Transpose puts them behind the tokens"

    def test_the_result_as_an_output(self) -> None:
        model = attention(SCORES, SOFTMAX, "y = MatMul(p, vh)")
        assert stays(model) == "`y` is an output of the graph"

    def test_heads_that_are_broadcast(self) -> None:
        model = attention(
            SPLITTING.replace("Reshape(k, split)", "Reshape(k, one)"), SCORES, SOFTMAX, CONTEXT, JOIN,
            inputs=f"float[b,t,{WIDTH}] q, float[b,s,{SIZE}] k, float[b,s,{WIDTH}] v", one=np.array([0, 0, 1, SIZE]),
        )  # fmt: skip
        assert stays(model) == "2 heads of queries, 1 of keys and 2 of values"

    def test_a_batch_that_is_broadcast(self) -> None:
        """Learned queries, say."""
        model = attention(inputs=f"float[1,t,{WIDTH}] q, float[b,s,{WIDTH}] k, float[b,s,{WIDTH}] v")
        assert stays(model) == "the batch of one of `qh`, `kt` and `vh` is broadcast"


def test_inside_of_a_sub_graph() -> None:
    inner = SPLITTING + SCORES + SOFTMAX + CONTEXT + "z = Transpose<perm=[0,2,1,3]>(c)"
    model = model_from(
        f"g ({FIXED}, bool on) => (float[?,?,?,?] y) {{ y = If(on) <then_branch = t () => (float[3,5,2,4] z) "
        f"{{ {inner} }}, else_branch = e () => (float[3,5,2,4] o) {{ o = Reshape(q, split) }}> }}",
        opset=23, split=SPLIT, root=ROOT,
    )  # fmt: skip
    after, result = check_pass(RecognizeAttention(), model)
    assert result.counts == {"recognize-attention": 1}
    body = next(iter(after.graph.nodes[0].subgraphs()))
    assert [node.op for node in body.nodes] == ["Attention", "Reshape"]
