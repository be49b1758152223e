"""What every table must be like, and what those say that no test here can prove on a runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pruna_ir import registry
from pruna_ir.calibration import Range
from pruna_ir.passes.quantization.kernel import Bounds
from pruna_ir.passes.quantization.scale_groups import fit
from pruna_ir.targets import Fixed, Output, Scales, Target, Widths
from pruna_ir.targets.coreml import COREML
from pruna_ir.targets.ort_cpu import X86_VNNI
from pruna_ir.targets.portable import PORTABLE
from pruna_ir.targets.tensorrt import TENSORRT
from pruna_ir.targets.tflite import TFLITE

ALL = [registry.target(name) for name in registry.targets()]


@pytest.mark.parametrize("target", ALL, ids=lambda target: str(target.name))
def test_rows_do_not_contradict_themselves(target: Target) -> None:
    demands = {row.scales for row in target.ops.values()}
    assert not {Scales.EQUAL, Scales.UNION} <= demands, "scale groups are solved for one of them"
    for op, row in target.ops.items():
        assert row.fixed is None or row.scales is Scales.FREE, op
        assert not row.ends_kernel or row.output is Output.FLOAT, op
        assert row.output is not Output.FLOAT or not row.absorbs, op
        assert row.scales is Scales.FREE or row.weight is None, op
        assert row.bias is None or np.dtype(target.bias_dtype).kind == "i", op


@pytest.mark.parametrize("target", [COREML, TENSORRT, PORTABLE], ids=lambda target: str(target.name))
def test_biases_stay_in_float(target: Target) -> None:
    assert np.dtype(target.bias_dtype).kind == "f"


def test_tensorrt_and_portable_have_zero_points_of_zero() -> None:
    for target in (TENSORRT, PORTABLE):
        for limits in (Range(0.0, 6.0), Range(-1.0, 3.0)):
            params = fit(target.activations, limits, Bounds())
            assert params.zero_point == 0 and params.zero_point.dtype == np.int8
            assert params.scale == np.float32(np.maximum(-limits.minimum, limits.maximum) / 127)


def test_portable_asks_what_any_of_the_others_asks() -> None:
    strict = [Scales.FREE, Scales.UNION, Scales.MOVED, Scales.EQUAL]
    for op, row in PORTABLE.ops.items():
        for table in (TFLITE, COREML, X86_VNNI, TENSORRT):
            if op in table.ops:
                assert strict.index(row.scales) >= strict.index(table.ops[op].scales), (op, table.name)
                assert row.weight == table.ops[op].weight
        assert row.fixed is None


def test_weights_of_all_but_the_seven_bit_table_are_the_same_scheme() -> None:
    """What one rounds well is rounded well for all, but for scales that one wants in 16 bits."""
    weights = [replace(target.weights, half_scales=False) for target in ALL if target.weights.bits is None]
    assert set(weights) == {TFLITE.weights}


@pytest.mark.parametrize(
    ("widths", "inputs", "outputs", "holds"),
    [
        (Widths(16), 16, 16, True),
        (Widths(16), 15, 64, False),
        (Widths(16), 64, 10, False),
        (Widths(16, multiple=8), 3, 32, True),  # the first layer of most networks
        (Widths(16, multiple=8), 3, 20, False),
        (Widths(16, multiple=8), 8, 8, False),
        (Widths(16, multiple=8), 20, 20, True),
        (Widths(16, multiple=8), 32, 3, True),
    ],
)
def test_widths(widths: Widths, inputs: int, outputs: int, holds: bool) -> None:
    assert widths.hold(inputs, outputs) is holds


def test_fixed_parameters_have_the_types_of_onnx() -> None:
    params = Fixed(1 / 256, -128).params(TFLITE.activations)
    assert params.scale.dtype == np.float32 and params.scale == np.float32(1 / 256)
    assert params.zero_point.dtype == np.int8 and params.zero_point == -128
