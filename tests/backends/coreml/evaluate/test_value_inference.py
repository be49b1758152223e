"""Every operator that Core ML Tools can compute by itself, computed by both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_programs import evaluated, inferred, mb
from mil_programs import types as mil_types

RNG = np.random.default_rng(0)


def real(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return np.asarray(np.abs(real(*shape)) + np.float32(0.1))


def share(*shape: int) -> np.ndarray:
    return RNG.uniform(-0.9, 0.9, shape).astype(np.float32)


def whole(*shape: int, low: int = -9, high: int = 9) -> np.ndarray:
    return RNG.integers(low, high, shape).astype(np.int32)


def truth(*shape: int) -> np.ndarray:
    return np.asarray(RNG.random(shape) < 0.5)


def ints(*values: int) -> np.ndarray:
    return np.asarray(values, np.int32)


def reals(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)


def bytes_of(*values: int, dtype: type[np.generic] = np.int8) -> np.ndarray:
    return np.asarray(values, dtype)


@dataclass(frozen=True)
class Case:
    """An operator with its inputs, which are data, and its constants."""

    op: str
    inputs: Mapping[str, Any]
    constants: Mapping[str, Any] = field(default_factory=dict)
    ios: int = 17
    tolerance: float = 1e-6

    def build(self, **inputs: Any) -> Any:
        return getattr(mb, self.op)(**inputs, **self.constants)


def _unary() -> list[Case]:
    plain = "abs atan ceil cos cosh erf exp exp2 floor round sign sin sinh square tan tanh identity relu relu6 sigmoid"
    cases = [Case(op, {"x": real(2, 3, 4)}) for op in [*plain.split(), "softplus", "softsign", "gelu", "shape"]]
    cases += [Case(op, {"x": share(2, 3)}) for op in ("acos", "asin", "atanh")]
    cases += [Case(op, {"x": positive(2, 3)}) for op in ("sqrt", "log", "rsqrt", "inverse")]
    alphas = "leaky_relu elu thresholded_relu threshold"
    cases += [Case(op, {"x": real(2, 3, 4)}, {"alpha": np.float32(0.3)}) for op in alphas.split()]
    both = "clamped_relu linear_activation scaled_tanh sigmoid_hard clip"
    limits = {"alpha": np.float32(0.2), "beta": np.float32(0.6)}
    cases += [Case(op, {"x": real(2, 3, 4)}, limits) for op in both.split()]
    cases += [Case("logical_not", {"x": truth(2, 3)}), Case("abs", {"x": whole(2, 3)})]
    cases += [Case("gelu", {"x": real(9)}, {"mode": mode}) for mode in ("TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")]
    channels = {"alpha": real(3), "beta": real(3)}
    cases += [Case("softplus_parametric", {"x": real(2, 3, 4, 5)}, channels)]
    cases += [Case("prelu", {"x": real(2, 3, 4, 5)}, {"alpha": real(3)})]
    cases += [Case("softmax", {"x": real(2, 3, 4)}, {"axis": axis}) for axis in (-1, 1)]
    cases += [Case("cast", {"x": real(7) * 3}, {"dtype": dtype}) for dtype in ("int32", "fp16", "bool")]
    return [*cases, Case("cast", {"x": whole(7)}, {"dtype": "fp32"})]


def _binary() -> list[Case]:
    arithmetic = "add sub mul real_div maximum minimum floor_div mod"
    compared = "equal not_equal less less_equal greater greater_equal"
    cases = [Case(op, {"x": real(2, 3, 4), "y": positive(3, 1)}) for op in (arithmetic + " " + compared).split()]
    cases += [Case(op, {"x": whole(9), "y": whole(9)}) for op in ("add sub mul maximum minimum " + compared).split()]
    cases += [Case(op, {"x": whole(9), "y": whole(9, low=1)}) for op in ("floor_div", "mod")]
    cases += [Case("pow", {"x": positive(2, 3), "y": real(3)})]
    cases += [Case(f"logical_{op}", {"x": truth(9), "y": truth(9)}) for op in ("and", "or", "xor")]
    return [*cases, Case("select", {"cond": truth(2, 3), "a": real(2, 3), "b": real(2, 3)})]


def _reductions() -> list[Case]:
    names = "l1_norm l2_norm max mean min prod sum sum_square log_sum_exp"
    cases = [
        Case(f"reduce_{name}", {"x": real(2, 3, 4)}, {"axes": axes, "keep_dims": keep})
        for name in names.split()
        for axes, keep in (([1], False), ([0, -1], True))
    ]
    cases += [Case("reduce_log_sum", {"x": positive(2, 3, 4)}, {"axes": [1], "keep_dims": False})]
    return cases + [
        Case(f"reduce_{name}", {"x": real(2, 3, 4)}, {"axis": axis, "keep_dims": keep})
        for name in ("argmax", "argmin")
        for axis, keep in ((1, False), (-1, True))
    ]


def _moves() -> list[Case]:
    x = real(2, 3, 4)
    return [
        Case("reshape", {"x": x}, {"shape": [4, -1]}),
        Case("reshape", {"x": x}, {"shape": [0, -1, 0]}),
        Case("reshape", {"x": x}, {"shape": [1, 0, 0, 0]}),
        Case("transpose", {"x": x}, {"perm": [2, 0, -2]}),
        Case("expand_dims", {"x": x}, {"axes": [0, -1]}),
        Case("squeeze", {"x": real(1, 3, 1)}),
        Case("squeeze", {"x": real(1, 3, 1)}, {"axes": [-1]}),
        Case("flatten2d", {"x": x}, {"axis": 2}),
        Case("flatten2d", {"x": x}, {"axis": -1}),
        Case("reverse", {"x": x}, {"axes": [0, 2]}),
        Case("reverse", {"x": x}),
        Case("split", {"x": x}, {"num_splits": 2, "axis": 2}),
        Case("split", {"x": x}, {"split_sizes": [1, 2], "axis": 1}),
        Case("tile", {"x": x}, {"reps": [2, 1, 3]}),
        Case("pad", {"x": x}, {"pad": [1, 2, 0, 3], "mode": "constant", "constant_val": np.float32(7)}),
        Case("pad", {"x": x}, {"pad": [1, 2, 2, 3], "mode": "reflect"}),
        Case("pad", {"x": x}, {"pad": [1, 2, 0, 3], "mode": "replicate"}),
        Case("band_part", {"x": real(2, 4, 5)}, {"lower": 1, "upper": 2}),
        Case("band_part", {"x": real(4, 5)}, {"lower": -1, "upper": 0}),
        Case("cumsum", {"x": x}, {"axis": 1}),
        Case("cumsum", {"x": x}, {"axis": 1, "reverse": True}),
        Case("slice_by_index", {"x": x}, {"begin": [0, 1, 0], "end": [2, 3, 4], "stride": [1, 1, 2]}),
        Case("slice_by_index", {"x": x}, {"begin": [0, -1, 3], "end": [2, -3, 0], "stride": [1, -1, -1]}),
        Case(
            "slice_by_index",
            {"x": x},
            {
                "begin": [1, 1, 1],
                "end": [0, 2, 2],
                "begin_mask": [False, True, False],
                "end_mask": [False, False, True],
                "squeeze_mask": [True, False, False],
            },
        ),
        Case("slice_by_size", {"x": x}, {"begin": [0, 1, 1], "size": [2, -1, 2]}),
        Case("fill_like", {"ref_tensor": x}, {"value": np.float32(2)}),
        Case("non_zero", {"x": whole(3, 4, low=0, high=2)}),
        Case("argsort", {"x": real(3, 7)}, {"axis": 1}),
        Case("argsort", {"x": real(3, 7)}, {"axis": 0, "ascending": True}),
        Case("topk", {"x": real(3, 7)}, {"k": 4, "axis": 1}),
        Case("topk", {"x": real(3, 7)}, {"k": 2, "axis": 0, "ascending": True}),
        Case("gather", {"x": x, "indices": ints(2, 0)}, {"axis": 1}),
        Case("gather", {"x": x, "indices": ints(1, 0).reshape(2, 1)}, {"axis": 2, "batch_dims": 1}),
        Case("gather", {"x": x, "indices": ints(-1, 0)}, {"axis": 1}, ios=16),
        Case("gather_along_axis", {"x": x, "indices": whole(2, 2, 4, low=0, high=3)}, {"axis": 1}),
        Case(
            "scatter_along_axis",
            {"data": real(2, 5, 4), "indices": ints(0, 2, 4, 1).reshape(1, 4, 1).repeat(2, 0).repeat(4, 2)},
            {"updates": real(2, 4, 4), "axis": 1, "mode": "update"},
        ),
        Case("fill", {"shape": ints(2, 3)}, {"value": np.float32(1.5)}),
    ]  # fmt: skip


def _products() -> list[Case]:
    x, y = real(2, 3, 4), real(2, 4, 5)
    cases = [
        Case("matmul", {"x": x, "y": y}),
        Case("matmul", {"x": real(2, 4, 3), "y": real(5, 4)}, {"transpose_x": True, "transpose_y": True}),
        Case("linear", {"x": real(2, 4)}, {"weight": real(3, 4), "bias": real(3)}),
        Case("linear", {"x": real(2, 4)}, {"weight": real(3, 4)}),
        Case("layer_norm", {"x": x}, {"axes": [-1], "gamma": real(4), "beta": real(4), "epsilon": np.float32(1e-3)}),
        Case("layer_norm", {"x": x}, {"axes": [1, 2]}),
        Case("l2_norm", {"x": real(2, 3, 4, 5)}, {"epsilon": np.float32(1e-3)}),
        Case("scaled_dot_product_attention", {"query": x, "key": real(2, 5, 4), "value": real(2, 5, 6)}, ios=18),
        Case(
            "scaled_dot_product_attention",
            {
                "query": x,
                "key": real(2, 5, 4),
                "value": real(2, 5, 6),
                "attn_mask": truth(3, 5) | np.eye(3, 5, dtype=bool),
            },
            ios=18,
        ),
        Case(
            "slice_update",
            {"x": x, "update": real(2, 1, 2)},
            {"begin": ints(0, 1, 0), "end": ints(2, 2, 4), "stride": ints(1, 1, 2)},
            ios=18,
        ),
    ]
    return [Case(case.op, case.inputs, case.constants, case.ios, 1e-5) for case in cases]


def _quantized() -> list[Case]:
    scales, zeros = reals(0.05, 0.1, 0.2), bytes_of(3, -4, 0)
    edges = reals(-12.85, -0.25, 0.25, 0.35, 0.15, 0.05, -0.05, 12.75, 1e9, -1e9)
    return [
        Case(
            "quantize", {"input": edges}, {"scale": np.float32(0.1), "zero_point": np.int8(-7), "output_dtype": "int8"}
        ),
        Case(
            "quantize", {"input": edges}, {"scale": np.float32(0.1), "zero_point": np.uint8(9), "output_dtype": "uint8"}
        ),
        Case("quantize", {"input": real(2, 3, 4) * 9}, {"scale": np.float32(0.1), "output_dtype": "int8"}),
        Case(
            "quantize",
            {"input": real(2, 3, 4) * 9},
            {"scale": scales, "zero_point": zeros, "axis": 1, "output_dtype": "int8"},
        ),
    ]


CASES = [*_unary(), *_binary(), *_reductions(), *_moves(), *_products(), *_quantized()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.op)
def test_equal(case: Case) -> None:
    wanted = inferred(case.build, case.inputs, case.ios)
    found = evaluated(case.build, case.inputs, case.ios)
    assert len(wanted) == len(found)
    for expected, value in zip(wanted, found, strict=True):
        assert expected is not None, "Core ML Tools does not compute this"
        assert np.shape(expected) == value.shape
        np.testing.assert_allclose(value, expected, rtol=case.tolerance, atol=case.tolerance)


CONSTANTS: dict[str, tuple[int, Callable[[], Any]]] = {
    "constexpr_affine_dequantize": (
        16,
        lambda: mb.constexpr_affine_dequantize(
            quantized_data=RNG.integers(-128, 128, (3, 4)).astype(np.int8),
            zero_point=bytes_of(1, -2, 0),
            scale=reals(0.1, 0.02, 3.0),
            axis=np.int32(0),
        ),
    ),
    "constexpr_cast": (16, lambda: mb.constexpr_cast(source_val=real(4).astype(np.float16), output_dtype="fp32")),
    "constexpr_lut_to_dense": (
        16,
        lambda: mb.constexpr_lut_to_dense(
            lut=reals(1, 2, 3, 4),
            indices=bytes_of(0b11001001, 0b01, dtype=np.uint8),
            shape=bytes_of(5, dtype=np.uint32),
        ),
    ),
    "constexpr_sparse_to_dense": (
        16,
        lambda: mb.constexpr_sparse_to_dense(
            nonzero_data=reals(1, 2, 3), mask=bytes_of(0b00010110, dtype=np.uint8), shape=bytes_of(5, dtype=np.uint32)
        ),
    ),
    "constexpr_blockwise_shift_scale": (
        18,
        lambda: mb.constexpr_blockwise_shift_scale(
            data=RNG.integers(-8, 8, (4, 6)).astype(mil_types.np_int4_dtype),
            scale=positive(2, 3),
            offset=RNG.integers(-8, 8, (2, 3)).astype(mil_types.np_int4_dtype),
        ),
    ),
    "lut in groups": (
        18,
        lambda: mb.constexpr_lut_to_dense(
            indices=RNG.integers(0, 4, (6, 2)).astype(mil_types.np_uint2_dtype), lut=real(2, 1, 4, 1)
        ),
    ),
    "lut of vectors": (
        18,
        lambda: mb.constexpr_lut_to_dense(
            indices=RNG.integers(0, 2, (2, 2, 2)).astype(mil_types.np_uint1_dtype),
            lut=real(1, 1, 1, 2, 3),
            vector_axis=np.int32(1),
        ),
    ),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants(name: str) -> None:
    """Behind an identity, since a program has to compute something."""
    ios, make = CONSTANTS[name]
    values: list[np.ndarray] = []

    def build(x: Any) -> Any:
        made = make()
        values.append(made.op.materialized_val_inference())
        return mb.identity(x=made), mb.identity(x=x)

    found = evaluated(build, {"x": real(1)}, ios)[0]
    np.testing.assert_allclose(found, values[0], rtol=1e-6)
    assert found.shape == values[0].shape and found.dtype == values[0].dtype
