from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruna_ir.data import Dataset, Split, evaluate


def values(split: Split | None, name: str = "x") -> list[Any]:
    assert split is not None
    return [row for batch in split.batches(2) for row in batch.feeds[name][: batch.count].tolist()]


def save_images(folder: Path, count: int = 3) -> None:
    from PIL import Image

    folder.mkdir()
    for number in range(count):
        Image.fromarray(np.full((6, 4, 3), number, np.uint8)).save(folder / f"{number}.png")


def test_bare_files(tmp_path: Path, spec: Any) -> None:
    data = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(tmp_path / "a.npz", anything=data)
    np.save(tmp_path / "a.npy", data)
    (tmp_path / "folder").mkdir()
    for number, row in enumerate(data):
        np.save(tmp_path / "folder" / f"{number}.npy", row)
    for name in ("a.npz", "a.npy", "folder"):
        bound = Dataset.load(tmp_path / name).bind([spec("x", "N", 2)])
        assert values(bound.calibration) == data.tolist()
        assert bound.metric() is None and bound.test is None and not bound.synthetic


def test_bare_image_folder_takes_the_models_shape_and_says_so(tmp_path: Path, spec: Any) -> None:
    save_images(tmp_path / "images")
    dataset = Dataset.load(tmp_path / "images")
    assert "0 to 255" in dataset.warnings[0]
    batch = next(iter(dataset.bind([spec("x", 1, 3, 8, 8)]).require("calibration").batches()))
    assert batch.feeds["x"].shape == (1, 3, 8, 8) and batch.feeds["x"].dtype == np.float32


def test_images_with_labels(tmp_path: Path, spec: Any) -> None:
    save_images(tmp_path / "images")
    (tmp_path / "labels.csv").write_text("file,label\n2.png,1\n0.png,0\n")
    (tmp_path / "d.yaml").write_text(
        "calibration: {source: images, labels: labels.csv}\n"
        "input: {layout: NHWC, resize: {mode: plain, size: [2, 2]}, scale: 0.5}\n"
        "metric: top1\n"
    )
    split = Dataset.load(tmp_path / "d.yaml").bind([spec("x", "N", 2, 2, 3)]).require("calibration")
    (batch,) = split.batches(8)
    assert batch.labels.tolist() == [1, 0] and batch.feeds["x"][:, 0, 0, 0].tolist() == [1.0, 0.0]


def test_npy_with_labels(tmp_path: Path, spec: Any) -> None:
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    np.save(tmp_path / "y.npy", np.array([0, 1, 0]))
    (tmp_path / "d.yaml").write_text("test: {source: x.npy, labels: y.npy}\nmetric: top1\n")
    bound = Dataset.load(tmp_path / "d.yaml").bind([spec("x", "N", 3)])
    metric = bound.metric()
    assert metric is not None and bound.calibration is None
    assert evaluate(lambda feeds: {"y": feeds["x"]}, bound.require("test"), metric, 2) == pytest.approx(2 / 3)


def test_function_of_a_file(tmp_path: Path, spec: Any, monkeypatch: pytest.MonkeyPatch, refuses: Any) -> None:
    (tmp_path / "loader.py").write_text(
        "import numpy as np\n"
        "def batches():\n    return [(np.ones((2, 3), 'float32') * i, [i, i]) for i in range(2)]\n"
        "def generator():\n    yield {'x': np.zeros(3, 'float32')}\n"
        "def broken():\n    raise OSError('gone')\n"
    )
    monkeypatch.chdir(tmp_path)
    split = Dataset.load("loader.py:batches").bind([spec("x", "N", 3)]).require("calibration")
    (batch,) = split.batches(8)
    assert split.labelled and batch.labels.tolist() == [0, 0, 1, 1]
    bound = Dataset.load("loader.py:generator").bind([spec("x", "N", 3)])
    assert values(bound.calibration) == values(bound.calibration) == [[0.0] * 3]
    with refuses("D008", "gone"):
        Dataset.load("loader.py:broken")


def test_random_is_seeded_and_marked(spec: Any) -> None:
    specs = [spec("x", "N", 3, "T"), spec("ids", "N", 5, dtype="int64")]
    dataset = Dataset.load("random")
    assert dataset.synthetic and "mean nothing" in dataset.warnings[0]
    first, again = dataset.bind(specs), dataset.bind(specs)
    assert values(first.calibration) == values(again.calibration)
    assert set(np.ravel(values(first.calibration, "ids"))) == {0, 1}


def test_anything_is_a_dataset(spec: Any, tmp_path: Path) -> None:
    data = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.save(tmp_path / "a.npy", data)
    forms: list[Any] = [
        data,
        {"x": data},
        list(data),
        iter(data),
        [(row, 1) for row in data],
        [data],
        tmp_path / "a.npy",
    ]
    forms += [str(tmp_path / "a.npy"), Dataset.from_arrays(data), (data, [0, 1])]
    for form in forms:
        assert values(Dataset.of(form).bind([spec("x", "N", 2)]).calibration) == data.tolist()


def test_metric_by_name_or_function(spec: Any, refuses: Any) -> None:
    data = (np.eye(2, dtype=np.float32), [0, 1])
    for metric in ("top1", lambda outputs, labels: float((outputs.argmax(1) == labels).mean())):
        bound = Dataset.from_arrays(data, metric=metric).bind([spec("x", "N", 2)])
        scorer = bound.metric()
        assert scorer is not None
        assert evaluate(lambda feeds: {"y": feeds["x"]}, bound.require("calibration"), scorer) == 1.0
    with refuses("D002", "`top_1`", "`top1`"):
        Dataset.from_arrays(data, metric="top_1")


def test_test_split_is_opened_only_when_asked_for(tmp_path: Path, spec: Any, refuses: Any) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3), np.float32))
    (tmp_path / "broken.npz").write_bytes(b"not an archive")
    (tmp_path / "d.yaml").write_text("calibration: {source: a.npz}\ntest: {source: broken.npz}\n")
    bound = Dataset.load(tmp_path / "d.yaml").bind([spec("x", "N", 3)])
    with refuses("D001"):
        list(bound.require("test").batches())
    (tmp_path / "broken.npz").unlink()
    with refuses("D001", "no such file", "d.yaml:2"):
        Dataset.load(tmp_path / "d.yaml")


def test_bind_checks_before_any_work(tmp_path: Path, spec: Any, refuses: Any) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3), np.float32), nan=np.full((2, 3), np.nan), labels=np.arange(3))
    np.savez(tmp_path / "empty.npz", x=np.zeros((0, 3), np.float32))
    load = Dataset.load
    with refuses("D003", "the model wants x: float32[N, 4]", "the sample is    x: float32[3]"):
        load(tmp_path / "a.npz").check([spec("x", "N", 4)])
    with refuses("D005", "no samples"):
        load(tmp_path / "empty.npz").check([spec("x", "N", 3)])
    (tmp_path / "d.yaml").write_text("calibration: {source: a.npz, array: nan}\n")
    with refuses("D004", "sample 0", "NaN", "split `calibration`"):
        load(tmp_path / "d.yaml").check([spec("x", "N", 3)])
    (tmp_path / "d.yaml").write_text("train: {source: a.npz, array: x, labels: labels}\n")
    with refuses("D007", "3 labels do not fit 2 samples"):
        load(tmp_path / "d.yaml").check([spec("x", "N", 3)])
    with refuses("D005", "no split `calibration`"):
        Dataset.from_arrays(test=np.zeros((1, 3), np.float32)).bind([spec("x", "N", 3)]).require("calibration")


def test_keys_that_do_not_go_with_the_source(tmp_path: Path, spec: Any, refuses: Any) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    save_images(tmp_path / "images")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "none").mkdir()
    (tmp_path / "labels.csv").write_text("file,label\nabsent.png,1\n")
    cases = {
        "{source: a.npy, array: x}": "D002",
        "{source: a.npy, annotations: labels.csv}": "D002",
        "{source: a.npy, labels: labels.csv}": "D007",
        "{source: notes.txt}": "D001",
        "{source: none}": "D005",
        "{source: images, labels: labels.csv}": "D001",
        "{source: images, annotations: labels.csv}": "D001",
    }
    for text, code in cases.items():
        (tmp_path / "d.yaml").write_text(f"calibration: {text}\n")
        with refuses(code):
            Dataset.load(tmp_path / "d.yaml").check([spec("x", "N", 3)])


def test_broken_image(tmp_path: Path, spec: Any, refuses: Any) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"no image")
    with refuses("D001", "a.png"):
        Dataset.load(tmp_path / "images").check([spec("x", 1, 3, 8, 8)])


def test_images_are_read_when_their_turn_comes(tmp_path: Path, spec: Any, refuses: Any) -> None:
    save_images(tmp_path / "images")
    (tmp_path / "images" / "9.png").write_bytes(b"no image")
    split = Dataset.load(tmp_path / "images").bind([spec("x", "N", 3, 8, 8)]).require("calibration")
    assert sum(batch.count for batch in split.head(3).batches(2)) == 3
    with refuses("D001", "9.png"):
        list(split.batches(2))


def test_nothing_there(tmp_path: Path, refuses: Any) -> None:
    with refuses("D001", "no such file"):
        Dataset.load(tmp_path / "absent.npz")
    with refuses("D005"):
        Dataset.from_arrays()
