"""The Core ML back end as a whole: options, what is in a package, what is refused."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pruna_ir as pi
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.diagnostics import PrunaError
from pruna_ir.emission import Artifact, parse_backends
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session

pytest.importorskip("coremltools")

from onnx_text import model_from, positive, weight

from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.images import of_preprocessing
from pruna_ir.backends.coreml.session import EvaluatorSession

NET = """g (float[n,3,8,8] image) => (float[n,4] scores) {
    c = Conv <pads = [1,1,1,1]> (image, w, b)
    r = Relu (c)
    p = GlobalAveragePool (r)
    f = Flatten (p)
    scores = Gemm (f, head)
}"""
IMAGES = weight(8, 3, 8, 8, seed=5)


def net(text: str = NET) -> Model:
    return model_from(text, w=weight(8, 3, 3, 3), b=weight(8, seed=1), head=weight(8, 4, seed=2))


def scores(model: Model, images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of images."""
    return Session(model, optimize=False).run({"image": images})["scores"]


def emitted(folder: Path, model: Model, text: str = "coreml", data: Any = IMAGES) -> tuple[Artifact, EvaluatorSession]:
    artifact = pi.emit(model, text, folder / "model.mlpackage", data=data)
    return artifact, EvaluatorSession(artifact.path)


def test_a_package(tmp_path: Path) -> None:
    artifact, session = emitted(tmp_path, net())
    assert [check.name for check in artifact.checks] == ["loads", "scales", "evaluator"]
    assert artifact.bytes == sum(part.stat().st_size for part in artifact.path.rglob("*") if part.is_file())
    assert session.package.version == 8 and [spec.name for spec in session.inputs] == ["image"]
    wanted = scores(net(), IMAGES[:1])
    found = session.run({"image": IMAGES[:1]})["scores"]
    assert 0 < np.abs(found - wanted).max() < 2e-2 * np.ptp(wanted)


def test_nothing_is_said_and_bytes_repeat(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, _ = emitted(tmp_path, net())
    second, _ = emitted(tmp_path, net())
    assert first.sha256 == second.sha256
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("ios", "version"), [(16, 7), (17, 8), (18, 9)])
def test_versions(ios: int, version: int, tmp_path: Path) -> None:
    _, session = emitted(tmp_path, net(), f"coreml<ios={ios};compute=fp32>")
    assert session.package.version == version


def test_names_and_types_that_core_ml_lacks(tmp_path: Path) -> None:
    text = """g (int64[2] i, bool[2] i_1, double[2] d, uint8[] number) => (double[2] y, bool[2] b, uint8[] k) {
        c = Cast <to = 11> (i)
        s = Add (c, d)
        y = Where (i_1, s, d)
        b = Not (i_1)
        k = Add (number, number)
    }"""
    model = model_from(text.replace("[] ", "[1] "))
    tensors = [*model.graph.inputs, *model.graph.outputs]
    for tensor, name in zip(tensors, ("i.1", "i_1", "3", "#", "y:0", "b", "k"), strict=True):
        tensor.name = name
    model.graph.inputs[3].shape = model.graph.outputs[2].shape = ()
    feeds = {"i.1": np.array([1, 2]), "i_1": np.array([True, False]), "3": np.array([0.5, 1.5]), "#": np.uint8(7)}
    _, session = emitted(tmp_path, model, "coreml<compute=fp32>", data=None)
    found = session.run({name: np.asarray(values) for name, values in feeds.items()})
    assert {name: (values.dtype.name, values.tolist()) for name, values in found.items()} == {
        "y:0": ("float64", [1.5, 1.5]),
        "b": ("bool", [False, True]),
        "k": ("uint8", 14),
    }


def test_sizes_that_stay_open(tmp_path: Path) -> None:
    artifact, session = emitted(tmp_path, net(), "coreml<shapes=[n:1..8];compute=fp32>")
    shape = session.package.spec.description.input[0].type.multiArrayType
    assert (shape.shapeRange.sizeRanges[0].lowerBound, shape.shapeRange.sizeRanges[0].upperBound) == (1, 8)
    wanted = scores(net(), IMAGES)
    np.testing.assert_allclose(session.run({"image": IMAGES})["scores"], wanted, atol=1e-5 * np.ptp(wanted))
    assert any("ranges" in str(remark.reason) for remark in artifact.remarks)


def test_sizes_of_a_list(tmp_path: Path) -> None:
    model = net(NET.replace("float[n,3,8,8]", "float[n,3,h,h]"))
    _, session = emitted(tmp_path, model, "coreml<shapes=[h:8|12|16];compute=fp32>")
    shapes = session.package.spec.description.input[0].type.multiArrayType.enumeratedShapes.shapes
    assert [list(item.shape) for item in shapes] == [[1, 3, size, size] for size in (8, 12, 16)]
    images = weight(1, 3, 12, 12)
    wanted = scores(model, images)
    np.testing.assert_allclose(session.run({"image": images})["scores"], wanted, atol=1e-5 * np.ptp(wanted))


def test_open_sizes_through_a_transformer_block(tmp_path: Path) -> None:
    text = """g (float[n,t,8] x) => (float[n,t,8] y) {
        m = LayerNormalization <axis = -1> (x, g, b)
        q = MatMul (m, w)
        k = Transpose <perm = [0,2,1]> (m)
        s = MatMul (q, k)
        p = Softmax <axis = -1> (s)
        a = MatMul (p, m)
        y = Add (a, x)
    }"""
    model = model_from(text, g=positive(8), b=weight(8), w=weight(8, 8))
    _, session = emitted(tmp_path, model, "coreml<shapes=[n:1..4,t:1..64];compute=fp32>", data=None)
    x = weight(3, 5, 8)
    wanted = Session(model, optimize=False).run({"x": x})["y"]
    np.testing.assert_allclose(session.run({"x": x})["y"], wanted, atol=1e-5 * np.ptp(wanted))


def test_images(tmp_path: Path) -> None:
    text = "coreml<image=RGB;scale=[0.1,0.2,0.3];bias=[-1.0,0.0,1.0];compute=fp32>"
    _, session = emitted(tmp_path, net(), text)
    kind = session.package.spec.description.input[0].type
    assert kind.WhichOneof("Type") == "imageType" and kind.imageType.width == 8
    wanted = scores(net(), IMAGES[:1])
    np.testing.assert_allclose(session.run({"image": IMAGES[:1]})["scores"], wanted, atol=1e-4 * np.ptp(wanted))


def test_images_as_the_data_says() -> None:
    pixels = of_preprocessing(Preprocessing(scale=1 / 255, mean=(0.5,), std=(0.25,), color="BGR"))
    assert pixels.color == "BGR" and len(pixels.scale) == 3
    assert np.allclose(pixels.scale, 4 / 255) and np.allclose(pixels.bias, -2)


def test_a_classifier(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\nowl\neel\n")
    _, session = emitted(tmp_path, net(), f'coreml<labels="{labels}";compute=fp32>')
    description = session.package.spec.description
    assert (
        description.predictedFeatureName == "classLabel"
        and description.predictedProbabilitiesName == "classLabel_probs"
    )
    wanted = scores(net(), IMAGES[:1])
    np.testing.assert_allclose(session.run({"image": IMAGES[:1]})["scores"], wanted, atol=1e-5 * np.ptp(wanted))


def test_metadata(tmp_path: Path) -> None:
    _, session = emitted(tmp_path, net(), 'coreml<author="Ada";license="MIT";version="1.2";description="finds owls">')
    metadata = session.package.spec.description.metadata
    assert (metadata.author, metadata.license, metadata.versionString) == ("Ada", "MIT", "1.2")
    assert metadata.shortDescription == "finds owls"
    assert json.loads(metadata.userDefined["pruna_ir"])["inputs"][0]["name"] == "image"
    assert "float32[1, 3, 8, 8]" in session.package.spec.description.input[0].shortDescription


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("shapes=[n]", "P004", "names no sizes"),
        ("shapes=[n:8..1]", "P004", "are no sizes"),
        ("shapes=[n:1..2,h:1|2]", "P004", "not both"),
        ("image=RGB;scale=[1.0,2.0]", "P004", "`scale` has 2 numbers"),
        ("ios=15", "P004", "16"),
        ('labels="/nowhere"', "D001", "the labels cannot be read"),
    ],
)
def test_options_that_say_nothing(options: str, code: str, message: str) -> None:
    with pytest.raises(PrunaError, match=message) as failure:
        parse_backends(f"coreml<{options}>")[0].require_packages()
    assert failure.value.diagnostic.code == code


@pytest.mark.parametrize(
    ("text", "options", "code", "message"),
    [
        ("g (float[1,t] x) => (float[1,t] y) { y = Relu (x) }", "", "E005", "a size of the input"),
        ("g (float[1,1,1,1,1,2] x) => (float[1,1,1,1,1,2] y) { y = Relu (x) }", "", "E005", "6 axes"),
        ("g (float[0,2] x) => (float[0,2] y) { y = Relu (x) }", "", "E005", "is empty"),
        ("g (float[1,2] x) => (float[1,2] y) { y = Relu (x) }", "image=RGB", "D003", "no input takes one image"),
        ("g (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu (x) }", "image=data", "D003", "does not say"),
    ],
)
def test_models_that_do_not_fit(text: str, options: str, code: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PrunaError, match=message) as failure:
        emitted(tmp_path, model_from(text), f"coreml<{options}>" if options else "coreml", data=None)
    assert failure.value.diagnostic.code == code and not list(tmp_path.iterdir())


def test_all_operators_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    proto = model_from("g (float[1,2,3] x) => (int64[2,n] a, float[1,2,3] b) { a = NonZero (x) b = Bernoulli (x) }")
    with pytest.raises(PrunaError, match="2 operators cannot be written for Core ML") as failure:
        CoremlBackend().emit(proto, tmp_path / "m.mlpackage")
    for name, note in zip(("NonZero", "Bernoulli"), failure.value.diagnostic.notes, strict=True):
        assert name in note


def test_what_reads_an_operator_that_cannot_be_written_is_looked_at_too(tmp_path: Path) -> None:
    text = "g (int32[4] x) => (int32[4] y) { a = BitwiseAnd (x, x) y = BitwiseOr (a, x) }"
    with pytest.raises(PrunaError, match="2 operators cannot be written for Core ML"):
        CoremlBackend().emit(model_from(text, opset=19), tmp_path / "m.mlpackage")


def test_labels_that_fit_no_output(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    with pytest.raises(PrunaError, match=r"D007.*2 labels"):
        emitted(tmp_path, net(), f'coreml<labels="{labels}">')
    labels.write_text("cat\ncat\n")
    with pytest.raises(PrunaError, match=r"D007.*`cat` is there twice"):
        emitted(tmp_path, net(), f'coreml<labels="{labels}">')


def test_a_package_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    emitted(tmp_path, net())
    emitted(tmp_path, net())
    other = tmp_path / "photos.mlpackage"
    other.mkdir()
    with pytest.raises(PrunaError, match=r"C003.*`coreml` did not write"):
        pi.emit(net(), "coreml", other)


@pytest.mark.parametrize(("failure", "code"), [(ValueError("no\nway"), "E004"), (OSError(28, "disk full"), "C003")])
def test_what_core_ml_tools_fail_on(
    failure: Exception, code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import coremltools

    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(coremltools, "convert", fail)
    with pytest.raises(PrunaError, match=r"no way|disk full") as found:
        emitted(tmp_path, net())
    assert found.value.diagnostic.code == code and not list(tmp_path.iterdir())


def test_the_name_of_a_package(tmp_path: Path) -> None:
    with pytest.raises(PrunaError, match=r"C003.*ends in .mlpackage"):
        pi.emit(net(), "coreml", tmp_path / "model.onnx")


def test_without_coremltools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find, hidden = importlib.util.find_spec, {"coremltools"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else find(name, *rest))
    with pytest.raises(PrunaError, match=r"(?s)X001.*pruna-ir\[coreml\]"):
        emitted(tmp_path, net())


def test_core_ml_runs_on_apples_systems_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    artifact, _ = emitted(tmp_path, net())
    with pytest.raises(PrunaError, match="E003"):
        CoremlBackend().session(artifact.path)
