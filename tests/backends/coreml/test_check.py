"""The check of a written package: it sees what is wrong with one, and says how far the rest is off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

pytest.importorskip("coremltools")

from mil_programs import mb, on_disk
from onnx_text import model_from, weight

import pruna_ir as pi
from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.check import check, check_scales, compare_steps
from pruna_ir.backends.coreml.evaluate.package import read_package
from pruna_ir.backends.coreml.processors import remarks
from pruna_ir.backends.coreml.session import EvaluatorSession
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Emitted
from pruna_ir.model import Model

QDQ = """g (float[1,6] x) => (float[1,4] y) {
    q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)
    w = DequantizeLinear <axis = 1> (wq, ws, wz)
    m = MatMul (d, w)
    o = QuantizeLinear (m, t, u) y = DequantizeLinear (o, t, u)
}"""
SAMPLES = [{"x": weight(1, 6, seed=seed)} for seed in range(4)]


def quantized(scale: float = 0.03, **others: Any) -> Model:
    generator = np.random.default_rng(0)
    constants = {
        "s": np.array(scale, np.float32),
        "z": np.array(3, np.int8),
        "t": np.array(0.07, np.float32),
        "u": np.array(-5, np.int8),
        "wq": generator.integers(-127, 128, (6, 4)).astype(np.int8),
        "ws": (generator.random(4) * 0.01 + 0.005).astype(np.float32),
        "wz": np.zeros(4, np.int8),
    }
    return model_from(QDQ, **{**constants, **others})


def plain() -> Model:
    return model_from("g (float[1,6] x) => (float[1,4] y) { m = MatMul (x, w) y = Relu (m) }", w=weight(6, 4))


def emitted(model: Model, path: Path, compute: str = "fp32") -> Emitted:
    backend = CoremlBackend(compute=compute)  # type: ignore[arg-type]
    legal = backend.legalize(model)
    backend.emit(legal, path)
    return Emitted(backend, legal, path)


def texts(found: Emitted, compute: str = "fp32", samples: Any = SAMPLES) -> dict[str, str]:
    return {item.name: item.result for item in check(found, samples, compute)}


def test_a_float_package(tmp_path: Path) -> None:
    found = texts(emitted(plain(), tmp_path / "m.mlpackage"))
    assert list(found) == ["loads", "scales", "evaluator"]
    assert found["scales"] == "none: all in float" and "reads it back: " in found["loads"]
    assert "of the range, on 4 samples" in found["evaluator"]


def test_a_quantized_package(tmp_path: Path) -> None:
    found = texts(emitted(quantized(), tmp_path / "m.mlpackage"))
    assert found["scales"] == "of 5 tensors, bit-identical to the model's"
    assert found["steps"].startswith("at most 0 in 2 quantized tensors")
    assert found["evaluator"].startswith("`y` 0 steps")


def test_half_precision(tmp_path: Path) -> None:
    found = texts(emitted(plain(), tmp_path / "m.mlpackage", "fp16"), "fp16")
    error = float(found["evaluator"].split()[1])
    assert 0 < error < 2e-2


def test_nothing_to_compare(tmp_path: Path) -> None:
    found = texts(emitted(plain(), tmp_path / "m.mlpackage"), samples=[])
    assert found["outputs"].startswith("not compared")


def test_the_package_of_another_model(tmp_path: Path) -> None:
    found = emitted(plain(), tmp_path / "m.mlpackage")
    other = model_from("g (float[1,6] x) => (float[1,4] y) { m = MatMul (x, w) y = Abs (m) }", w=weight(6, 4))
    with pytest.raises(PrunaError, match="does not compute the model's outputs on the evaluator") as caught:
        check(replace(found, model=other), SAMPLES, "fp32")
    assert caught.value.diagnostic.code == "E002"


def test_half_precision_that_is_too_little(tmp_path: Path) -> None:
    """Reciprocals of numbers that are zero in 16 bits, and no samples to measure that on."""
    text = "g (float[1,6] x) => (float[1,6] y) { a = Abs (x) b = Mul (a, s) y = Reciprocal (b) }"
    model = model_from(text, s=np.array([1e-9], np.float32))
    found = emitted(model, tmp_path / "m.mlpackage", "fp16")
    with pytest.raises(PrunaError, match="no numbers where the model has") as caught:
        check(found, SAMPLES, "fp16")
    assert "coreml<compute=fp32>" in caught.value.diagnostic.help


@pytest.mark.parametrize("compute", ["fp32", "fp16"])
def test_logarithms_of_what_is_zero_in_half_precision(compute: str, tmp_path: Path) -> None:
    text = "g (float[1,6] x) => (float[1,6] y) { a = Abs (x) b = Mul (a, s) y = Log (b) }"
    model = model_from(text, s=np.array([1e-9], np.float32))
    assert pi.emit(model, f"coreml<compute={compute}>", tmp_path / "m.mlpackage", data=[*SAMPLES]).checks
    assert pi.emit(model, f"coreml<compute={compute}>", tmp_path / "m.mlpackage").checks


OTHERS: dict[str, Any] = {
    "s": np.array(0.0300001, np.float32),
    "z": np.array(4, np.int8),
    "ws": np.full(4, 0.01, np.float32),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_scales(tmp_path: Path, name: str) -> None:
    emitted(quantized(), tmp_path / "m.mlpackage")
    package = read_package(tmp_path / "m.mlpackage")
    assert "5 tensors" in check_scales(quantized(), package).result
    with pytest.raises(PrunaError, match="scales that the model has not"):
        check_scales(quantized(**{name: OTHERS[name]}), package)


@pytest.mark.parametrize("compute", ["fp32", "fp16"])
@pytest.mark.parametrize("scale", [0.03, 1e-8, 0.25])
def test_scales_survive_bit_for_bit(tmp_path: Path, compute: str, scale: float) -> None:
    """Half precision would make zero of the smallest, and another number of 0.03."""
    found = emitted(quantized(scale), tmp_path / "m.mlpackage", compute)
    assert "bit-identical" in check_scales(found.model, read_package(found.path)).result


def test_steps_are_counted_from_the_models_integers(tmp_path: Path) -> None:
    """A tensor that is a step off does not move those behind it."""
    found = emitted(quantized(), tmp_path / "m.mlpackage")
    moved = QDQ.replace("QuantizeLinear (x,", "QuantizeLinear (more,", 1).replace("{", "{ more = Add (x, step)", 1)
    constants = {
        str(tensor.name): tensor.values
        for tensor in quantized().graph.tensors().values()
        if isinstance(tensor, gs.Constant)
    }
    other = model_from(moved, step=np.array([0.03], np.float32), **constants)
    steps = compare_steps(other, EvaluatorSession(found.path), SAMPLES)
    assert steps["q"].steps == 1 and steps["q"].differ == steps["q"].values
    assert steps["o"].steps == 0


class TestProcessors:
    def reasons(self, path: Path) -> list[str]:
        return [str(remark.reason) for remark in remarks(read_package(path))]

    def test_half_precision_stays(self, tmp_path: Path) -> None:
        emitted(plain(), tmp_path / "m.mlpackage", "fp16")
        assert self.reasons(tmp_path / "m.mlpackage") == []

    def test_single_precision_leaves(self, tmp_path: Path) -> None:
        emitted(plain(), tmp_path / "m.mlpackage")
        (reason,) = self.reasons(tmp_path / "m.mlpackage")
        assert reason.startswith("not on the Neural Engine, by the documentation and not measured: ")
        assert "`relu` computes in 32-bit floats (https://" in reason

    def test_integers_and_what_has_no_implementation(self, tmp_path: Path) -> None:
        def build(x: Any) -> Any:
            half = mb.cast(x=x, dtype="fp16")
            product = mb.cast(x=mb.reduce_prod(x=half, axes=[1], keep_dims=True), dtype="fp32")
            return mb.identity(x=product), mb.add(x=mb.shape(x=x), y=np.int32(1))

        on_disk(tmp_path / "m.mlpackage", lambda x: build(x), {"x": weight(2, 3)})
        found = " ".join(self.reasons(tmp_path / "m.mlpackage"))
        assert "`reduce_prod` has no implementation there" in found

    def test_ranges(self, tmp_path: Path) -> None:
        backend = CoremlBackend(shapes=("n:1..8",))
        model = model_from("g (float[n,3] x) => (float[n,3] y) { y = Relu (x) }")
        backend.emit(backend.legalize(model), tmp_path / "m.mlpackage")
        assert "other shapes of `x` than the default" in self.reasons(tmp_path / "m.mlpackage")[0]


class TestEmission:
    """As users call it."""

    def test_the_whole_road(self, tmp_path: Path) -> None:
        artifact = pi.emit(quantized(), "coreml<compute=fp32>", tmp_path / "m.mlpackage", data=[*SAMPLES])
        assert [item.name for item in artifact.checks] == ["loads", "scales", "evaluator", "steps"]
        assert artifact.bytes == sum(file.stat().st_size for file in artifact.path.rglob("*") if file.is_file())

    def test_a_package_is_written_again(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mlpackage"
        first = pi.emit(plain(), "coreml", path)
        second = pi.emit(plain(), "coreml", path)
        assert first.sha256 == second.sha256

    def test_another_folder_is_not(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mlpackage"
        (path / "precious").mkdir(parents=True)
        with pytest.raises(PrunaError) as caught:
            pi.emit(plain(), "coreml", path)
        assert caught.value.diagnostic.code == "C003" and (path / "precious").is_dir()
