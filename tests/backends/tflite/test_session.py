"""Running .tflite files, and what is seen of them: on files written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.spec import TensorSpec

pytest.importorskip("ai_edge_litert")

from litert_ops import INT8, LiteFile, LiteOp, build, run, spanning

from pruna_ir.backends.tflite.interface import ENTRY, Interface, Port
from pruna_ir.backends.tflite.session import LiteSession, metadata_entries, read_interface
from pruna_ir.targets.target import Fixed

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.standard_normal((2, 3)).astype(np.float32)


def relu(dtype: type = np.float32, interface: Interface | None = None, shape: tuple[int, ...] = (2, 3)) -> bytes:
    """A file of one RELU of shape [2, 3]."""
    file = LiteFile()
    tensors = [file.tensor(shape, dtype) for _ in range(2)]
    file.operator("RELU", tensors[:1], tensors[1:])
    return file.finish(tensors[:1], tensors[1:], **({} if interface is None else {ENTRY: interface.to_bytes()}))


def chain(*codes: str) -> bytes:
    """A file of unary operators in a row."""
    file = LiteFile()
    tensors = [file.tensor((1, 4), np.float32) for _ in range(len(codes) + 1)]
    for index, code in enumerate(codes):
        file.operator(code, [tensors[index]], [tensors[index + 1]])
    return file.finish(tensors[:1], tensors[-1:])


def test_a_file_without_an_interface_is_its_own() -> None:
    session = LiteSession(relu())
    assert session.inputs == (TensorSpec("t0", np.dtype(np.float32), (2, 3)),)
    np.testing.assert_array_equal(session.run({"t0": ROWS})["t1"], np.maximum(ROWS, 0))


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5])
def test_any_number_of_samples_goes_through_in_turns(samples: int) -> None:
    rows = RANDOM.standard_normal((samples, 3)).astype(np.float32)
    np.testing.assert_array_equal(LiteSession(relu()).run({"t0": rows})["t1"], np.maximum(rows, 0))


def test_tensors_without_values() -> None:
    session = LiteSession(relu(shape=(0, 3)))
    assert session.run({"t0": np.zeros((0, 3), np.float32)})["t1"].shape == (0, 3)


def test_layout_and_names_are_those_of_the_model() -> None:
    spec = TensorSpec("image", np.dtype(np.float32), (1, 2, 4, 3))
    answer = TensorSpec("answer", np.dtype(np.float32), (1, 2, 4, 3))
    order = (0, 2, 3, 1)
    interface = Interface((Port(spec, order),), (Port(answer, order),))
    content = relu(interface=interface, shape=(1, 4, 3, 2))
    assert read_interface(content) == interface and set(metadata_entries(content)) == {ENTRY}
    image = RANDOM.standard_normal((1, 2, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(LiteSession(content).run({"image": image})["answer"], np.maximum(image, 0))


def test_wide_integers_are_narrowed_and_come_back_wide() -> None:
    wide = np.dtype(np.int64)
    ports = [(Port(TensorSpec(name, wide, (2, 3))),) for name in ("x", "y")]
    file = LiteFile()
    tensors = [file.tensor((2, 3), np.int32) for _ in range(2)]
    file.operator("ABS", tensors[:1], tensors[1:])
    session = LiteSession(file.finish(tensors[:1], tensors[1:]))
    session.interface = Interface(*ports)
    session.inputs, session.outputs = ((ports[0][0].spec,), (ports[1][0].spec,))
    found = session.run({"x": np.full((2, 3), -7)})["y"]
    assert found.dtype == wide and (found == 7).all()
    with pytest.raises(PrunaError, match=r"D003.*integers that int32 does not"):
        session.run({"x": np.full((2, 3), 2**40)})


def test_integers_at_the_border_stand_for_floats() -> None:
    params = spanning(ROWS)
    file = LiteFile()
    tensors = [file.tensor((2, 3), np.int8, params) for _ in range(2)]
    file.operator("ABS", tensors[:1], tensors[1:])
    session = LiteSession(file.finish(tensors[:1], tensors[1:]))
    ports = [(Port(TensorSpec(name, np.dtype(np.float32), (2, 3))),) for name in ("x", "y")]
    session.interface = Interface(*ports)
    session.inputs, session.outputs = ((ports[0][0].spec,), (ports[1][0].spec,))
    found = session.run({"x": ROWS})["y"]
    top = (127 - int(params.zero_point)) * float(params.scale)
    assert found.dtype == np.float32 and np.abs(found - np.minimum(np.abs(ROWS), top)).max() <= params.scale


def test_prepared_runs_the_file() -> None:
    session = LiteSession(relu())
    session.run({"t0": ROWS})
    once: Callable[[], object] = session.prepared({"t0": -ROWS})
    once()
    np.testing.assert_array_equal(session.native.get_tensor(1), np.maximum(-ROWS, 0))


@pytest.mark.parametrize(
    ("codes", "taken"),
    [
        (("RELU", "TANH"), [True, True]),
        (("RELU", "LOG_SOFTMAX", "TANH"), [True, False, True]),
        (("LOG_SOFTMAX",), [False]),
    ],
)
def test_operators_say_what_xnnpack_took(codes: tuple[str, ...], taken: list[bool]) -> None:
    assert LiteSession(chain(*codes)).operators() == list(zip(codes, taken, strict=True))
    assert [found for _, found in LiteSession(chain(*codes), delegate=False).operators()] == [False] * len(codes)


def test_feeds_that_do_not_fit_are_named() -> None:
    session = LiteSession(relu())
    with pytest.raises(PrunaError, match=r"D003(.|\n)*`t0` is missing"):
        session.run({})
    with pytest.raises(PrunaError, match=r"D003(.|\n)*`t0` is \[2, 3\] in the file, the sample is \[2, 4\]"):
        session.run({"t0": np.zeros((2, 4), np.float32)})


def test_what_litert_refuses_is_told_in_its_words() -> None:
    with pytest.raises(PrunaError, match=r"E002.*LiteRT refuses the file"):
        LiteSession(b"\x1c\x00\x00\x00TFL3" + b"\x00" * 32)


def test_litert_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    LiteSession(relu())
    assert capfd.readouterr().err == ""


def test_the_same_as_litert_itself() -> None:
    op = LiteOp("LOGISTIC", ((2, 3),), lambda x: 1 / (1 + np.exp(-x)))
    content = build(op, [spanning(ROWS)], Fixed(1 / 256, -128).params(INT8), (2, 3))
    session = LiteSession(content)
    name = session.inputs[0].name
    (found,) = session.run({name: ROWS}).values()
    np.testing.assert_array_equal(found, run(content, [ROWS], delegate=True))
