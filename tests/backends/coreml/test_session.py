"""Packages that are fed, and answer, as the ONNX models that they were made from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_programs import mb, on_disk
from onnx_text import model_from, weight

from pruna_ir.backends.coreml.backend import CoremlBackend
from pruna_ir.backends.coreml.session import CoremlSession, EvaluatorSession, _picture
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.runtime.session import Session


def written(model: Model, path: Path, **options: Any) -> EvaluatorSession:
    backend = CoremlBackend(**{"compute": "fp32", **options})
    backend.emit(backend.legalize(model), path)
    return EvaluatorSession(path)


def test_names_types_and_shapes_are_the_models(tmp_path: Path) -> None:
    text = "(float[2,3] x, int64[2] rows) => (float[2,3] y, int64[2] more)"
    model = model_from(f"g {text} {{ y = Gather (x, rows) more = Add (rows, rows) }}")
    session = written(model, tmp_path / "m.mlpackage")
    feeds = {"x": weight(2, 3), "rows": np.array([1, 0])}
    found, wanted = session.run(feeds), Session(model).run(feeds)
    assert [str(spec) for spec in session.inputs] == ["x: float32[2, 3]", "rows: int64[2]"]
    assert list(found) == ["y", "more"]
    for name, expected in wanted.items():
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)
    assert list(session.run(feeds, ["more"])) == ["more"]


def test_integers_that_the_package_does_not_hold(tmp_path: Path) -> None:
    session = written(model_from("g (int64[2] x) => (int64[2] y) { y = Add (x, x) }"), tmp_path / "m.mlpackage")
    with pytest.raises(PrunaError, match="holds integers that int32 does not") as caught:
        session.run({"x": np.array([1, 2**40])})
    assert caught.value.diagnostic.code == "D003"


def test_numbers_without_axes(tmp_path: Path) -> None:
    session = written(model_from("g (float x) => (float y) { y = Relu (x) }"), tmp_path / "m.mlpackage")
    found = session.run({"x": np.float32(-2) * np.ones((), np.float32)})["y"]
    assert found.shape == () and found == 0


def test_more_samples_than_the_package_takes(tmp_path: Path) -> None:
    model = model_from("g (float[n,3] x) => (float[n,3] y) { y = Relu (x) }")
    session = written(model, tmp_path / "m.mlpackage", batch=2)
    values = weight(5, 3)
    np.testing.assert_array_equal(session.run({"x": values})["y"], np.maximum(values, 0))
    run = session.prepared({"x": values})
    run()


def test_a_package_that_does_not_say_what_it_was_made_from(tmp_path: Path) -> None:
    values = weight(2, 3)
    session = EvaluatorSession(on_disk(tmp_path / "m.mlpackage", lambda x: mb.relu(x=x, name="y"), {"x": values}))
    np.testing.assert_array_equal(session.run({"x": values})["y"], np.maximum(values, 0))
    with pytest.raises(PrunaError, match="`x` is missing"):
        session.run({})


def test_images(tmp_path: Path) -> None:
    """The model's samples are normalized, the package takes pixels."""
    model = model_from("g (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu (x) }")
    session = written(model, tmp_path / "m.mlpackage", image="RGB", scale=(0.1, 0.2, 0.3), bias=(-1.0, 0.0, 1.0))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 4))
    factors = [np.reshape(values, (1, 3, 1, 1)) for values in ((0.1, 0.2, 0.3), (-1.0, 0.0, 1.0))]
    sample = (pixels * factors[0] + factors[1]).astype(np.float32)
    np.testing.assert_allclose(session.run({"x": sample})["y"], np.maximum(sample, 0), atol=1e-4)
    fed = session._fed({"x": sample})
    np.testing.assert_allclose(next(iter(fed.values())), pixels, atol=1e-3)


def test_classifiers_answer_in_the_order_of_their_labels(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("zebra\nant\ncat\n")
    model = model_from("g (float[1,3] x) => (float[1,3] y) { y = Softmax (x) }")
    session = written(model, tmp_path / "m.mlpackage", labels=str(labels))
    values = weight(1, 3)
    found, wanted = session.run({"x": values})["y"], Session(model).run({"x": values})["y"]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_open_sizes(tmp_path: Path) -> None:
    model = model_from("g (float[n,3] x) => (float[n,3] y) { y = Relu (x) }")
    session = written(model, tmp_path / "m.mlpackage", shapes=("n:1..8",))
    for size in (1, 5):
        values = weight(size, 3)
        np.testing.assert_array_equal(session.run({"x": values})["y"], np.maximum(values, 0))


@pytest.mark.skipif(sys.platform == "darwin", reason="there Core ML runs")
def test_core_ml_runs_elsewhere(tmp_path: Path) -> None:
    model = model_from("g (float[1,3] x) => (float[1,3] y) { y = Relu (x) }")
    written(model, tmp_path / "m.mlpackage")
    for opened in (CoremlSession, CoremlBackend().session):
        with pytest.raises(PrunaError) as caught:
            opened(tmp_path / "m.mlpackage")
        assert caught.value.diagnostic.code == "E003"


class Predicting:
    """What `MLModel` is to the session on a Mac, here in the evaluator's stead."""

    given: dict[str, Any]

    def __init__(self, path: str) -> None:
        self.session = EvaluatorSession(Path(path))

    def predict(self, feeds: dict[str, Any]) -> dict[str, Any]:
        self.given = feeds
        arrays = {name: np.asarray(value) for name, value in feeds.items()}
        fed = {
            name: value if value.ndim == 4 else np.moveaxis(np.atleast_3d(value), 2, 0)[None].astype(np.float32)
            for name, value in arrays.items()
        }
        return self.session.program.run(fed)


def test_on_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The road to `predict`, images as images; what Core ML does with them is not tested here."""
    import coremltools

    pytest.importorskip("PIL")
    model = model_from("g (float[1,3,4,4] x) => (float[1,3,4,4] y) { y = Relu (x) }")
    written(model, tmp_path / "m.mlpackage", image="RGB", scale=(0.5,), bias=(-1.0,))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(coremltools.models, "MLModel", Predicting)
    session = CoremlSession(tmp_path / "m.mlpackage")
    sample = (np.random.default_rng(0).integers(0, 256, (1, 3, 4, 4)) * 0.5 - 1).astype(np.float32)
    np.testing.assert_allclose(session.run({"x": sample})["y"], np.maximum(sample, 0), atol=1e-4)
    assert type(next(iter(session._model.given.values()))).__name__ == "Image"


@pytest.mark.parametrize(("color", "channels"), [("GRAY", 1), ("RGB", 3), ("BGR", 3)])
def test_pictures(color: str, channels: int) -> None:
    pytest.importorskip("PIL")
    pixels = np.random.default_rng(0).integers(0, 256, (1, channels, 2, 5)).astype(np.float32)
    picture = _picture(pixels, color)
    assert picture.size == (5, 2) and picture.mode == ("L" if channels == 1 else "RGB")
    array = np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1)
    np.testing.assert_array_equal(array[::-1] if color == "BGR" else array, pixels[0])
