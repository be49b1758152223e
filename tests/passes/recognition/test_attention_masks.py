"""What recognize-attention makes of masks, and of rows that they hide altogether."""

from __future__ import annotations

import numpy as np
import pytest
from attention_models import (
    CONTEXT,
    FIXED,
    JOIN,
    MINIMUM,
    OPEN,
    SOFTMAX,
    SPLITTING,
    WIDTH,
    attention,
    fires,
    random_operands,
    stays,
)

from pruna_ir.passes.recognition.recognize_attention import RecognizeAttention
from pruna_ir.testing import check_pass, ops


class TestMasks:
    MASKED = "r = MatMul(qh, kt) w = Div(r, root) a = Add(w, m) "
    PARTS = (SOFTMAX, CONTEXT, JOIN)

    @pytest.mark.parametrize("shape", ["5,5", "1,1,5,5", "3,1,5,5", "1,2,5,5", "3,2,5,5", "2,5,5"])
    def test_of_all_tokens(self, shape: str) -> None:
        model = attention(self.MASKED, *self.PARTS, inputs=f"{FIXED}, float[{shape}] m")
        assert fires(model) == ["Max", "Reshape"]

    @pytest.mark.parametrize("shape", ["5", "1,5", "3,1,1,5", "3,1,5,1", "1,1,1,1", "b,1,t,s", "b,1,1,s", "?,?"])
    def test_is_repeated_where_it_may_have_to_be(self, shape: str) -> None:
        inputs = OPEN if "s" in shape or "?" in shape else FIXED
        model = attention(self.MASKED, *self.PARTS, inputs=f"{inputs}, float[{shape}] m")
        assert fires(model) == ["Max", "Shape", "Shape", "Concat", "Expand", "Reshape"]

    def test_repeated_once_for_several(self) -> None:
        layer = "r{0} = MatMul(qh, kt) a{0} = Add(r{0}, m) p{0} = Softmax(a{0}) c{0} = MatMul(p{0}, vh) "
        layer += "j{0} = Transpose<perm=[0,2,1,3]>(c{0}) "
        model = attention(
            SPLITTING, layer.format(1), layer.format(2), "y = Add(j1, j2)", inputs=f"{OPEN}, float[b,1,1,s] m"
        )
        after, result = check_pass(RecognizeAttention(), model)
        assert result.counts == {"recognize-attention": 2}
        assert ops(after).count("Expand") == ops(after).count("Max") == 1

    def test_known_to_have_all_tokens_by_what_computes_it(self) -> None:
        sizes = "n = Shape<start=1, end=2>(q) o = Shape<start=1, end=2>(k) d = Concat<axis=0>(n, o) m = Expand(m0, d) "
        model = attention(SPLITTING, sizes, self.MASKED, *self.PARTS, m0=np.zeros((1, 1), np.float32))
        assert fires(model) == ["Shape", "Shape", "Concat", "Expand", "Max", "Reshape"]

    def test_causal(self) -> None:
        mask = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
        assert fires(attention(self.MASKED, *self.PARTS, inputs=FIXED, m=mask), is_causal=1) == ["Reshape"]

    @pytest.mark.parametrize("value", [-100.0, 0.0])
    def test_almost_causal(self, value: float) -> None:
        mask = np.triu(np.full((1, 1, 5, 5), MINIMUM, np.float32), 1)
        mask[0, 0, 1, 2] = value
        assert fires(attention(self.MASKED, *self.PARTS, inputs=FIXED, m=mask)) == ["Reshape"]

    def test_a_bias_below_the_diagonal_is_kept(self) -> None:
        mask = np.triu(np.full((5, 5), MINIMUM, np.float32), 1)
        mask[3, 1] = 0.5
        assert fires(attention(self.MASKED, *self.PARTS, inputs=FIXED, m=mask)) == ["Reshape"]

    @pytest.mark.parametrize("fill", [-np.inf, MINIMUM])
    @pytest.mark.parametrize("where", ["Where(m, w, fill)", "Where(m, fill, w)"])
    def test_filled_in(self, where: str, fill: float) -> None:
        model = attention(
            f"r = MatMul(qh, kt) w = Div(r, root) a = {where} ", *self.PARTS,
            inputs=f"{FIXED}, bool[1,1,5,5] m", fill=np.array(fill, np.float32),
        )  # fmt: skip
        feeds = random_operands()
        feeds["m"] = (
            np.tril(np.ones((1, 1, 5, 5), bool))
            if where == "Where(m, w, fill)"
            else np.triu(np.ones((1, 1, 5, 5), bool), 1)
        )
        after, result = check_pass(RecognizeAttention(), model, feeds=feeds)
        assert result.counts == {"recognize-attention": 1}
        assert ops(after) == ["Where", "Attention", "Reshape"]

    def test_filled_in_rows_that_are_masked_altogether_stay_even(self) -> None:
        """All scores are the same then, and so are the weights."""
        model = attention(
            "r = MatMul(qh, kt) w = Div(r, root) a = Where(m, w, fill) ", *self.PARTS,
            inputs=f"{FIXED}, bool[1,1,5,5] m", fill=np.array(MINIMUM, np.float32),
        )  # fmt: skip
        feeds = random_operands()
        check_pass(RecognizeAttention(), model, feeds={**feeds, "m": np.zeros((1, 1, 5, 5), bool)})

    def test_filled_in_and_added(self) -> None:
        model = attention(
            "r = MatMul(qh, kt) w = Div(r, root) f = Where(n, w, fill) a = Add(f, m) ", *self.PARTS,
            inputs=f"{FIXED}, float[3,1,1,5] m", n=np.tril(np.ones((5, 5), bool)), fill=np.array(MINIMUM, np.float32),
        )  # fmt: skip
        assert fires(model)[:3] == ["Max", "Where", "Add"]

    @pytest.mark.parametrize("lowest", [-np.inf, MINIMUM, -1e38])
    def test_rows_that_are_masked_altogether(self, lowest: float) -> None:
        """They have equal weights; of -inf they were NaN, so that here only a column is of it."""
        model = attention(self.MASKED, *self.PARTS, inputs=f"{FIXED}, float[1,1,5,5] m")
        mask = np.zeros((1, 1, 5, 5), np.float32)
        mask[0, 0, 2] = max(lowest, MINIMUM)
        mask[0, 0, [0, 1, 3, 4], 1] = lowest
        check_pass(RecognizeAttention(), model, feeds={**random_operands(), "m": mask})

    def test_rows_that_a_constant_masks_altogether(self) -> None:
        mask = np.zeros((5, 5), np.float32)
        mask[2] = mask[:, 1] = MINIMUM
        assert fires(attention(self.MASKED, *self.PARTS, inputs=FIXED, m=mask)) == ["Reshape"]

    def test_a_mask_that_chooses_between_others_needs_no_floor(self) -> None:
        model = attention(
            "m = Where(n, zero, low) ", self.MASKED, *self.PARTS, inputs=f"{FIXED}, bool[1,1,5,5] n",
            zero=np.zeros(1, np.float32), low=np.array([-10000], np.float32),
        )  # fmt: skip
        assert fires(model) == ["Where", "Reshape"]

    GUARD = "s = Softmax(a) n = IsNaN(s) p = Where(n, zero, s) "

    def test_guarded_against_rows_of_nothing(self) -> None:
        """They are zeros before and after."""
        model = attention(
            "m = Where(b, zero, low) ", self.MASKED, self.GUARD, CONTEXT, JOIN, inputs=f"{FIXED}, bool[1,1,5,5] b",
            zero=np.zeros(1, np.float32), low=np.array([-np.inf], np.float32),
        )  # fmt: skip
        kept = np.ones((1, 1, 5, 5), bool)
        kept[0, 0, 2] = kept[0, 0, :, 1] = False
        after, _ = check_pass(RecognizeAttention(), model, feeds={**random_operands(), "b": kept})
        assert ops(after) == ["Where", "Attention", "Reshape"]

    def test_guarded_and_filled_in(self) -> None:
        model = attention(
            "r = MatMul(qh, kt) w = Div(r, root) a = Where(b, w, low) ", self.GUARD, CONTEXT, JOIN,
            inputs=f"{FIXED}, bool[1,1,5,5] b", zero=np.zeros(1, np.float32), low=np.array([-np.inf], np.float32),
        )  # fmt: skip
        kept = np.ones((1, 1, 5, 5), bool)
        kept[0, 0, 2] = kept[0, 0, :, 1] = False
        after, _ = check_pass(RecognizeAttention(), model, feeds={**random_operands(), "b": kept})
        assert ops(after) == ["Where", "Attention", "Reshape"]

    def test_a_guard_without_use(self) -> None:
        """Rows of the lowest number are no NaN: their weights are equal, guarded or not."""
        model = attention(
            "m = Where(b, zero, low) ", self.MASKED, self.GUARD, CONTEXT, JOIN, inputs=f"{FIXED}, bool[1,1,5,5] b",
            zero=np.zeros(1, np.float32), low=np.array([MINIMUM], np.float32),
        )  # fmt: skip
        kept = np.ones((1, 1, 5, 5), bool)
        kept[0, 0, 2] = kept[0, 0, :, 1] = False
        after, _ = check_pass(RecognizeAttention(), model, feeds={**random_operands(), "b": kept})
        assert ops(after) == ["Where", "Max", "Attention", "Reshape"]

    def test_a_guard_with_a_mask_of_two_lows_stays(self) -> None:
        mask = np.zeros((5, 5), np.float32)
        mask[0, 1], mask[1, 2] = -np.inf, MINIMUM
        model = attention(self.MASKED, self.GUARD, CONTEXT, JOIN, inputs=FIXED, m=mask, zero=np.zeros(1, np.float32))
        assert stays(model) == "rows are guarded against NaN, and `m` is not known to mask by -inf"

    def test_a_guard_with_a_mask_of_any_numbers_stays(self) -> None:
        inputs = f"{FIXED}, float[1,1,5,5] m"
        model = attention(self.MASKED, self.GUARD, CONTEXT, JOIN, inputs=inputs, zero=np.zeros(1, np.float32))
        assert stays(model) == "rows are guarded against NaN, and `m` is not known to mask by -inf"

    def test_a_small_fill_stays(self) -> None:
        model = attention(
            "r = MatMul(qh, kt) w = Div(r, root) a = Where(m, w, fill) ", *self.PARTS,
            inputs=f"{FIXED}, bool[1,1,5,5] m", fill=np.array(-10000, np.float32),
        )  # fmt: skip
        assert stays(model) == "`fill` puts -10000 in the place of scores, which may still count"

    def test_more_dimensions_than_scores_stay(self) -> None:
        join = "y = Transpose<perm=[0,1,3,2,4]>(c)"
        model = attention(self.MASKED, SOFTMAX, CONTEXT, join, inputs=f"{FIXED}, float[1,1,1,5,5] m")
        assert stays(model) == "the mask `m` has 5 dimensions"

    def test_a_mask_that_adds_samples_stays(self) -> None:
        one = f"float[1,5,{WIDTH}]"
        model = attention(self.MASKED, *self.PARTS, inputs=f"{one} q, {one} k, {one} v, float[3,1,5,5] m")
        assert stays(model) == "the mask `m` adds to the shape of the scores"
