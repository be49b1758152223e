from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pruna_ir.data.description import Description, Postprocess
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.data.resize import Resize

FULL = """\
task: detection
calibration: {source: calib, annotations: calib.json}
test: {source: val, annotations: val.json}
input:
  layout: NHWC
  color: BGR
  resize: {mode: letterbox, size: [32, 64], anchor: top-left, fill: 7, interpolation: nearest}
  scale: 0.5
  mean: [1, 2, 3]
  std: 4
postprocess: {decoder: yolox, strides: [8, 16], score: 0.1, iou: 0.5, max_detections: 9}
metric: map
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def to_file(text: str) -> Path:
        path = tmp_path / "d.yaml"
        path.write_text(text)
        return path

    return to_file


def test_reads_every_key(write: Callable[[str], Path], tmp_path: Path) -> None:
    found = Description.read(write(FULL))
    resize = Resize("letterbox", (32, 64), "top-left", 7, "nearest")
    assert found.preprocessing == Preprocessing("NHWC", "BGR", resize, 0.5, (1.0, 2.0, 3.0), (4.0,))
    assert found.postprocess == Postprocess("yolox", (8, 16), 0.1, 0.5, 9)
    assert (found.task, found.metric) == ("detection", "map")
    assert found.splits["test"].source == tmp_path / "val"
    assert found.splits["calibration"].annotations == tmp_path / "calib.json"


def test_defaults_feed_as_stored(write: Callable[[str], Path]) -> None:
    found = Description.read(write("calibration: {source: a.npz, arrays: {x: a, y: b}}"))
    assert found.preprocessing is None and found.metric is None
    assert found.splits["calibration"].arrays == {"x": "a", "y": "b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("calibration: {source: a.npz}\nmetrics: top1", ["`metrics`", "`metric`", "d.yaml:2"]),
        ("calibration: {sorce: a.npz}", ["`sorce` in `calibration`", "`source`", "d.yaml:1"]),
        ("calibration: {array: x}", ["`source` is missing"]),
        ("metric: top1", ["`calibration` is missing"]),
        ("calibration: {source: a.npz}\nmetric: top2", ["`top2`", "`top5`"]),
        ("calibration: {source: a.npz}\ninput:\n  layout: NCWH", ["`NCWH`", "`NCHW`", "d.yaml:3"]),
        ("calibration: {source: a.npz}\ninput: {mean: [a]}", ["list of numbers"]),
        ("calibration: {source: a.npz}\ninput: {std: [1, 0]}", ["cannot be 0"]),
        ("calibration: {source: a.npz}\ninput: {scale: .nan}", ["number"]),
        ("calibration: {source: a.npz}\ninput: {resize: {mode: plain}}", ["[height, width]"]),
        ("calibration: {source: a.npz}\ninput: {resize: {size: [8, 8]}}", ["`mode` is missing"]),
        ("calibration: {source: a.npz}\ninput: {resize: {mode: center-crop, size: 8, short_side: 4}}", ["short_side"]),
        ("calibration: {source: a.npz, array: x, arrays: {x: x}}", ["exclude"]),
        ("calibration: {source: a, labels: l.csv, annotations: a.json}", ["exclude"]),
        ("calibration: {source: a.npz, arrays: {x: x}}\ninput: {scale: 2}", ["one image array"]),
        ("calibration: {source: a, annotations: b}\nmetric: map", ["`postprocess` is missing"]),
        ("calibration: {source: a}\npostprocess: {decoder: yolo}", ["`yolox`"]),
        ("calibration: a.npz", ["mapping"]),
        ("- 1", ["mapping"]),
    ],
)
def test_refuses_with_place_and_help(write: Callable[[str], Path], refuses: Any, text: str, words: list[str]) -> None:
    with refuses("D002", *words):
        Description.read(write(text))


def test_not_yaml(write: Callable[[str], Path], refuses: Any, tmp_path: Path) -> None:
    with refuses("D001", "not YAML", "d.yaml:2"):
        Description.read(write("a: [1\nb: 2"))
    with refuses("D001", "cannot read"):
        Description.read(tmp_path / "absent.yaml")
