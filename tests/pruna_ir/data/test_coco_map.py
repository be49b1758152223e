from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruna_ir.data import BoundDataset, Dataset, evaluate
from pruna_ir.data.description import Postprocess
from pruna_ir.data.yolox import YoloxDecoder, suppress

CATEGORIES = [90, 3, 17]
SIZES = [(100, 50), (48, 96), (64, 64)]
BOXES = [(10.0, 5.0, 30.0, 20.0, 17), (5.0, 40.0, 20.0, 30.0, 90), (20.0, 20.0, 24.0, 16.0, 3)]


@pytest.fixture
def detection(tmp_path: Path, spec: Any) -> BoundDataset:
    """Three images of different sizes, one box each."""
    from PIL import Image

    images, annotations = [], []
    for number, ((width, height), (*box, category)) in enumerate(zip(SIZES, BOXES, strict=True)):
        Image.fromarray(np.full((height, width, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
        images.append({"id": 50 + number, "file_name": f"{number}.png", "width": width, "height": height})
        annotations.append({"id": number, "image_id": 50 + number, "category_id": category, "bbox": box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": c} for c in CATEGORIES]}
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    (tmp_path / "d.yaml").write_text(
        "calibration: {source: ., annotations: boxes.json}\n"
        "input: {layout: NCHW, resize: {mode: letterbox, size: [64, 64], anchor: center, fill: 0}}\n"
        "postprocess: {decoder: yolox, strides: [8, 16]}\n"
        "metric: map\n"
    )
    return Dataset.load(tmp_path / "d.yaml").bind([spec("x", 2, 3, 64, 64)])


def encode(found: list[tuple[float, float, float, float, int]]) -> np.ndarray:
    """YOLOX's output at stride 16 for boxes (x, y, width, height, class) in pixels of the letterboxed image."""
    raw = np.zeros((8 * 8 + 4 * 4, 5 + len(CATEGORIES)), np.float32)
    for x, y, width, height, kind in found:
        centre = np.array([x + width / 2, y + height / 2]) / 16
        column, row = np.floor(centre).astype(int)
        raw[64 + row * 4 + column] = [
            *(centre - (column, row)),
            *np.log([width / 16, height / 16]),
            1,
            *np.eye(3)[kind],
        ]
    return raw


def perfect(number: int) -> np.ndarray:
    (width, height), (x, y, w, h, category) = SIZES[number], BOXES[number]
    ratio = min(64 / width, 64 / height)
    left, top = (64 - int(width * ratio)) // 2, (64 - int(height * ratio)) // 2
    kind = sorted(CATEGORIES).index(category)
    return encode([(x * ratio + left, y * ratio + top, w * ratio, h * ratio, kind)])


def model(feeds: dict[str, np.ndarray], wrong: int = -1) -> dict[str, np.ndarray]:
    """Knows the images by their grey value; gets the image number `wrong` wrong."""
    numbers = [int(image.max()) for image in feeds["x"]]
    return {"out": np.stack([perfect((n + 1) % 3 if n == wrong else n) for n in numbers])}


def test_perfect_boxes_score_one(detection: BoundDataset, capsys: pytest.CaptureFixture[str]) -> None:
    metric = detection.metric()
    assert metric is not None
    assert evaluate(model, detection.require("calibration"), metric) == pytest.approx(1.0)
    assert metric.details() == {"ap50": pytest.approx(1.0)}
    assert capsys.readouterr().out == ""


def test_a_lost_box_costs_its_class(detection: BoundDataset) -> None:
    metric = detection.metric()
    assert metric is not None
    # One class right, one without a detection, one with a false box before the right one: (1 + 0 + 1/2) / 3.
    found = evaluate(lambda feeds: model(feeds, wrong=1), detection.require("calibration"), metric)
    assert found == pytest.approx(0.5)


def test_no_detections_score_zero(detection: BoundDataset) -> None:
    metric = detection.metric()
    assert metric is not None
    silent = {"out": np.zeros((2, 80, 8), np.float32)}
    assert evaluate(lambda _: silent, detection.require("calibration"), metric) == 0.0


@pytest.mark.parametrize(
    ("shape", "word"), [((2, 81, 8), "not YOLOX's [N, 80, 5 + classes]"), ((2, 80, 9), "4 classes, the json 3")]
)
def test_other_outputs_are_refused(detection: BoundDataset, refuses: Any, shape: Any, word: str) -> None:
    metric = detection.metric()
    assert metric is not None
    with refuses("D007", word):
        evaluate(lambda _: {"out": np.zeros(shape, np.float32)}, detection.require("calibration"), metric)


def test_annotations_of_another_image_size(detection: BoundDataset, tmp_path: Path, refuses: Any) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(tmp_path / "2.png")
    with refuses("D007", "64x64", "5x5"):
        list(detection.require("calibration").batches())


def test_suppression_against_the_definition() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 20, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 20, (60, 2))], axis=1)
    classes = rng.integers(0, 3, 60)

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        side = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
        shared = side.prod()
        return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))

    expected: list[int] = []
    for i in range(60):
        if all(classes[i] != classes[j] or iou(boxes[i], boxes[j]) <= 0.4 for j in expected):
            expected.append(i)
    assert suppress(boxes, classes, 0.4, 100).tolist() == expected
    assert suppress(boxes, classes, 0.4, 5).tolist() == expected[:5]


def test_broken_outputs_are_survived_quickly() -> None:
    decode = YoloxDecoder(Postprocess("yolox", (8, 16, 32)))
    raw = np.full((1, 3549, 85), 0.9, np.float32)
    assert len(decode(raw, 416, 416)[0].scores) <= 100
    raw[..., 2:4] = 1e30
    assert len(decode(raw, 416, 416)[0].scores) == 0
    raw[:] = np.nan
    assert len(decode(raw, 416, 416)[0].scores) == 0


def detector_output(seed: int = 0) -> np.ndarray:
    """[2, 80, 8]: small boxes, and scores of which few are high."""
    random = np.random.default_rng(seed)
    raw = random.random((2, 80, 8)).astype(np.float32)
    raw[..., 4:] = 1e-4
    raw[:, ::10, 4:6] = 0.9
    return raw


def test_distance_without_labels(detection: BoundDataset) -> None:
    metric = detection.metric()
    assert metric is not None
    wanted = detector_output()

    def distance(change: Any) -> float:
        found = wanted.copy()
        change(found)
        result = metric.distance({"out": found}, {"out": wanted})
        assert result is not None and result[1] == pytest.approx(16 * 0.81**2, rel=1e-3)
        return result[0] / result[1]

    assert distance(lambda raw: None) == pytest.approx(0, abs=1e-12)
    # All boxes lost count as much as all scores, and so do boxes of half the size.
    assert distance(lambda raw: np.copyto(raw[..., 4:], 0.0)) == pytest.approx(1.0)
    assert distance(lambda raw: np.copyto(raw[..., :2], -9.0)) == pytest.approx(1.0)
    assert distance(lambda raw: np.subtract(raw[..., 2], np.log(2), out=raw[..., 2])) == pytest.approx(1.0)
    # A tenth less width overlaps with 0.9: a fifth of the thresholds above 0.5 is missed.
    assert distance(lambda raw: np.add(raw[..., 2], np.log(0.9), out=raw[..., 2])) == pytest.approx(0.04, rel=1e-3)
    # Where there are no objects, boxes may be anything.
    assert distance(lambda raw: np.copyto(raw[:, 1:10, :4], 5.0)) < 1e-6


def test_distance_of_other_outputs(detection: BoundDataset) -> None:
    metric = detection.metric()
    assert metric is not None
    scores = {"out": np.zeros((2, 10), np.float32)}
    assert metric.distance(scores, scores) is None
    assert metric.distance({"out": detector_output()[:1]}, {"out": detector_output()}) is None
    broken = detector_output()
    broken[0, 0] = np.inf
    found = metric.distance({"out": broken}, {"out": detector_output()})
    assert found is not None and not np.isfinite(found[0])
