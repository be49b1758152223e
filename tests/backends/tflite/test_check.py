"""The check of a written file: it sees what is wrong with one, and says how far the rest is off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruna_ir.backends.agreement import Agreement, compare, last_step, require_agreement, require_same_scales
from pruna_ir.backends.tflite.backend import TfliteBackend
from pruna_ir.backends.tflite.check import coverage, file_params
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Check
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

pytest.importorskip("ai_edge_litert")

from onnx_text import model_from, weight

from pruna_ir.backends.tflite.session import LiteSession

QDQ = """g (float[1,6] x) => (float[1,4] y, float[4,1] t) {
    q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
    w = DequantizeLinear <axis = 1> (wq, ws, wz)
    m = MatMul (d, w)
    o = QuantizeLinear (m, t0, z) y = DequantizeLinear (o, t0, z)
    t = Transpose <perm = [1, 0]> (y)
}"""
ROWS = [{"x": weight(1, 6, seed=seed)} for seed in range(4)]


def quantized() -> Model:
    generator = np.random.default_rng(0)
    return model_from(
        QDQ,
        s=np.array(0.03, np.float32),
        z=np.array(3, np.int8),
        wq=generator.integers(-127, 128, (6, 4)).astype(np.int8),
        ws=np.array([0.01, 0.02, 0.03, 0.04], np.float32),
        wz=np.zeros(4, np.int8),
        t0=np.array(0.2, np.float32),
    )


def content(model: Model, folder: Path) -> bytes:
    path = folder / "m.tflite"
    TfliteBackend().emit(model, path)
    return path.read_bytes()


def spoiled(file: bytes, spoil: Callable[[Any, Any], None]) -> bytes:
    """The file with something else in it: `spoil` gets the model and its graph."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(file, 0)
    spoil(model, model.subgraphs[0])
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def check_scales(model: Model, file: bytes) -> Check:
    return require_same_scales(model.graph, file_params(file))


def agreement(model: Model, file: bytes) -> dict[str, Agreement]:
    return compare(model, Session(model, optimize=False), LiteSession(file), ROWS)


@pytest.fixture
def model() -> Model:
    return TfliteBackend().legalize(quantized())


def test_scales_of_the_model_are_those_of_the_file(model: Model, tmp_path: Path) -> None:
    assert "bit-identical" in check_scales(model, content(model, tmp_path)).result


@pytest.mark.parametrize("name", ["q", "o", "wq"])
def test_a_scale_that_is_another_one_is_named(model: Model, tmp_path: Path, name: str) -> None:
    def widen(_: Any, graph: Any) -> None:
        for tensor in graph.tensors:
            if tensor.quantization is not None and tensor.name.decode().startswith(name):
                tensor.quantization.scale = np.nextafter(tensor.quantization.scale, np.float32(1))

    with pytest.raises(PrunaError, match=rf"E002(.|\n)*`{name}"):
        check_scales(model, spoiled(content(model, tmp_path), widen))


BIASED = """g (float[1,6] x) => (float[1,4] y) {
    q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) w = DequantizeLinear (wq, s, z)
    m = Gemm (d, w, b) o = QuantizeLinear (m, t0, z) y = DequantizeLinear (o, t0, z)
}"""


def biased() -> Model:
    """A layer whose bias is in floats, as TensorRT and Core ML want it."""
    return TfliteBackend().legalize(
        model_from(
            BIASED,
            s=np.float32(0.03),
            z=np.int8(0),
            wq=np.random.default_rng(0).integers(-127, 128, (6, 4)).astype(np.int8),
            b=weight(4),
            t0=np.float32(0.2),
        )
    )


def test_a_bias_in_floats_is_written_in_units_of_its_products(tmp_path: Path) -> None:
    model = biased()
    assert "bit-identical" in check_scales(model, content(model, tmp_path)).result


def test_a_bias_in_other_units_is_named(tmp_path: Path) -> None:
    def widen(_: Any, graph: Any) -> None:
        biases = [tensor for tensor in graph.tensors if b"bias" in tensor.name]
        assert len(biases) == 1
        biases[0].quantization.scale = np.nextafter(biases[0].quantization.scale, np.float32(1))

    model = biased()
    with pytest.raises(PrunaError, match=r"E002(.|\n)*bias"):
        check_scales(model, spoiled(content(model, tmp_path), widen))


def test_equal_constants_with_other_scales_are_told_apart(tmp_path: Path) -> None:
    """Deduplication stores them once, and each reader has a DequantizeLinear of its own."""
    text = """g (float[2,4] x) => (float[2,4] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
        one = DequantizeLinear(k, s, z) m = Mul(d, one) mq = QuantizeLinear(m, s2, z) md = DequantizeLinear(mq, s2, z)
        two = DequantizeLinear(k, s2, z) t = Mul(md, two) tq = QuantizeLinear(t, s, z) y = DequantizeLinear(tq, s, z)
    }"""
    constants: dict[str, Any] = {
        "s": np.float32(0.02),
        "s2": np.float32(0.03),
        "z": np.int8(0),
        "k": np.array([100], np.int8),
    }
    source = TfliteBackend().legalize(model_from(text, **constants))
    assert "bit-identical" in check_scales(source, content(source, tmp_path)).result


def test_a_zero_point_that_is_another_one_is_named(model: Model, tmp_path: Path) -> None:
    def move(_: Any, graph: Any) -> None:
        for tensor in graph.tensors:
            if tensor.name == b"q":
                tensor.quantization.zeroPoint = tensor.quantization.zeroPoint + 1

    with pytest.raises(PrunaError, match=r"E002(.|\n)*`q`"):
        check_scales(model, spoiled(content(model, tmp_path), move))


def test_what_xnnpack_takes_is_counted(model: Model, tmp_path: Path) -> None:
    session = LiteSession(content(model, tmp_path))
    count = len(session.operators())
    assert coverage(session) == f"XNNPACK runs {count} of {count} operators"
    assert coverage(LiteSession(session.content, delegate=False)).startswith(
        f"XNNPACK runs 0 of {count} operators; not "
    )


def test_agreement_is_in_steps_of_the_last_scale(model: Model, tmp_path: Path) -> None:
    found = agreement(model, content(model, tmp_path))
    assert found.keys() == {"y", "t"}
    for item in found.values():
        assert item.step == pytest.approx(0.2) and (item.steps, item.values) == (0, 16)
    assert str(found["y"]) == "0 steps, 0.00% of the values differ"
    require_agreement(found, 1e-9, "m.tflite", "XNNPACK")


def test_other_weights_are_seen(model: Model, tmp_path: Path) -> None:
    def negate(file: Any, graph: Any) -> None:
        tensor = next(tensor for tensor in graph.tensors if tensor.name.decode().startswith("wq"))
        buffer = file.buffers[tensor.buffer]
        buffer.data = (-np.array(buffer.data, np.uint8).view(np.int8)).view(np.uint8)

    found = agreement(model, spoiled(content(model, tmp_path), negate))
    assert found["y"].steps > 1 and found["y"].differ > 8
    with pytest.raises(PrunaError, match=r"E002(.|\n)*`y`: \d+ steps"):
        require_agreement(found, 0.05, "m.tflite", "XNNPACK")


def test_agreement_counts_every_value_once() -> None:
    found = Agreement(step=0.5)
    assert found.add(np.array([0.0, 1.0]), np.array([0.0, 1.5])) and found.add(np.array([4.0]), np.array([3.0]))
    assert (found.steps, found.differ, found.values, found.range) == (2, 2, 3, 4.0)
    assert found.error == pytest.approx(np.sqrt(1.25 / 3) / 4)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [([1.0, 2.0], [1.0]), ([np.inf], [1.0]), ([1.0], [np.nan]), ([np.inf], [-np.inf])],
)
def test_what_is_no_number_only_there_is_no_agreement(wanted: list[float], found: list[float]) -> None:
    assert not Agreement(None).add(np.array(wanted), np.array(found))


def test_infinities_of_the_model_agree_with_themselves() -> None:
    found = Agreement(None)
    assert found.add(np.array([-np.inf, np.nan, 1.0]), np.array([-np.inf, np.nan, 1.0])) and found.error == 0


def test_an_output_behind_arithmetic_has_no_step(model: Model) -> None:
    assert [last_step(tensor) for tensor in model.graph.outputs] == [pytest.approx(0.2)] * 2
    assert last_step(model_from("g (float[2] x) => (float[2] y) { y = Relu (x) }").graph.outputs[0]) is None
