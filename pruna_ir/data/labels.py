"""Labels kept in files of their own: a CSV with columns `file,label`, or a COCO json."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pruna_ir.diagnostics import error

Label = int | float


@dataclass(frozen=True)
class Annotated:
    """The objects of one image.

    `width`, `height`: pixels of the original image. `boxes`: float64 [n, 4], (x, y, width, height) in its pixels.
    `classes`: [n] category ids. `crowd`: [n] bool. `areas`: [n]. `categories`: all ids of the data set, sorted; a
    model's class i is `categories[i]`.
    """

    width: int
    height: int
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    categories: tuple[int, ...]


def read_csv(path: Path) -> dict[str, Label]:
    """Label by file name, in the order of the file. D001: unreadable; D007: not a table of `file,label`."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            columns = reader.fieldnames or []
            if not {"file", "label"} <= set(columns):
                found = ", ".join(columns) or "none"
                raise error("D007", f"the columns must be `file,label`; found: {found}", place=path)
            return {row["file"]: _number(row["label"], f"{path}:{reader.line_num}") for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as failure:
        raise error("D001", f"cannot read the labels: {failure}", place=path) from failure


def _number(text: str | None, place: str) -> Label:
    try:
        number = float(text or "")
    except ValueError as failure:
        raise error("D007", f"the label `{text}` is not a number", place=place) from failure
    return int(number) if number.is_integer() and "." not in str(text) else number


def read_coco(path: Path) -> dict[str, Annotated]:
    """Objects by image file name, in the order of the json. D001: unreadable; D007: not in the COCO format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as failure:
        raise error("D001", f"cannot read the annotations: {failure}", place=path) from failure
    try:
        categories = tuple(sorted(int(category["id"]) for category in content["categories"]))
        objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            objects.setdefault(annotation["image_id"], []).append(annotation)
        return {image["file_name"]: _annotated(image, objects[image["id"]], categories) for image in content["images"]}
    except (KeyError, TypeError, ValueError) as failure:
        message = f"the annotations are not a COCO json ({type(failure).__name__}: {failure})"
        help_text = "it has `images`, `annotations` and `categories`"
        raise error("D007", message, place=path, help=help_text) from failure


def _annotated(image: dict[str, Any], objects: list[dict[str, Any]], categories: tuple[int, ...]) -> Annotated:
    boxes = np.array([entry["bbox"] for entry in objects], np.float64).reshape(len(objects), 4)
    areas = [entry.get("area", box[2] * box[3]) for entry, box in zip(objects, boxes, strict=True)]
    return Annotated(
        width=int(image["width"]),
        height=int(image["height"]),
        boxes=boxes,
        classes=np.array([entry["category_id"] for entry in objects], np.int64),
        crowd=np.array([bool(entry.get("iscrowd", 0)) for entry in objects], bool),
        areas=np.array(areas, np.float64),
        categories=categories,
    )
