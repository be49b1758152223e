"""Tensors of a program: each value once in each layout, each constant once, names that are free."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pruna_ir.backends.tflite.constants import Constants
from pruna_ir.backends.tflite.program import Operator, Quantization, Tensor
from pruna_ir.backends.tflite.table import Unsupported
from pruna_ir.backends.tflite.tensors import Tensors
from pruna_ir.backends.tflite.types import narrow
from pruna_ir.calibration.scheme import QuantParams

LAST = (0, 2, 3, 1)


class Made:
    """Tensors with the operators that they asked for."""

    def __init__(self, params: dict[int, QuantParams] | None = None) -> None:
        self.operators: list[Operator] = []
        self.tensors = Tensors(params or {}, self.operators.append)

    @property
    def codes(self) -> list[str]:
        return [operator.code for operator in self.operators]


def variable(*shape: int, name: str = "v", dtype: type = np.float32) -> gs.Variable:
    return gs.Variable(name, dtype, list(shape))


def test_a_value_is_moved_once_for_all_readers() -> None:
    made, value = Made(), variable(1, 2, 3, 4)
    written = made.tensors.declare(value, LAST)
    assert written.shape == (1, 3, 4, 2) and made.tensors.written(value) == LAST
    first, second = (made.tensors.read(value, (0, 1, 2, 3)) for _ in range(2))
    assert first is second and first.shape == (1, 2, 3, 4)
    assert made.codes == ["TRANSPOSE"]
    assert made.tensors.read(value, LAST) is written


def test_axes_of_size_one_are_moved_by_a_reshape() -> None:
    made, value = Made(), variable(1, 8, 1, 1)
    made.tensors.declare(value, LAST)
    assert made.tensors.read(value, (0, 1, 2, 3)).shape == (1, 8, 1, 1)
    assert made.codes == ["RESHAPE"]
    assert made.tensors.read_any_order(value).shape == (1, 1, 1, 8)


def test_a_value_of_fewer_axes_is_broadcast_in_the_layout() -> None:
    made, value = Made(), variable(2, 3, 4)
    made.tensors.declare(value, (0, 1, 2))
    assert made.tensors.read_broadcast(value, LAST).shape == (1, 3, 4, 2)
    assert made.codes == ["RESHAPE", "TRANSPOSE"]


def test_constants_are_moved_as_they_are_written() -> None:
    made = Made()
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = made.tensors.read_broadcast(gs.Constant("c", values), LAST)
    assert found.data is not None and not made.operators
    np.testing.assert_array_equal(found.data, values[None].transpose(LAST))
    scalar = made.tensors.read_broadcast(gs.Constant("s", np.array(3, np.float32)), LAST)
    assert scalar.shape == ()


def test_scales_per_channel_follow_their_axis() -> None:
    value = variable(1, 2, 3, 4, dtype=np.int8)
    params = QuantParams(np.array([0.1, 0.2], np.float32), np.zeros(2, np.int8), 1)
    written = Made({id(value): params}).tensors.declare(value, LAST)
    assert written.quantization is not None and written.quantization.axis == 3
    np.testing.assert_array_equal(written.quantization.scale, params.scale)


def test_names_are_free_and_outputs_keep_theirs() -> None:
    made = Made()
    first = made.tensors.declare(variable(2, name="y"), (0,))
    second = made.tensors.temporary("y", (2,), np.float32)
    assert (first.name, second.name) == ("y", "y_2")
    made.tensors.rename(second, "y")
    assert (first.name, second.name) == ("y/stored", "y")
    made.tensors.rename(second, "y")
    assert second.name == "y"


def test_integers_that_32_bits_do_not_hold() -> None:
    assert narrow(np.array([2**31 - 1, -(2**31)]), "c").dtype == np.int32
    with pytest.raises(Unsupported, match="`c` holds integers"):
        narrow(np.array([2**31]), "c")
    assert narrow(np.array([1.5]), "c").dtype == np.float32
    assert narrow(np.array([True]), "c").dtype == np.bool_


def constant(values: np.ndarray, scale: float | None = None) -> Tensor:
    params = None if scale is None else Quantization(np.array([scale], np.float32), np.array([0]))
    return Tensor("c", values.shape, values.dtype, params, values)


def test_equal_constants_are_found() -> None:
    known, values = Constants(), np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    tensor = constant(values)
    known.add(tensor)
    assert known.find(values.copy(), None) is tensor
    assert known.find(np.asfortranarray(values), None) is tensor
    assert known.find(values.T, None) is None
    assert known.find(values.reshape(50, 40), None) is None
    assert known.find(values.view(np.int32), None) is None
    other = values.copy()
    other[17, 23] += 1
    assert known.find(other, None) is None


def test_constants_of_other_scales_are_others() -> None:
    known, values = Constants(), np.arange(6, dtype=np.int8)
    tensor = constant(values, 0.5)
    known.add(tensor)
    assert known.find(values, constant(values, 0.5).quantization) is tensor
    assert known.find(values, constant(values, 0.25).quantization) is None
    assert known.find(values, None) is None
