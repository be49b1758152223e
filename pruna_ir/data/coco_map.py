"""COCO's mean average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from pruna_ir.data.description import Postprocess
from pruna_ir.data.labels import Annotated
from pruna_ir.data.metrics import Metric, Outputs, first_output, misfit
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.data.resize import Geometry
from pruna_ir.data.split import Batch
from pruna_ir.data.yolox import Detections, YoloxDecoder
from pruna_ir.diagnostics import error

_DECODERS = {"yolox": YoloxDecoder}


class MeanAveragePrecision(Metric):
    """mAP over IoU 0.50 to 0.95, all areas, of the images seen so far; `details` has `ap50`.

    Labels are `Annotated`. Boxes are mapped back to the original images through `preprocessing`'s resize.
    """

    name = "map"

    def __init__(self, preprocessing: Preprocessing, postprocess: Postprocess) -> None:
        self._preprocessing = preprocessing
        self._options = postprocess
        self._decode = _DECODERS[postprocess.decoder](postprocess)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._images: list[Annotated] = []
        self._found: list[np.ndarray] = []
        self._scores: tuple[float, float] | None = None

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Decode a batch's first output; D007 when it is not the decoder's, or the labels are not boxes."""
        raw = first_output(outputs)
        labels = batch.labels if isinstance(batch.labels, list) else []
        if len(labels) != len(raw) or not all(isinstance(label, Annotated) for label in labels):
            raise misfit(self.name, "it needs the boxes of a COCO json (`annotations`)")
        for annotated, found in zip(labels, self._decode(raw, *self._input_size(batch)), strict=True):
            if raw.shape[-1] - 5 != len(annotated.categories):
                message = f"the model has {raw.shape[-1] - 5} classes, the json {len(annotated.categories)} categories"
                raise misfit(self.name, message)
            self._images.append(annotated)
            self._found.append(self._rows(found, annotated))
        self._scores = None

    def distance(self, found: Outputs, wanted: Outputs) -> tuple[float, float] | None:
        """How far scores are apart, and boxes where there are scores; None for outputs of other shapes."""
        return self._decode.distance(first_output(found), first_output(wanted))

    def result(self) -> float:
        """The mean average precision so far."""
        return self._evaluate()[0]

    def details(self) -> dict[str, float]:
        """`ap50`: the average precision at IoU 0.5."""
        return {"ap50": self._evaluate()[1]}

    def _input_size(self, batch: Batch) -> tuple[int, int]:
        shape = next(iter(batch.feeds.values())).shape
        return (shape[2], shape[3]) if self._preprocessing.layout == "NCHW" else (shape[1], shape[2])

    def _rows(self, found: Detections, image: Annotated) -> np.ndarray:
        """pycocotools' rows: image id (counted from 1), x, y, width, height, score, category id."""
        resize = self._preprocessing.resize
        same = Geometry(image.width, image.height, 1.0, 1.0, 0, 0)
        place = resize.geometry(image.width, image.height) if resize else same
        scale = np.array([place.scale_x, place.scale_y] * 2)
        boxes = (found.boxes - np.array([place.left, place.top] * 2)) / scale
        boxes[:, 2:] -= boxes[:, :2]
        ids = np.full((len(boxes), 1), len(self._images))
        classes = np.array(image.categories)[found.classes]
        return np.concatenate([ids, boxes, found.scores[:, None], classes[:, None]], axis=1)

    def _evaluate(self) -> tuple[float, float]:
        if self._scores is None:
            rows = np.concatenate(self._found) if self._found else np.zeros((0, 7))
            if not any(len(image.boxes) for image in self._images):
                raise misfit(self.name, "no image has a box")
            self._scores = _coco_scores(_ground_truth(self._images), rows, self._options) if len(rows) else (0.0, 0.0)
        return self._scores


def _ground_truth(images: list[Annotated]) -> dict[str, Any]:
    """The COCO json of the images, whose ids count from 1."""
    annotations = [
        {"image_id": number, "category_id": int(kind), "bbox": list(box), "area": float(area), "iscrowd": int(crowd)}
        for number, image in enumerate(images, 1)
        for kind, box, area, crowd in zip(image.classes, image.boxes, image.areas, image.crowd, strict=True)
    ]
    return {
        "images": [{"id": number} for number in range(1, len(images) + 1)],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
        "categories": [{"id": category} for category in images[0].categories],
    }


def _coco_scores(truth: dict[str, Any], rows: np.ndarray, options: Postprocess) -> tuple[float, float]:
    """mAP and AP50 of detection rows against a COCO json."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as failure:
        help_text = "pip install 'pruna-ir[vision]'"
        raise error("X001", "the metric `map` needs the package `pycocotools`", help=help_text) from failure
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        reference = COCO()
        reference.dataset = truth
        reference.createIndex()
        scorer = COCOeval(reference, reference.loadRes(rows), "bbox")
        # Only the areas that the score needs: a quarter of the time.
        scorer.params.areaRng, scorer.params.areaRngLbl = [[0, 1e10]], ["all"]
        scorer.params.maxDets = [options.max_detections]
        scorer.evaluate()
        scorer.accumulate()
    precision = scorer.eval["precision"]  # [IoU, recall, category, area, detections]; -1 where there is no object
    return float(precision[precision >= 0].mean()), float(precision[0][precision[0] >= 0].mean())
