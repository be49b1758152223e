from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruna_ir.data.labels import read_coco, read_csv


def test_csv_keeps_order_and_kind(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("label,file\n3,b.png\n0.5,a.png\n")
    assert list(read_csv(tmp_path / "l.csv").items()) == [("b.png", 3), ("a.png", 0.5)]


@pytest.mark.parametrize(
    ("text", "word"),
    [("name,class\na,1\n", "file,label"), ("file,label\na.png,cat\n", "l.csv:2"), ("file,label\na.png\n", "l.csv:2")],
)
def test_csv_refuses(tmp_path: Path, refuses: Any, text: str, word: str) -> None:
    (tmp_path / "l.csv").write_text(text)
    with refuses("D007", word):
        read_csv(tmp_path / "l.csv")


def test_csv_unreadable(tmp_path: Path, refuses: Any) -> None:
    with refuses("D001"):
        read_csv(tmp_path / "absent.csv")


def test_coco(tmp_path: Path) -> None:
    content = {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 20, "height": 10},
            {"id": 1, "file_name": "b.jpg", "width": 1, "height": 1},
        ],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4], "iscrowd": 1}],
        "categories": [{"id": 90}, {"id": 3}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = read_coco(tmp_path / "a.json")
    assert list(found) == ["a.jpg", "b.jpg"]
    first = found["a.jpg"]
    assert (first.width, first.height, first.categories) == (20, 10, (3, 90))
    assert np.array_equal(first.boxes, [[1, 2, 3, 4]])
    assert (first.areas.tolist(), first.crowd.tolist(), first.classes.tolist()) == ([12.0], [True], [90])
    assert found["b.jpg"].boxes.shape == (0, 4)


@pytest.mark.parametrize(("text", "code"), [("{", "D001"), ("[]", "D007"), ('{"images": [{}]}', "D007")])
def test_coco_refuses(tmp_path: Path, refuses: Any, text: str, code: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with refuses(code):
        read_coco(tmp_path / "a.json")
